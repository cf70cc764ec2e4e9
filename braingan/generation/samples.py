"""What a generator may give besides images: masks, and the training images that it edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Self, cast, runtime_checkable

import torch
from torch import Tensor

from braingan.errors import SettingsError
from braingan.generation.protocol import Generator, TrainingData

SHOWS_PATIENTS = (
    "Synthetic tumour in a slice of a real patient: all but the tumour is that patient's. Not anonymous, not for "
    "diagnosis."
)


@dataclass(frozen=True)
class Samples:
    """Synthetic images with what is known of them.

    Attributes:
        images: (N, C, H, W) float32 in [-1, 1] on the CPU.
        masks: (N, H, W) bool, where the tumour is; None from generators that do not know.
        canvases: (N,) int64, the training image that was edited, by its number in `TrainingData`; None where images
            are made from nothing.
        mask_sources: (N,) int64, the training image whose tumour's outline was used; -1 where it is none's.
    """

    images: Tensor
    masks: Tensor | None = None
    canvases: Tensor | None = None
    mask_sources: Tensor | None = None


@runtime_checkable
class DrawingGenerator(Generator, Protocol):
    """A generator that knows more of its images than their pixels. It may have a property `makes`, too."""

    def draw(self, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
        """As `sample`, with all that is known of the images."""


@runtime_checkable
class EditingGenerator(DrawingGenerator, Protocol):
    """A generator that puts tumours into images of its training set. It keeps these images, and says so.

    Attributes:
        edits_real_slices: True.
    """

    edits_real_slices: bool

    @property
    def makes(self) -> tuple[int, ...]:
        """The labels that it can make."""

    def sized(self, tumor_size: float) -> Self:
        """The same generator, whose tumours are so many times as wide as in training."""


@runtime_checkable
class InPrecision(Protocol):
    """A generator that can compute in another precision."""

    def in_precision(self, precision: str) -> Generator:
        """The same generator, sampling in another precision: bfloat16 is up to one grey level off float32."""


def draw_samples(generator: Generator, labels: Tensor, *, seed: int, first: int = 0) -> Samples:
    """Images, and what else the generator tells of them; arguments as `Generator.sample`."""
    if isinstance(generator, DrawingGenerator):
        return generator.draw(labels, seed=seed, first=first)
    return Samples(generator.sample(labels, seed=seed, first=first))


def edits_real_slices(generator: Generator) -> bool:
    """Whether its images show the training patients."""
    return bool(getattr(generator, "edits_real_slices", False))


def labels_made(generator: Generator) -> tuple[int, ...]:
    """The labels that a trained generator can make: all, unless it says otherwise."""
    return tuple(getattr(generator, "makes", range(len(generator.spec.classes))))


def check_learnable(backend: object, name: str, data: TrainingData) -> tuple[int, ...]:
    """The labels that a backend can make after learning from `data`.

    Args:
        backend: may say `requires = {"masks"}`, and have a method `makes(data)`.
        name: of the backend, for messages.
        data: what it would learn from.

    Raises:
        SettingsError: it can learn nothing from these.
    """
    if "masks" in getattr(backend, "requires", ()) and (data.masks is None or not bool(data.masks.any())):
        raise SettingsError(
            f"backend {name!r} was asked and needs tumour masks, and no training image has one; `dcgan` needs none, "
            "and a column `mask` in metadata.csv names masks"
        )
    if "masks" in getattr(backend, "requires", ()) and "masks" in data.spec.classes:
        raise SettingsError("class 'masks' would lie in one folder with the masks of the others; rename it")
    makes = getattr(backend, "makes", None)
    return tuple(makes(data)) if makes else tuple(range(len(data.spec.classes)))


def with_tumor_size(generator: Generator, tumor_size: float) -> Generator:
    """The generator with tumours of another size.

    Args:
        generator: stays as it is.
        tumor_size: times the width of those in training, 0.25 to 4.

    Raises:
        SettingsError: the size is beyond that, or the generator does not place tumours.
    """
    if tumor_size == 1:
        return generator
    check_tumor_size(generator, tumor_size)
    return cast(EditingGenerator, generator).sized(tumor_size)


def check_tumor_size(maker: object, tumor_size: float) -> None:
    """Raise `SettingsError` for a size that a backend or a generator cannot make."""
    if not 0.25 <= tumor_size <= 4:
        raise SettingsError(f"tumour size {tumor_size} was asked; 0.25 to 4 times that in training work")
    if tumor_size != 1 and not (isinstance(maker, EditingGenerator) or getattr(maker, "places_tumors", False)):
        raise SettingsError(
            f"tumour size {tumor_size} was asked; {type(maker).__name__} makes whole images and cannot choose it: "
            "`insert` and `paste` can"
        )


def check_labels(generator: Generator, labels: Tensor) -> None:
    """Raise `SettingsError` for a label that the generator cannot make."""
    made = labels_made(generator)
    wrong = labels[~torch.isin(labels, torch.tensor(made))]
    if len(wrong):
        classes = generator.spec.classes
        raise SettingsError(
            f"class {classes[int(wrong[0])]!r} was asked; this generator makes "
            f"{', '.join(repr(classes[label]) for label in made)}"
        )
