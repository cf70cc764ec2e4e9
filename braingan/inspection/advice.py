"""What was found -> what to do, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from braingan.data.records import UNLABELLED
from braingan.duplicates.seen import some_names
from braingan.inspection.crossing import Crossing
from braingan.inspection.examination import Examined
from braingan.inspection.shortcuts import CHANCE, Shortcut

FEW_PATIENTS = 10  # of a class
IMBALANCED = 3.0  # images of the largest class for one of the smallest


@dataclass(frozen=True)
class Duplicates:
    """A group of images of one part that show the same picture."""

    files: tuple[str, ...]
    kinds: tuple[str, ...]
    labels: tuple[str, ...]
    patients: int
    part: str
    members: tuple[int, ...]

    @property
    def contradictory(self) -> bool:
        """Whether they carry different labels."""
        return len(set(self.labels)) > 1


@dataclass(frozen=True)
class Facts:
    """All that advice is given on."""

    train: Examined
    test: Examined | None
    duplicates: tuple[Duplicates, ...]
    crossing: Crossing | None
    shortcuts: dict[str, Shortcut]
    appearance: dict[str, Shortcut]
    smallest_difference: float | None
    test_groups: int

    @property
    def parts(self) -> list[Examined]:
        """Training and, if there is one, test."""
        return [part for part in (self.train, self.test) if part]


def serious(facts: Facts) -> list[str]:
    """What makes results wrong if nothing is done about it."""
    return [*_across(facts), *_synthetic(facts), *_doubles(facts), *_bad(facts), *_shortcuts(facts)]


def advice(facts: Facts) -> list[str]:
    """Everything that should be done or known, the most urgent first."""
    return [*serious(facts), *_unlabelled(facts), *_patients(facts), *_few(facts), *power(facts), *_first(facts)]


def _across(facts: Facts) -> Iterator[str]:
    crossing, test = facts.crossing, facts.test
    if crossing is None or test is None:
        return
    if crossing.patients:
        yield (
            f"{_many(len(crossing.patients))} in training and in test at once: take them out of one part, and split "
            "by patient, as `braingan benchmark` does."
        )
    if crossing.images:
        gain = crossing.lookup.accuracy_without
        worth = "" if gain is None else (
            f" Answering with the label of the most similar training image is right on "
            f"{crossing.lookup.accuracy:.0%} of all test images and on {gain:.0%} of those without a twin."
        )  # fmt: skip
        yield (
            f"{len(crossing.images)} of {len(test)} test images show the same picture as a training image "
            f"({crossing.identical} byte for byte): take them out; `braingan benchmark --drop-leaking` does.{worth}"
        )
    if crossing.contradictory:
        yield f"{crossing.contradictory} of these carry another label in training: one of the two is wrong."


def _synthetic(facts: Facts) -> Iterator[str]:
    names = [name for part in facts.parts for name in part.synthetic]
    if names:
        yield f"{len(names)} images say of themselves that they are synthetic ({some_names(names)}): take them out."


def _doubles(facts: Facts) -> Iterator[str]:
    contradictory = [group for group in facts.duplicates if group.contradictory]
    if contradictory:
        files = some_names([" = ".join(group.files[:2]) for group in contradictory])
        yield f"{len(contradictory)} groups of duplicates carry different labels ({files}): decide which is right."
    for part, name in ((facts.train, "train"), (facts.test, "test")):
        groups = [group for group in facts.duplicates if group.part == name]
        if part is None or not groups:
            continue
        count = sum(len(group.files) for group in groups)
        where = f" of the {name} part" if facts.test else ""
        shown = f"{count} of {len(part)} images{where} show the same picture as another, in {len(groups)} groups"
        if not part.source.has_patients:
            yield f"{shown}: a random split would put twins on both sides. braingan keeps each group on one side."
        elif any(group.patients > 1 for group in groups):
            yield f"{shown}, some under two patient ids: they are one patient, or a file is misnamed. Put that right."


def _bad(facts: Facts) -> Iterator[str]:
    bad = [file for part in facts.parts for file in part.bad_files]
    if bad:
        count = "1 file" if len(bad) == 1 else f"{len(bad)} files"
        first = f"{'' if len(bad) == 1 else 'the first, '}{bad[0].file}: {bad[0].reason}"
        yield (
            f"{count} cannot be used ({first}). Mend or remove what `braingan inspect --out` lists; other commands go "
            "on without them by --skip-bad."
        )


def _shortcuts(facts: Facts) -> Iterator[str]:
    flagged = {name: shortcut for name, shortcut in facts.shortcuts.items() if shortcut.flagged}
    if len(facts.shortcuts) == 2:  # telling one from the other is telling the other from the one
        flagged = dict(list(flagged.items())[:1])
    for name, shortcut in flagged.items():
        telling = ", ".join(statistic for statistic, _ in shortcut.statistics) or "many statistics together"
        both = " and ".join(map(repr, facts.shortcuts))
        who = f"{both} can be told apart" if len(facts.shortcuts) == 2 else f"{name!r} can be told from the rest"
        yield (
            f"{who} without looking at the brain (balanced accuracy {shortcut.balanced_accuracy:.2f}, "
            f"chance {CHANCE}), by {telling}: a classifier may learn the source instead of the disease. "
            "Images of all classes should come from the same scanners and files, cropped and sized alike."
        )


def _unlabelled(facts: Facts) -> Iterator[str]:
    count = sum(part.counts().get(UNLABELLED, 0) for part in facts.parts)
    if count:
        yield f"{count} images have no label: put them into a folder of their class, or lay a mask beside them."


def _patients(facts: Facts) -> Iterator[str]:
    if not all(part.source.has_patients for part in facts.parts):
        yield (
            "No patient ids: slices of one patient cannot be kept on one side of a split, so every score may be too "
            "good. A metadata.csv with the columns file_name and patient mends that."
        )


def _few(facts: Facts) -> Iterator[str]:
    train = facts.train
    counts = {name: count for name, count in train.counts().items() if name != UNLABELLED}
    if not counts:
        return
    largest, smallest = max(counts, key=lambda name: counts[name]), min(counts, key=lambda name: counts[name])
    if counts[smallest] * IMBALANCED < counts[largest]:
        yield (
            f"{largest!r} has {counts[largest]} images and {smallest!r} {counts[smallest]}: draw classes equally often "
            "in training, and read F1 of each class, not accuracy."
        )
    if not train.source.has_patients:
        return
    for name in counts:
        label = train.source.classes.index(name)
        patients = {group for group, own in zip(train.groups, train.labels, strict=True) if own == label}
        if len(patients) < FEW_PATIENTS:
            yield f"Class {name!r} comes from {_many(len(patients))}: more patients will help more than more images."


def power(facts: Facts) -> Iterator[str]:
    """How small a difference the test set can show, where that is known."""
    if facts.smallest_difference is None:
        return
    known = all(part.source.has_patients for part in facts.parts)
    size = _many(facts.test_groups, "patient" if known else "group of images")
    yield (
        f"A test set of about {size} can be expected to show differences in macro-F1 of "
        f"{facts.smallest_difference:.2f} or more; smaller ones will often look like chance (estimated from "
        "its size alone)."
    )


def _many(count: int, noun: str = "patient") -> str:
    first, *rest = noun.split(" ", 1)
    return " ".join([str(count), first if count == 1 else f"{first}s", *rest])


def _first(facts: Facts) -> Iterator[str]:
    if len(set(facts.train.source.classes) - {UNLABELLED}) > 1:
        yield (
            "Before a generator, try what is cheaper: class-balanced sampling, flips, rotations, brightness and "
            "contrast, weights of a pretrained network. `braingan benchmark` measures what a generator adds."
        )
