"""A folder of test images beside the data folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from PIL import Image

from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageRecord, ImageSet
from braingan.errors import DataError


def prepare_test(
    test: Path, prepared: PreparedSet, preprocessing: Preprocessing, cache: Path, *, skip_bad: bool
) -> PreparedSet:
    """Prepare a folder of test images as the data were.

    Raises:
        DataError: it cannot be used, or has other classes.
    """
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


def synthetic_files(records: Iterable[ImageRecord]) -> list[str]:
    """Names of the files that say of themselves that they are synthetic: see `augmentation.synthesis`."""
    return [record.file for record in records if record.source is None and _says_synthetic(record.path)]


def _says_synthetic(path: Path) -> bool:
    if path.suffix.lower() != ".png":
        return False
    try:
        with Image.open(path, formats=("PNG",)) as image:  # text before the pixels is read with the header
            return str(image.info.get("Synthetic", "")).lower() == "true"
    except Exception:  # what cannot be opened is named where it is decoded
        return False
