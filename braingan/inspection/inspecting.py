"""Folders -> `Inspection`."""

from __future__ import annotations

import itertools
import logging
import os
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from braingan.data.files import refuse_unless_empty
from braingan.data.folders import METADATA
from braingan.data.reading import AUTO
from braingan.data.records import UNLABELLED
from braingan.data.workplace import ASKED, refuse_overlap
from braingan.duplicates.grouping import twin_groups
from braingan.duplicates.twins import Twin, find_twins
from braingan.errors import DataError, OutputError
from braingan.inspection.advice import Duplicates, Facts, advice, serious
from braingan.inspection.crossing import Crossing, cross
from braingan.inspection.examination import Examined, examine
from braingan.inspection.result import PAGE, RESULT, Inspection, Json
from braingan.inspection.shortcuts import CHANCE, Shortcut, probe
from braingan.inspection.statistics import APPEARANCE, BLIND
from braingan.inspection.sufficiency import SHARED, SIGNIFICANCE, Assumptions, smallest_difference
from braingan.threads import shared_out
from braingan.versions import versions

log = logging.getLogger("braingan")

TEST_SHARE = 0.2  # of the patients go to the test part of a single split


def inspect_folders(
    data: Path,
    test: Path | None,
    *,
    format: str = AUTO,
    options: Mapping[str, Any] | None = None,
    assumed: Assumptions | None = None,
    tested: float = TEST_SHARE,
) -> tuple[Inspection, Facts]:
    """Look at every image once and say what is wrong. Nothing is written.

    See `braingan.inspect` for the arguments and errors. `tested` is the share of the patients whose images will be
    tested, where there is no test folder.

    Returns:
        The record, and what it was made from.
    """
    started, assumed = time.monotonic(), assumed or Assumptions()
    parts = {"train": data, "test": test} if test else _parts(data)
    prefixes = {name: "" if test or len(parts) == 1 else f"{path.name}/" for name, path in parts.items() if path}
    examined = {
        name: examine(path, format=format, options=options or {}, prefix=prefixes[name])
        for name, path in parts.items()
        if path
    }
    with shared_out():  # many small fits
        facts = _gather(examined["train"], examined.get("test"), assumed, tested)
    return _record(data, parts.get("test"), facts, assumed, time.monotonic() - started), facts


def check_out(out: Path, *inputs: Path | None) -> None:
    """Refuse an output folder before the work: it must be apart from the data, and new, empty or an inspection's."""
    refuse_overlap(out, *inputs)
    if (out / ASKED).exists():
        raise OutputError(f"{out} is the folder of other work, which has an inspection of its own; give another folder")
    ours = (out / RESULT).exists() or (out.is_dir() and {entry.name for entry in out.iterdir()} == {PAGE})
    if not ours:
        refuse_unless_empty(out)


def _parts(data: Path) -> dict[str, Path]:
    """A folder that holds train* and test* subfolders is these two parts; any other is a training part alone."""
    if not os.path.isdir(data):  # and not Path.is_dir, which raises where a name is too long
        raise DataError(f"{data} is not a folder; give a folder that holds a subfolder of images for each class")
    found: dict[str, list[Path]] = {"train": [], "test": []}
    for entry in sorted(data.iterdir()):
        match = re.match(r"(train|test)", entry.name.lower())
        if entry.is_dir() and match:
            found[match[1]].append(entry)
    if not all(found.values()):
        return {"train": data}
    if (data / METADATA).exists():
        raise DataError(f"{data} has a {METADATA} for several parts; write one into each part, with its own files")
    for entry in sorted(data.iterdir()):
        if entry.is_dir() and entry.name.lower().startswith("val"):
            log.warning("%s is not looked at: inspect it against training with two folders", entry)
    for name, folders in found.items():
        if len(folders) > 1:
            several = " and ".join(folder.name for folder in folders)
            raise DataError(f"{data} holds {several}: which is the {name} part? Give two folders, DATA and TEST")
    return {name: folders[0] for name, folders in found.items()}


def _gather(train: Examined, test: Examined | None, assumed: Assumptions, tested: float) -> Facts:
    parts = {"train": train} | ({"test": test} if test else {})
    twins = {name: find_twins(part.looks, part.groups) for name, part in parts.items()}
    crossing = cross(test, train) if test else None
    together = _held_together(list(parts.values()), list(twins.values()), crossing)
    judged, groups = (test, together[-1]) if test else (train, together[0])
    share = 1.0 if test else tested
    difference = _difference(judged, groups, assumed, share)
    return Facts(
        train=train,
        test=test,
        duplicates=tuple(itertools.chain(*(_duplicates(parts[name], twins[name], name) for name in parts))),
        crossing=crossing,
        shortcuts=_probed(list(parts.values()), together, "blind"),
        appearance=_probed(list(parts.values()), together, "appearance"),
        smallest_difference=difference,
        test_groups=round(len(set(groups)) * share),
    )


def _difference(part: Examined, groups: Sequence[str], assumed: Assumptions, share: float) -> float | None:
    """Of the images whose label is known."""
    named = [name for name in part.source.classes if name != UNLABELLED]
    shown = np.asarray(part.source.classes)[part.labels]
    kept = np.flatnonzero(shown != UNLABELLED)
    labels = np.searchsorted(named, shown[kept])
    return smallest_difference(labels, [groups[int(number)] for number in kept], len(named), assumed, share=share)


