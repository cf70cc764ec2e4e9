"""What an image is: its file, its class, its patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from torch.utils.data import Dataset

from braingan.data.decoding import open_image, read_pixels, to_picture
from braingan.errors import DataError, SettingsError

UNLABELLED = "unlabelled"  # the class of images of which nothing says what they show


@dataclass(frozen=True)
class ImageSpec:
    """The images that a generator makes and a classifier reads.

    Attributes:
        size: height and width in pixels.
        channels: 1 (greyscale) to 4.
        classes: names, in label order.
    """

    size: int
    channels: int
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.size < 8:
            raise SettingsError(f"size {self.size} was asked; images need at least 8 pixels a side")
        if not 1 <= self.channels <= 4:
            raise SettingsError(f"{self.channels} channels were asked; 1 to 4 work")
        if not self.classes:
            raise SettingsError("no classes were given; at least one is needed")
        for name in self.classes:
            if wrong := class_name_problem(name):
                raise SettingsError(f"class {name!r} {wrong}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self.channels, self.size, self.size


def class_name_problem(name: str) -> str:
    """Why a class cannot have this name, which becomes the name of a folder; empty where it can."""
    if not name or name != name.strip() or name.startswith("."):
        return "is empty, or begins or ends with a blank or a dot; rename it"
    if any(character in "/\\:" or not character.isprintable() for character in name):
        return "holds a slash, a colon or a character that cannot be printed; rename it"
    return "is longer than 100 characters; rename it" if len(name) > 100 else ""


class PixelSource(Protocol):
    """How to read an image that is not a picture file of its own: a slice of a volume, a chosen channel.

    A frozen dataclass, so that records can be compared and sent to other processes.
    """

    @property
    def paths(self) -> tuple[Path, ...]:
        """The files that its pixels are read from."""

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """The files that its mask is read from; none where no mask is known."""

    @property
    def key(self) -> str:
        """Which part of these files it is: with their contents it says what the pixels are."""

    def pixels(self) -> np.ndarray:
        """(height, width, channels) float32, finite, on the scale on which it was written.

        Raises:
            DataError: it cannot be read; the message begins with the first path and a colon.
        """

    def mask(self) -> np.ndarray | None:
        """(height, width) bool, where the tumour is; None where no mask is known."""


@dataclass(frozen=True)
class ImageRecord:
    """One image on disk.

    Attributes:
        path: where it lies.
        file: its name relative to the data folder, with forward slashes; how splits and results name it.
        label: index into the set's classes.
        group: what must stay on one side of a split: the patient, or the file itself where none is known.
        mask: the picture file of the tumour mask that belongs to it.
        source: how to read pixels and mask where `path` is not a picture file of this image.
        columns: what else is known of it (a slice's position, a subgroup): name and text.
    """

    path: Path
    file: str
    label: int
    group: str
    mask: Path | None = None
    source: PixelSource | None = None
    columns: tuple[tuple[str, str], ...] = ()


def open_record(record: ImageRecord) -> Image.Image:
    """The image as it is: mode L or RGB for pictures, F (grey) or RGB (sequences side by side) for slices.

    Raises:
        DataError: see `decoding.open_image`.
    """
    return open_image(record.path) if record.source is None else to_picture(record.source.pixels())


def pixels_of(record: ImageRecord, channels: int) -> np.ndarray:
    """The numbers of an image: (height, width, channels) float32, finite.

    Raises:
        DataError: it cannot be read, or has several sequences where one channel is asked.
    """
    if record.source is None:
        return read_pixels(record.path, channels)
    pixels = record.source.pixels()
    found = pixels.shape[2]
    if found == channels:
        return pixels
    if found == 1:
        return np.repeat(pixels, channels, axis=2)
    if found < channels:
        return np.pad(pixels, ((0, 0), (0, 0), (0, channels - found)))
    raise DataError(f"{record.path}: has {found} sequences and {channels} channels are asked; choose sequences with "
                    "`braingan prepare`")  # fmt: skip


def native_pixels(record: ImageRecord) -> np.ndarray:
    """The numbers of an image in its own channels: grey (1), colour (3) or as many sequences as it has."""
    if record.source is not None:
        return record.source.pixels()
    return read_pixels(record.path, None)


def mask_of(record: ImageRecord) -> np.ndarray | None:
    """Where the tumour is: (height, width) bool; None where no mask is known.

    Raises:
        DataError: the mask cannot be read.
    """
    if record.source is not None:
        return record.source.mask()
    if record.mask is None:
        return None
    mask: np.ndarray = read_pixels(record.mask, 1)[:, :, 0] > 0
    return mask


class ImageSet(Dataset[tuple[Any, int]]):
    """A map-style dataset of (PIL image, label) over files, in the manner of torchvision's `ImageFolder`.

    Args:
        records: the images.
        classes: names, in label order.
        has_patients: whether `ImageRecord.group` is a patient (else it is the file).
        transform: applied to the PIL image (mode L or RGB, or what `decoding.open_image` gives).
    """

    def __init__(
        self,
        records: Iterable[ImageRecord],
        classes: Sequence[str],
        *,
        has_patients: bool = False,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        self.records = tuple(records)
        self.classes = list(classes)
        self.has_patients = has_patients
        self.transform = transform

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    def targets(self) -> list[int]:
        """The labels, one an image."""
        return [record.label for record in self.records]

    def select(self, indices: Iterable[int]) -> ImageSet:
        """The images at `indices`, in that order, with the same classes and transform."""
        chosen = (self.records[index] for index in indices)
        return ImageSet(chosen, self.classes, has_patients=self.has_patients, transform=self.transform)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        record = self.records[index]
        image: Any = open_record(record)
        return (self.transform(image) if self.transform else image), record.label
