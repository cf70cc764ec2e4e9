"""An output folder: apart from the data, ours or nobody's, and for one piece of work."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from braingan.data.files import read_json, write_json
from braingan.errors import OutputError

ASKED = "asked.json"  # what the folder is for; a folder with this file is ours
CACHE = "cache"  # of decoded images; may be there before the folder is claimed


def check_place(out: Path, *inputs: Path | None) -> None:
    """Refuse an output folder before anything is read.

    Args:
        out: the output folder; need not exist.
        inputs: folders that are read; in one of them, results would be taken for data the next time.

    Raises:
        OutputError: it is a file, overlaps with an input, or holds what braingan did not write.
    """
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; give a folder")
    refuse_overlap(out, *inputs)
    _refuse_foreign(out)


def refuse_overlap(out: Path, *inputs: Path | None) -> None:
    """Raise `OutputError` where an output folder is, holds, or lies in a folder that is read."""
    for other in filter(None, inputs):
        here, there = out.resolve(), other.resolve()
        if here == there or here in there.parents or there in here.parents:
            raise OutputError(f"output folder {out} and data folder {other} overlap; give one apart from the data")


def claim(
    out: Path, asked: Mapping[str, Any], *, may_change: Collection[str] = (), earlier: Mapping[str, Any] | None = None
) -> None:
    """Note in the folder what it is for, or check that it is for just that.

    Args:
        out: made where it does not exist.
        asked: settings and fingerprints, JSON-able; `hyperparameters` is taken apart.
        may_change: settings that may differ from one call to the next.
        earlier: what versions did that did not yet note it.

    Raises:
        OutputError: the folder is for something else; the message shows the difference.
    """
    _refuse_foreign(out)
    settings = {key: value for key, value in asked.items() if key != "hyperparameters"}
    # A backend's own `steps`, say, are others than those of the training, which may change.
    own = {f"hyperparameter {key}" if key in settings else key: value
           for key, value in asked.get("hyperparameters", {}).items()}  # fmt: skip
    wanted = json.loads(json.dumps(settings | own))
    if (out / ASKED).exists():
        before = {**(earlier or {}), **read_json(out / ASKED)}
        differences = [
            f"{key} {before.get(key)} there, {wanted.get(key)} asked"
            for key in sorted(before.keys() | wanted.keys())
            if key not in may_change and before.get(key) != wanted.get(key)
        ]
        if differences:
            raise OutputError(f"{out} is for other work ({'; '.join(differences)}); give another folder")
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / ASKED, wanted)


def _refuse_foreign(out: Path) -> None:
    if out.is_dir() and not (out / ASKED).exists():
        names = sorted(entry.name for entry in out.iterdir())
        # A process that was killed while it claimed the folder leaves a part of the note.
        foreign = [name for name in names if name != CACHE and not fnmatch(name, f".{ASKED}.*.part")]
        if foreign:
            raise OutputError(f"{out} holds {foreign[0]}, which braingan did not write; give a new or empty folder")