def _duplicates(part: Examined, twins: Sequence[Twin], name: str) -> list[Duplicates]:
    kinds: dict[int, set[str]] = {}
    for twin in twins:
        kinds.setdefault(twin.first, set()).add(twin.kind)
    return [
        Duplicates(
            files=tuple(part.names[number] for number in members),
            kinds=tuple(sorted(set().union(*(kinds.get(number, set()) for number in members)))),
            labels=tuple(part.source.classes[part.labels[number]] for number in members),
            patients=len({part.groups[number] for number in members}),
            part=name,
            members=tuple(members),
        )
        for members in twin_groups(twins, len(part))
    ]


def _held_together(
    parts: Sequence[Examined], twins: Sequence[Sequence[Twin]], crossing: Crossing | None
) -> list[list[str]]:
    """For each part, what each image counts as one with: its patient, or the images of the same picture."""
    groups = [part.groups for part in parts]
    if all(part.source.has_patients for part in parts):
        return groups
    sizes = [0, *itertools.accumulate(map(len, parts))]
    links = [replace(twin, first=twin.first + start, second=twin.second + start)
             for start, found in zip(sizes, twins, strict=False) for twin in found]  # fmt: skip
    if crossing:
        links += [replace(twin, first=twin.first + sizes[1]) for twin in crossing.twins]  # train comes first
    every = list(itertools.chain(*groups))
    for members in twin_groups(links, len(every)):
        for number in members:
            every[number] = every[members[0]]
    return [every[start:end] for start, end in itertools.pairwise(sizes)]


def _probed(parts: Sequence[Examined], together: Sequence[Sequence[str]], which: str) -> dict[str, Shortcut]:
    """Each class of all parts against the rest."""
    classes = sorted({name for part in parts for name in part.source.classes} - {UNLABELLED})
    if len(classes) < 2:
        return {}
    shown = np.concatenate([np.asarray(part.source.classes)[part.labels] for part in parts])
    kept = shown != UNLABELLED
    values = np.concatenate([getattr(part, which) for part in parts])[kept]
    groups = np.asarray(list(itertools.chain(*together)))[kept]
    names = BLIND if which == "blind" else APPEARANCE
    found = probe(values, names, np.searchsorted(classes, shown[kept]), len(classes), groups.tolist())
    return dict(zip(classes, found, strict=True))


def _record(data: Path, test: Path | None, facts: Facts, assumed: Assumptions, seconds: float) -> Inspection:
    parts = {"train": facts.train} | ({"test": facts.test} if facts.test else {})
    counted = {name: {"images": len(part), "patients": part.patients, "classes": part.counts()}
               for name, part in parts.items()}  # fmt: skip
    totals: Counter[str] = Counter()
    for part in parts.values():
        totals.update(part.counts())
    known = all(part.source.has_patients for part in parts.values())
    urgent = serious(facts)
    return Inspection(
        data=data.resolve().name,
        test=test.resolve().name if test else None,
        images=sum(map(len, parts.values())),
        patients=len({group for part in parts.values() for group in part.groups}) if known else None,
        classes=dict(totals),
        parts=counted,
        bad_files=[asdict(bad) for part in parts.values() for bad in part.bad_files],
        duplicate_groups=[list(group.files) for group in facts.duplicates if group.part == "train"],
        duplicates=[_duplicate(group) for group in facts.duplicates],
        cross_folder=_crossed(facts.crossing, facts.test, facts.train) if facts.crossing and facts.test else None,
        shortcut=_shown(facts.shortcuts),
        appearance=_shown(facts.appearance),
        minimum_detectable_effect=facts.smallest_difference,
        sufficiency=asdict(assumed)
        | {"significance": SIGNIFICANCE, "shared_errors": SHARED, "test_groups": facts.test_groups},
        advice=advice(facts),
        serious=urgent,
        seconds=round(seconds, 1),
        versions=versions(),
    )


def _duplicate(group: Duplicates) -> Json:
    return {
        "files": list(group.files),
        "kinds": list(group.kinds),
        "labels": list(group.labels),
        "contradictory": group.contradictory,
        "part": group.part,
    }


def _crossed(crossing: Crossing, test: Examined, train: Examined) -> Json:
    pairs = [{"test": test.names[twin.first], "train": train.names[twin.second], "kind": twin.kind,
              "score": round(twin.score, 4)} for twin in crossing.twins]  # fmt: skip
    return {
        "test_images_with_twin": len(crossing.images),
        "files": [test.names[number] for number in crossing.images],
        "identical": crossing.identical,
        "per_class": crossing.per_class,
        "contradictory": crossing.contradictory,
        "pairs": pairs,
        "patients_in_both": len(crossing.patients),
        "lookup": asdict(crossing.lookup),
    }


def _shown(found: Mapping[str, Shortcut]) -> Json:
    return {
        name: {
            "balanced_accuracy": shortcut.balanced_accuracy,
            "chance": CHANCE,
            "low": shortcut.low,
            "statistics": [statistic for statistic, _ in shortcut.statistics],
            "flagged": shortcut.flagged,
        }
        for name, shortcut in found.items()
    }
