"""What an image is: its file, its class, its patient."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from braingan.data.decoding import open_image
from braingan.errors import SettingsError


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


@dataclass(frozen=True)
class ImageRecord:
    """One image on disk.

    Attributes:
        path: where it lies.
        file: its name relative to the data folder, with forward slashes; how splits and results name it.
        label: index into the set's classes.
        group: what must stay on one side of a split: the patient, or the file itself where none is known.
        mask: the tumour mask that belongs to it.
    """

    path: Path
    file: str
    label: int
    group: str
    mask: Path | None = None


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
        image: Any = open_image(record.path)
        return (self.transform(image) if self.transform else image), record.label
