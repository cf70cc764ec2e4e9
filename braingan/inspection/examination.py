"""A data folder -> what is known of each image, from one look at its file."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braingan.data.findings import BadFile, Findings
from braingan.data.held_out import synthetic_files
from braingan.data.preparation import content_hashes, read_mask
from braingan.data.reading import read_data
from braingan.data.records import ImageRecord, ImageSet, native_pixels
from braingan.data.views import view_of
from braingan.duplicates.twins import Looks
from braingan.errors import DataError
from braingan.inspection.statistics import appearance_statistics, blind_statistics
from braingan.progress import Progress


@dataclass(frozen=True)
class Examined:
    """The images of a folder that can be read.

    Attributes:
        source: the N images.
        names: (N,) how they are called in what is written.
        looks: views and content hashes.
        blind: (N, len(BLIND)) statistics that no tumour can change.
        appearance: (N, len(APPEARANCE)) statistics that one may change.
        bad_files: what cannot be read, and why.
        synthetic: names of images that say of themselves that they are synthetic.
    """

    source: ImageSet
    names: tuple[str, ...]
    looks: Looks
    blind: np.ndarray
    appearance: np.ndarray
    bad_files: tuple[BadFile, ...]
    synthetic: tuple[str, ...]

    @property
    def labels(self) -> np.ndarray:
        """(N,) class indices."""
        return np.asarray(self.source.targets)

    @property
    def groups(self) -> list[str]:
        """(N,) the patient, or the file where none is known."""
        return [record.group for record in self.source.records]

    @property
    def patients(self) -> int | None:
        """How many patients there are, where they are known."""
        return len(set(self.groups)) if self.source.has_patients else None

    def counts(self) -> dict[str, int]:
        """Images of each class."""
        counted = Counter(self.source.targets)
        return {name: counted[label] for label, name in enumerate(self.source.classes)}

    def __len__(self) -> int:
        return len(self.source)


def examine(data: Path, *, format: str, options: Mapping[str, Any], prefix: str = "") -> Examined:
    """Read every image of a folder once. Bad files are findings here, not errors.

    Args:
        data: the folder.
        format: see `reading.read_data`.
        options: of the format.
        prefix: put before the names of files.

    Raises:
        DataError: nothing in it can be used.
    """
    findings = Findings(skip_bad=True)
    source = read_data(data, findings, format=format, options=options)
    hashes = content_hashes(source)
    looked = _look_at_all(source.records, data)
    for record, seen in zip(source.records, looked, strict=True):
        if isinstance(seen, str):
            findings.add(record.file, seen)
    good = [number for number, seen in enumerate(looked) if not isinstance(seen, str)]
    if not good:
        raise DataError(
            f"{data}: none of {len(looked)} images can be read; {findings.bad[0].file}: {findings.bad[0].reason}"
        )
    views, blind, appearance = (np.stack(parts) for parts in zip(*(looked[number] for number in good), strict=True))
    kept = source.select(good)
    return Examined(
        source=kept,
        names=tuple(prefix + record.file for record in kept.records),
        looks=Looks(views, [hashes[number] for number in good]),
        blind=blind,
        appearance=appearance,
        bad_files=tuple(BadFile(prefix + bad.file, bad.reason) for bad in findings.bad),
        synthetic=tuple(prefix + name for name in synthetic_files(kept.records)),
    )


Look = tuple[np.ndarray, np.ndarray, np.ndarray]


def _look_at_all(records: Sequence[ImageRecord], data: Path) -> list[Look | str]:
    """For each image its view and statistics, or why it cannot be read."""
    together: dict[Path, list[int]] = {}  # slices of one volume go to one thread, which decompresses it once
    for number, record in enumerate(records):
        together.setdefault(record.path, []).append(number)
    looked: list[Look | str] = [""] * len(records)
    with (
        warnings.catch_warnings(),  # here and not around each file: threads share the filters
        Progress(f"looking at {data.name}", len(records)) as progress,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        warnings.simplefilter("ignore")  # Pillow's about metadata and size; the size is judged by the decoder
        looks = pool.map(lambda numbers: [_look_at(records[number]) for number in numbers], together.values())
        for numbers, seen in zip(together.values(), looks, strict=True):
            for number, look in zip(numbers, seen, strict=True):
                looked[number] = look
            progress.advance(len(numbers))
    return looked


def _look_at(record: ImageRecord) -> Look | str:
    try:
        pixels = native_pixels(record)
        read_mask(record, pixels)
    except DataError as error:
        return str(error).removeprefix(f"{record.path}: ")
    path = record.path if record.source is None else None
    return view_of(pixels), np.asarray(blind_statistics(path, pixels)), np.asarray(appearance_statistics(pixels))
