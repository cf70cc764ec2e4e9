"""What a benchmark works on: training images, test images, and the split that says which is which."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from braingan.data.findings import BadFile
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageSet
from braingan.data.split import Split, locate, split_by_group, split_files
from braingan.errors import DataError, SettingsError, SplitError
from braingan.experiment.arms import LabelledImages


@dataclass(frozen=True)
class BenchmarkData:
    """The parts of one experiment.

    Attributes:
        everything: the prepared data folder.
        train: what generators and classifiers learn from.
        test: what scores come from: always real images.
        split: which is which.
    """

    everything: PreparedSet
    train: PreparedSet
    test: PreparedSet
    split: Split

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
        if self.split.grouped_by == "file" and self.everything.source.has_patients:
            notes.append(
                "The test folder has no patient ids: its images may be of patients who are in training, and scores may "
                "be too good. A metadata.csv with a column `patient` in it mends that."
            )
        elif self.split.grouped_by == "file":
            notes.append(
                "No patient ids: each file is its own group, so slices of one patient may stand in training and in "
                "test, and scores may be too good. A metadata.csv with a column `patient` mends that."
            )
        twins = set(self.train.hashes) & set(self.test.hashes)
        if twins:
            count = sum(sha in twins for sha in self.test.hashes)
            notes.append(
                f"{count} of {len(self.test)} test images are byte-identical to training images: scores are too good."
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

    Raises:
        DataError: the images cannot be used, or the test folder has other classes.
        SplitError: no split can be made, or the one given does not fit.
    """
    prepared = prepare_folder(data, preprocessing, cache, skip_bad=skip_bad)
    bad = {file.file for file in prepared.bad_files}
    if test is None:
        split = split.without(bad) if split else split_by_group(prepared, seed=split_seed)
        parts = locate(split, prepared)
        held_out = prepared.select(parts.test)
    else:
        held_out = _test_set(test, prepared, preprocessing, cache, skip_bad=skip_bad)
        files = split_files(held_out, range(len(held_out)))
        if split and split.without({file.file for file in held_out.bad_files}).test != files:
            raise SplitError(f"{test} does not hold the {len(split.test)} test images of the split; give that folder")
        learning = split.without(bad) if split else split_by_group(prepared, seed=split_seed, parts=("train", "val"))
        parts = locate(replace(learning, test=()), prepared)
        known = prepared.source.has_patients and held_out.source.has_patients
        split = replace(learning, test=files, grouped_by="patient" if known else "file")
        split.refuse_shared_groups()
    loaded = BenchmarkData(prepared, prepared.select(parts.train), held_out, split)
    _check_classes(loaded)
    return loaded


def _test_set(
    test: Path, prepared: PreparedSet, preprocessing: Preprocessing, cache: Path, *, skip_bad: bool
) -> PreparedSet:
    held_out = prepare_folder(test, preprocessing, cache, skip_bad=skip_bad)
    source = held_out.source
    if source.classes != prepared.source.classes:
        raise DataError(
            f"{test} has the classes {', '.join(source.classes)}, the training data "
            f"{', '.join(prepared.source.classes)}; both need the same"
        )
    if source.has_patients:
        return held_out
    # Without patients a group is a file's name, which may stand in both folders for different images.
    records = [replace(record, group=f"test:{record.file}") for record in source.records]
    return replace(held_out, source=ImageSet(records, source.classes))


def _check_classes(loaded: BenchmarkData) -> None:
    classes = loaded.everything.source.classes
    if len(classes) < 2:
        raise SettingsError(f"the data have one class ({classes[0]}); a classifier needs at least two")
    for part, images in (("training", loaded.train), ("test", loaded.test)):
        present = set(images.source.targets)
        missing = [name for label, name in enumerate(classes) if label not in present]
        if missing:
            raise SplitError(f"the {part} part has no image of class {missing[0]!r}; another --split-seed may have")
