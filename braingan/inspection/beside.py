"""An inspection beside a benchmark: whoever reads the result should know what is wrong with the data."""

from __future__ import annotations

import logging
from pathlib import Path

from braingan.data.locking import locked
from braingan.data.workplace import CACHE
from braingan.errors import BrainganError
from braingan.inspection.advice import power
from braingan.inspection.inspecting import inspect_folders
from braingan.inspection.result import RESULT, Inspection

log = logging.getLogger("braingan")


def inspect_beside(out: Path, data: Path, test: Path | None, tested: float, *, margin: float) -> None:
    """Look at the images as `braingan.inspect` does, once; warn of what is serious, and of too few patients to tell.

    Args:
        out: folder of a benchmark; `inspection.json` is written into it, or is there already.
        data: folder of images.
        test: folder of test images.
        tested: share of the patients that the benchmark tests, where there is no such folder.
        margin: the smallest difference that matters.
    """
    path = out / RESULT
    with locked(out / CACHE / "locks" / "inspection.lock", wait=True):  # several processes may share the folder
        if path.exists():
            return
        try:
            inspection, facts = inspect_folders(data, test, tested=tested)
        except BrainganError as error:  # it is stricter with folders than a benchmark need be
            log.info("the data were not inspected: %s", error)
            return
        for line in inspection.serious:
            log.warning("warning: %s", line)
        smallest = facts.smallest_difference or 0.0
        for line in power(facts) if smallest > margin else ():
            log.info("%s The margin is %g: if synthetic images change less than %.2f, expect *under-powered*.",
                     line, margin, smallest)  # fmt: skip
        inspection.save(path)


def inspection_beside(out: Path) -> Inspection | None:
    """What `inspect_beside` found; None where it has not looked, or the file is of another version."""
    path = out / RESULT
    try:
        return Inspection.load(path) if path.exists() else None
    except BrainganError as error:
        log.warning("%s is left out of the report: %s", path, error)
        return None
