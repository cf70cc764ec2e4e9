"""What a benchmark works on: training images, test images, and the split that says which is which."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from braingan.augmentation.leaks import check_real, refuse_leak
from braingan.data.findings import BadFile
from braingan.data.held_out import prepare_test
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import Split, locate, split_by_group, with_test
from braingan.duplicates.grouping import group_duplicates as grouped
from braingan.duplicates.grouping import looks_of
from braingan.duplicates.seen import some_names
from braingan.duplicates.twins import find_twins_across
from braingan.errors import SettingsError, SplitError
from braingan.experiment.arms import LabelledImages

log = logging.getLogger("braingan")


@dataclass(frozen=True)
class BenchmarkData:
    """The parts of one experiment.

    Attributes:
        everything: the prepared data folder.
        train: what generators and classifiers learn from.
        val: for choices; held out as the test images are.
        test: what scores come from: always real images.
        split: which is which.
        learning: the split of the data folder alone; what a generator's folder says of its training.
        leakage: what was allowed although it leaks.
        dropped: how many test images were left out because training shows the same picture.
    """

    everything: PreparedSet
    train: PreparedSet
    val: PreparedSet
    test: PreparedSet
    split: Split
    learning: Split
    leakage: tuple[str, ...] = ()
    dropped: int = 0

    @property
    def real(self) -> LabelledImages:
        """The training images."""
        return LabelledImages(self.train.images, self.train.labels)

    @property
    def bad_files(self) -> tuple[BadFile, ...]:
        """What could not be read, of all folders."""
        return tuple(dict.fromkeys((*self.everything.bad_files, *self.test.bad_files)))

    def notes(self) -> list[str]:
        """What a reader must know before believing the numbers."""
        notes = []
        if self.split.grouped_by != "patient" and self.everything.source.has_patients:
            notes.append(
                "The test folder has no patient ids: its images may be of patients who are in training, and scores may "
                "be too good. A metadata.csv with a column `patient` in it mends that."
            )
        elif self.split.grouped_by != "patient":
            notes.append(
                f"No patient ids: {_KEPT_TOGETHER[self.split.grouped_by]}, so other slices of one patient may stand in "
                "training and in test, and scores may be too good. A metadata.csv with a column `patient` mends that."
            )
        if self.dropped:
            notes.append(
                f"{self.dropped} test images were dropped because they show the same picture as a training image "
                f"(--drop-leaking); {len(self.test)} are left."
            )
        if self.bad_files:
            notes.append(f"{len(self.bad_files)} bad files were left out (see bad_files).")
        return notes


def load_data(
    data: Path,
    preprocessing: Preprocessing,
    cache: Path,
    *,
    split_seed: int,
    split: Split | None,
    test: Path | None,
    skip_bad: bool,
    group_duplicates: bool = True,
    drop_leaking: bool = False,
    allow_leakage: bool = False,
) -> BenchmarkData:
    """Prepare the images and split them.

    Args:
        data: the data folder.
        preprocessing: for all images alike.
        cache: see `prepare_folder`.
        split_seed: of the split by patient, where none is given.
        split: given parts.
        test: a folder of test images; then `data` is split into training and validation only.
        skip_bad: go on without bad files.
        group_duplicates: keep images of the same picture on one side where no patients are known.
        drop_leaking: leave out test images that show the same picture as a training image.
        allow_leakage: go on in spite of them, and say so.

    Raises:
        DataError: the images cannot be used, or the test folder has other classes.
        SplitError: no split can be made, or the one given does not fit.
        LeakageError: test images show the same picture as training images, or are synthetic.
    """
    if drop_leaking and allow_leakage:
        raise SettingsError("--drop-leaking and --allow-leakage were both asked; give one of them")
    prepared = prepare_folder(data, preprocessing, cache, skip_bad=skip_bad)
    if group_duplicates and not split:
        prepared = grouped(prepared)
    bad, given, unreadable = {file.file for file in prepared.bad_files}, split, set[str]()
    if test is None:
        split = split.without(bad) if split else split_by_group(prepared, seed=split_seed)
        learning, parts = split, locate(split, prepared)
        held_out = prepared.select(parts.test)
    else:
        held_out = prepare_test(test, prepared, preprocessing, cache, skip_bad=skip_bad)
        unreadable = {file.file for file in held_out.bad_files}
        learning = split.without(bad) if split else split_by_group(prepared, seed=split_seed, parts=("train", "val"))
        learning = replace(learning, test=())
        parts = locate(learning, prepared)
        split = with_test(learning, prepared, held_out)
    loaded = BenchmarkData(
        prepared, prepared.select(parts.train), prepared.select(parts.val), held_out, split,
        learning=learning,
    )  # fmt: skip
    named = (("test", held_out), ("validation", loaded.val), ("training", loaded.train))
    said = [check_real(images, name, allow_leakage=allow_leakage) for name, images in named]
    loaded = replace(loaded, leakage=tuple(itertools.chain(*said)))
    _check_classes(loaded)
    found = loaded.split.test
    loaded = _without_twins(loaded, drop_leaking=drop_leaking, allow_leakage=allow_leakage)
    if test and given and given.without(unreadable).test not in (found, loaded.split.test):  # before dropping, or after
        raise SplitError(f"{test} does not hold the {len(given.test)} test images of the split; give that folder")
    _check_classes(loaded)
    return loaded


_KEPT_TOGETHER = {
    "twins": "images of the same picture are kept together, but nothing else",
    "file": "each file is its own group",
}


def _without_twins(loaded: BenchmarkData, *, drop_leaking: bool, allow_leakage: bool) -> BenchmarkData:
    """Refuse, drop or mark test images that show the same picture as a training image."""
    twins = find_twins_across(looks_of(loaded.test), looks_of(loaded.train))
    leaking = sorted({twin.first for twin in twins})
    if not leaking:
        return loaded
    if drop_leaking:
        kept = [number for number in range(len(loaded.test)) if number not in set(leaking)]
        log.warning("dropped %d of %d test images that show the same picture as a training image",
                    len(leaking), len(loaded.test))  # fmt: skip
        test = loaded.test.select(kept)
        split = replace(loaded.split, test=tuple(loaded.split.test[number] for number in kept))
        return replace(loaded, test=test, split=split, dropped=len(leaking))
    names = some_names([loaded.test.source.records[number].file for number in leaking])
    what = (
        f"leak: {len(leaking)} of {len(loaded.test)} test images ({names}) show the same picture as a training image; "
        "that is the data's doing"
    )
    said = refuse_leak(what, "--drop-leaking scores without them", allow_leakage=allow_leakage)
    log.warning("%s", what)
    return replace(loaded, leakage=(*loaded.leakage, *said))


def _check_classes(loaded: BenchmarkData) -> None:
    classes = loaded.everything.source.classes
    if len(classes) < 2:
        raise SettingsError(f"the data have one class ({classes[0]}); a classifier needs at least two")
    for part, images in (("training", loaded.train), ("test", loaded.test)):
        present = set(images.source.targets)
        missing = [name for label, name in enumerate(classes) if label not in present]
        if missing and loaded.dropped:
            raise SplitError(
                f"all {loaded.dropped + len(images)} test images but {len(images)} were dropped, and class "
                f"{missing[0]!r} has none left: this test set cannot score it; take another"
            )
        if missing:
            raise SplitError(f"the {part} part has no image of class {missing[0]!r}; another --split-seed may have")
