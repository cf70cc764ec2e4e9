"""What a benchmark works on: images, and the splits that say which are for what."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from braingan.augmentation.leaks import check_real, refuse_leak
from braingan.data.findings import BadFile
from braingan.data.folds import Fold, Folds, split_folds
from braingan.data.held_out import prepare_test
from braingan.data.limits import limit
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageSet
from braingan.data.split import (
    UNITS,
    GroupedBy,
    Split,
    SplitFile,
    grouping,
    locate,
    split_by_group,
    split_files,
    with_test,
)
from braingan.duplicates.grouping import group_duplicates as grouped
from braingan.duplicates.grouping import looks_of
from braingan.duplicates.seen import some_names
from braingan.duplicates.twins import Looks, find_twins_across
from braingan.errors import SettingsError, SplitError
from braingan.experiment.inputs import CellInputs, FoldInputs
from braingan.experiment.settings import BenchmarkSettings

log = logging.getLogger("braingan")


@dataclass(frozen=True)
class Sources:
    """Where images and splits come from.

    Attributes:
        data: the data folder.
        test: a folder of test images; then the data folder is split into training and validation only.
        external: a folder of another site's images, which all classifiers are scored on as well.
        splits: given splits; None makes new ones.
        limited: whether the limits of the settings have been applied to them.
    """

    data: Path
    test: Path | None = None
    external: Path | None = None
    splits: Folds | None = None
    limited: bool = False


@dataclass(frozen=True)
class BenchmarkData:
    """The images of a benchmark.

    Attributes:
        inputs: what cells read.
        splits: which images are for what, test images of a folder of their own included.
        leakage: what was allowed although it leaks.
        dropped: how many test images were left out because training shows the same picture.
    """

    inputs: CellInputs
    splits: Folds
    leakage: tuple[str, ...] = ()
    dropped: int = 0

    @property
    def classes(self) -> list[str]:
        """Names in label order."""
        return list(self.inputs.everything.source.classes)

    @property
    def bad_files(self) -> tuple[BadFile, ...]:
        """What could not be read, of all folders."""
        sets = (self.inputs.everything, self.inputs.held_out, self.inputs.external)
        return tuple(dict.fromkeys(bad for own in sets if own is not None for bad in own.bad_files))

    @property
    def units(self) -> dict[str, str]:
        """What is kept on one side, in words, of `training` and `test`; what is independent, of `external`."""
        found = dict.fromkeys(("training", "test"), UNITS[self.inputs.learning[0].split.grouped_by])
        elsewhere = {"test": self.inputs.held_out, "external": self.inputs.external}
        return found | {name: UNITS[grouping(own)] for name, own in elsewhere.items() if own is not None}

    def no_comparison(self, *, divisible: bool) -> list[str]:
        """Why arms cannot be compared on these images, whatever they say of them; to be said before training.

        Args:
            divisible: whether more folds could be asked instead of a single split.
        """
        tested = {file for fold in self.splits.folds for file in fold.split.test}
        counts = {name: len({file.group for file in tested if file.label == name}) for name in self.classes}
        more = "--folds 5 tests every one" if divisible and self.splits.one else "more are needed"
        said = [
            f"no verdict can be had: all test images of class {name!r} are of one {self.units['test']}, and it takes "
            f"two; {more}"
            for name, count in counts.items()
            if count == 1
        ]
        if not all(fold.split.val for fold in self.splits.folds):
            said.append("no verdict can be had: the split has no validation images, by which arm and ratio are chosen")
        return said[:1]

    def notes(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        notes, first = [], self.splits[0].split
        narrow = (
            f"Intervals and p-values take each {self.units['test']} for independent of the others, and where "
            "patients have several, intervals are too narrow."
        )
        if first.grouped_by == "patient" and self.units["test"] != "patient":
            notes.append(
                "The test folder has no patient ids: its images may be of patients who are in training, and scores may "
                f"be too good. {narrow} A metadata.csv with a column `patient` in it mends both."
            )
        elif first.grouped_by != "patient":
            only = self.units["test"] == "patient"  # the test folder has ids
            notes.append(
                f"No patient ids{' in the data folder' if only else ''}: {_KEPT_TOGETHER[first.grouped_by]}, so other "
                "slices of one patient may stand in training and in test, and scores may be too good. "
                f"{'' if only else f'{narrow} '}A metadata.csv with a column `patient` mends "
                f"{'that' if only else 'both'}."
            )
        if self.dropped:
            left = len({file.file for fold in self.splits.folds for file in fold.split.test})
            notes.append(
                f"{self.dropped} test images were dropped because they show the same picture as a training image "
                f"(--drop-leaking); {left} are left."
            )
        if self.bad_files:
            notes.append(f"{len(self.bad_files)} bad files were left out (see bad_files).")
        return notes


def load_data(
    sources: Sources, settings: BenchmarkSettings, preprocessing: Preprocessing, cache: Path
) -> BenchmarkData:
    """Prepare the images and split them.

    Args:
        sources: folders and given splits.
        settings: of the benchmark.
        preprocessing: for all images alike.
        cache: see `prepare_folder`.

    Raises:
        DataError: the images cannot be used, or a test folder has other classes.
        SplitError: no split can be made, or the one given does not fit.
        LeakageError: test images show the same picture as training images, or are synthetic.
    """
    if settings.drop_leaking and settings.allow_leakage:
        raise SettingsError("--drop-leaking and --allow-leakage were both asked; give one of them")
    if sources.test and (settings.folds, settings.repeats) != (1, 1):
        raise SettingsError(
            "--test and more than one fold were both asked; a test folder is one fold: ask for --folds 1 --repeats 1, "
            "or give the folder as --external"
        )
    skip_bad = settings.skip_bad
    prepared = prepare_folder(sources.data, preprocessing, cache, skip_bad=skip_bad)
    settings.limits.check(prepared.source.classes)
    if sources.splits:
        prepared = _grouped_as(prepared, sources.splits, apart=sources.test is not None)
    elif settings.group_duplicates:
        prepared = grouped(prepared)
    others = [prepare_test(folder, prepared, preprocessing, cache, skip_bad=skip_bad) if folder else None
              for folder in (sources.test, sources.external)]  # fmt: skip
    if settings.group_duplicates:  # or copies of one picture would count for as many
        others = [own if own is None else grouped(own) for own in others]
    held_out, external = others
    learning = _learning(sources, settings, prepared, held_out)
    splits = learning
    if held_out is not None:
        splits = Folds(tuple(replace(fold, split=with_test(fold.split, prepared, held_out)) for fold in learning.folds))
        for fold in splits.folds:
            fold.refuse_shared_groups()
    _check_repeats(splits, settings.repeats)
    loaded = BenchmarkData(CellInputs(prepared, learning, held_out, external), splits)
    loaded = _with_real_images(loaded, allow_leakage=settings.allow_leakage)
    for number in range(len(learning)):
        _check_classes(loaded, number, given=sources.splits is not None)
    loaded = _without_twins(loaded, settings)
    _check_given_test(sources, loaded, splits)
    for number in range(len(learning)):
        _check_classes(loaded, number, given=sources.splits is not None)
    return loaded


_KEPT_TOGETHER = {
    "twins": "images of the same picture are kept together, but nothing else",
    "file": "each file is its own group",
}


def _learning(
    sources: Sources, settings: BenchmarkSettings, prepared: PreparedSet, held_out: PreparedSet | None
) -> Folds:
    """The splits of the data folder, less what cannot be read and what limits leave out."""
    if sources.splits:
        bad = {file.file for file in prepared.bad_files}
        given = [replace(fold, split=fold.split.without(bad), left_out=_without(fold.left_out, bad))
                 for fold in sources.splits.folds]  # fmt: skip
        if held_out is not None:
            # Earlier results say "file" of patients that the test folder alone lacks.
            how: GroupedBy = "patient" if prepared.source.has_patients else given[0].split.grouped_by
            given = [replace(fold, split=replace(fold.split, test=(), grouped_by=how)) for fold in given]
        if any(fold.left_out for fold in given) and settings.limits and not sources.limited:
            raise SettingsError("limits were asked for splits that leave images out already; leave one of them out")
        if sources.limited or any(fold.left_out for fold in given):
            return Folds(tuple(given))
        found: Sequence[Split] = [fold.split for fold in given]
    elif held_out is not None:
        found = [split_by_group(prepared, seed=settings.split_seed, parts=("train", "val"))]
    else:
        found = split_folds(prepared, settings.folds, settings.repeats, seed=settings.split_seed)
    return Folds(tuple(_limited(prepared, split, settings, number) for number, split in enumerate(found)))


def _grouped_as(prepared: PreparedSet, splits: Folds, *, apart: bool) -> PreparedSet:
    """Where no patients are known: what a given split keeps together; test images may be `apart`, in another folder."""
    if prepared.source.has_patients:
        return prepared
    own = [replace(fold, split=replace(fold.split, test=())) for fold in splits.folds] if apart else splits.folds
    groups = {file.file: file.group for fold in own for file in fold.files}
    records = [replace(record, group=groups.get(record.file, record.group)) for record in prepared.source.records]
    return replace(prepared, source=ImageSet(records, prepared.source.classes))


def _check_repeats(splits: Folds, repeats: int) -> None:
    """Within a repeat, nothing is tested twice; all repeats test the same images.

    Raises:
        SplitError: given splits are not of so many repeats.
    """
    count = len(splits) // repeats
    tested = []
    for repeat in range(repeats):
        parts = [fold.split.test for fold in splits.folds[repeat * count : (repeat + 1) * count]]
        groups = [group for part in parts for group in {file.group for file in part}]
        tested.append({file.file for part in parts for file in part})
        if len(groups) > len(set(groups)):
            raise SplitError(
                f"the {len(splits)} splits test some groups twice ({splits[0].split.grouped_by}); give --folds and "
                "--repeats as they were made, or splits that test each once"
            )
    if any(files != tested[0] for files in tested):
        raise SplitError(f"the {repeats} repeats of the splits test different images; each needs all of them")


def _without(files: Sequence[SplitFile], bad: set[str]) -> tuple[SplitFile, ...]:
    return tuple(file for file in files if file.file not in bad)


def _limited(prepared: PreparedSet, split: Split, settings: BenchmarkSettings, number: int) -> Fold:
    limits = settings.limits
    if not limits:
        return Fold(split)
    kept, left_out = limit(prepared, locate(split, prepared).train, limits, seed=settings.split_seed + number)
    at = {file.file: file for file in split.train}
    named = [tuple(at[file.file] for file in split_files(prepared, places)) for places in (kept, left_out)]
    return Fold(replace(split, train=named[0]), named[1])


def _with_real_images(loaded: BenchmarkData, *, allow_leakage: bool) -> BenchmarkData:
    """Refuse synthetic images among the real ones, or say so."""
    inputs, first = loaded.inputs, loaded.inputs.fold(0)
    named = [("test", first.test), ("validation", first.val), ("training", first.train), ("left-out", first.left_out)]
    if not loaded.splits.one:  # every image is for everything in turn
        named = [("data", inputs.everything)]
    if inputs.external is not None:
        named.append(("external", inputs.external))
    said = [check_real(images, name, allow_leakage=allow_leakage) for name, images in named]
    return replace(loaded, leakage=tuple(itertools.chain(*said)))


def _without_twins(loaded: BenchmarkData, settings: BenchmarkSettings) -> BenchmarkData:
    """Refuse, drop or mark test images that show the same picture as a training image."""
    said: list[str] = []
    dropped: set[str] = set()
    for number in range(len(loaded.splits)):
        fold = loaded.inputs.fold(number)
        looks = looks_of(fold.test)
        learned, chosen = (_twins_in(looks, own) for own in ((fold.train, fold.left_out), (fold.val,)))
        leaking = sorted(learned | chosen)
        if not leaking:
            continue
        kind = "training or validation" if chosen - learned else "training"
        if settings.drop_leaking:
            log.warning("dropped %d of %d test images that show the same picture as a %s image",
                        len(leaking), len(fold.test), kind)  # fmt: skip
            dropped |= {fold.test.source.records[place].file for place in leaking}
            continue
        what = _leak(fold, leaking, kind, "" if loaded.splits.one else f" of fold {number}")
        said += refuse_leak(what, "--drop-leaking scores without them", allow_leakage=settings.allow_leakage)
        log.warning("%s", what)
    loaded = _dropped(loaded, dropped) if dropped else loaded
    said += _external_leak(loaded, settings)
    return replace(loaded, leakage=(*loaded.leakage, *said))


def _twins_in(looks: Looks, sets: Sequence[PreparedSet]) -> set[int]:
    """Places of the images that show the same picture as one of these."""
    return {twin.first for own in sets if len(own) for twin in find_twins_across(looks, looks_of(own))}


def _leak(fold: FoldInputs, leaking: Sequence[int], kind: str, which: str) -> str:
    names = some_names([fold.test.source.records[number].file for number in leaking])
    return (
        f"leak: {len(leaking)} of {len(fold.test)} test images{which} ({names}) show the same picture as a {kind} "
        "image; that is the data's doing"
    )


def _external_leak(loaded: BenchmarkData, settings: BenchmarkSettings) -> list[str]:
    """Another site's images are none of the data folder's, and none of its patients'."""
    external, own = loaded.inputs.external, loaded.inputs.everything
    if external is None:
        return []
    known = external.source.has_patients and own.source.has_patients
    patients = {record.group for record in own.source.records} if known else set()
    twins = {twin.first for twin in find_twins_across(looks_of(external), looks_of(own))}
    records = external.source.records
    seen = [records[place].file for place in sorted(twins)]
    shared = sorted({record.group for record in records} & patients)
    said: list[str] = []
    if seen:
        what = f"leak: {len(seen)} of {len(external)} external images ({some_names(seen)}) are also in the data folder"
        said += refuse_leak(what, "take them out of one of the two", allow_leakage=settings.allow_leakage)
    if shared:
        count = sum(record.group in patients for record in records)
        what = f"leak: {count} of {len(external)} external images are of patients of the data folder, by their ids"
        remedy = (  # ids stay in the message: a report may be made to be sent
            f"take them out of one of the two ({some_names(shared)}); or, if two sites only number alike, put the site "
            "before its ids"
        )
        said += refuse_leak(what, remedy, allow_leakage=settings.allow_leakage)
    return said


def _dropped(loaded: BenchmarkData, names: set[str]) -> BenchmarkData:
    """Without some of the test images, by their names: in every fold, as all repeats test the same images."""
    inputs, held_out = loaded.inputs, loaded.inputs.held_out
    splits = Folds(tuple(replace(fold, split=replace(fold.split, test=_without(fold.split.test, names)))
                         for fold in loaded.splits.folds))  # fmt: skip
    if held_out is not None:
        kept = [place for place, record in enumerate(held_out.source.records) if record.file not in names]
        inputs = replace(inputs, held_out=held_out.select(kept))
    else:
        inputs = replace(inputs, learning=splits)
    return replace(loaded, inputs=inputs, splits=splits, dropped=len(names))


def _check_given_test(sources: Sources, loaded: BenchmarkData, before: Folds) -> None:
    """A given split that names test images of a folder of their own is for just these images."""
    held_out = loaded.inputs.held_out
    if sources.splits is None or held_out is None:
        return
    unreadable = {file.file for file in held_out.bad_files}
    given = sources.splits[0].split
    if given.without(unreadable).test not in (before[0].split.test, loaded.splits[0].split.test):
        raise SplitError(
            f"{sources.test} does not hold the {len(given.test)} test images of the split; give that folder"
        )


def _check_classes(loaded: BenchmarkData, number: int, *, given: bool) -> None:
    classes, fold = loaded.classes, loaded.inputs.fold(number)
    if len(classes) < 2:
        raise SettingsError(f"the data have one class ({classes[0]}); a classifier needs at least two")
    parts = {"training": fold.train, "validation": fold.val, "test": fold.test}
    for part, images in parts.items():
        if part == "validation" and not len(images):  # given so; nothing is chosen then
            continue
        present = set(images.source.targets)
        missing = [name for label, name in enumerate(classes) if label not in present]
        if missing and loaded.dropped and part == "test" and loaded.splits.one:
            raise SplitError(
                f"all {loaded.dropped + len(images)} test images but {len(images)} were dropped, and class "
                f"{missing[0]!r} has none left: this test set cannot score it; take another"
            )
        if missing:
            remedy = "give a split that has" if given else "another --split-seed may have"
            raise SplitError(f"the {part} part has no image of class {missing[0]!r}; {remedy}")
