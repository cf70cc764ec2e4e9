"""Backends of which it is known what a benchmark should say of them: more real images, nothing, and nothing new.

They are registered under no name; see "Backends to check a benchmark with" in `docs/backend.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from braingan.data.files import replacing
from braingan.data.pictures import to_float
from braingan.data.records import ImageSpec
from braingan.errors import SettingsError
from braingan.generation.latents import draw_latents
from braingan.generation.protocol import Generator, TrainingData, TrainingRun
from braingan.generation.samples import check_labels

ORACLES_FILE = "a .safetensors file with images (M, C, H, W) uint8 and labels (M,) int64 works: Oracle.of writes one"


@dataclass(frozen=True)
class Noise:
    """Uniform noise whatever the class: nothing can be learned from it."""

    keeps_best: ClassVar[bool] = False

    def check(self, spec: ImageSpec) -> None:
        """Every size works."""

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Look at nothing but the size."""
        return NoiseGenerator(data.spec)

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """There is nothing to load."""
        return NoiseGenerator(spec)


class NoiseGenerator:
    """Pixels that are independent of each other and of the class, and all grey levels alike."""

    def __init__(self, spec: ImageSpec) -> None:
        self.spec = spec

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """As `Generator.sample`."""
        pixels = self.spec.channels * self.spec.size**2
        normal = draw_latents(labels.tolist(), pixels, seed=seed, first=first).view(-1, *self.spec.shape)
        uniform: Tensor = torch.special.ndtr(normal)  # a normal number's rank
        return 2 * uniform - 1

    def state_dict(self) -> dict[str, Tensor]:
        """Empty."""
        return {}


@dataclass(frozen=True)
class Copycat:
    """The training images themselves: nothing new, and nothing private.

    Unlike a backend that edits slices it does not say that its images show patients. They are never to be handed out.
    """

    keeps_best: ClassVar[bool] = False

    def check(self, spec: ImageSpec) -> None:
        """Every size works."""

    def makes(self, data: TrainingData) -> tuple[int, ...]:
        """The classes that there are images of."""
        return _present(data.labels)

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Keep the images."""
        return KeptImages(data.spec, data.images.clone(), data.labels.clone())

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """With the images in `state`."""
        return KeptImages(spec, state["images"], state["labels"])


@dataclass(frozen=True)
class Oracle:
    """Real images that nobody else has, as if they were made: what the best of generators would give.

    They are in a file, because a hyper-parameter is a number or a string. Once it is trained it needs the file no more.

    Attributes:
        source: a .safetensors file with `images` (M, C, H, W) uint8 and `labels` (M,) int64, which count the classes
            of the data that it is used with. Other images need a file of another name: what is finished of a benchmark
            is known by the name.
    """

    keeps_best: ClassVar[bool] = False

    source: str = ""

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, file: Path) -> Self:
        """An oracle of these images.

        Args:
            images: (M, C, H, W) uint8.
            labels: (M,) int64.
            file: is written, as .safetensors.

        Raises:
            SettingsError: they are no such images and labels.
            OutputError: the file cannot be written.
        """
        _check_kept(images, labels, str(file))
        with replacing(file) as beside:
            save_file({"images": images.contiguous().clone(), "labels": labels.contiguous().clone()}, beside)
        return cls(str(file.resolve()))

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for images other than those in the file, or a file that cannot be used."""
        images, labels = self._read()
        if tuple(images.shape[1:]) != spec.shape:
            raise SettingsError(f"images of {spec.shape} were asked; {self.source} has {tuple(images.shape[1:])}")
        if int(labels.max()) >= len(spec.classes):
            raise SettingsError(
                f"{len(spec.classes)} classes of size {spec.size} were asked; {self.source} has labels up to "
                f"{int(labels.max())}"
            )

    def makes(self, data: TrainingData) -> tuple[int, ...]:
        """The classes that the file has images of."""
        return _present(self._read()[1])

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Learn nothing from the training images, and keep those of the file."""
        self.check(data.spec)
        return KeptImages(data.spec, *self._read())

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """With the images in `state`."""
        return KeptImages(spec, state["images"], state["labels"])

    def _read(self) -> tuple[Tensor, Tensor]:
        try:
            state = load_file(self.source)
            images, labels = state["images"], state["labels"]
        except (OSError, SafetensorError, KeyError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise SettingsError(f"source {self.source!r} was given ({reason}); {ORACLES_FILE}") from error
        _check_kept(images, labels, self.source)
        return images, labels


def _check_kept(images: Tensor, labels: Tensor, source: str) -> None:
    fits = images.ndim == 4 and labels.ndim == 1 and len(images) == len(labels) > 0
    if not fits or images.dtype != torch.uint8 or labels.dtype != torch.int64 or int(labels.min()) < 0:
        found = f"images {tuple(images.shape)} {images.dtype}, labels {tuple(labels.shape)} {labels.dtype}"
        raise SettingsError(f"source {source!r} was given with {found}; {ORACLES_FILE}, no label below 0")


def _present(labels: Tensor) -> tuple[int, ...]:
    return tuple(torch.unique(labels).tolist())


class KeptImages:
    """Hands out images as they are.

    Image number i of a class that has M of them is place i, modulo M, of an order that the seed shuffles: M in a row
    are all different. What comes before does not matter, as `Generator.sample` asks.

    Args:
        spec: of the images.
        images: (M, C, H, W) uint8.
        labels: (M,) int64.
    """

    def __init__(self, spec: ImageSpec, images: Tensor, labels: Tensor) -> None:
        self.spec, self.images, self.labels = spec, images, labels

    @property
    def makes(self) -> tuple[int, ...]:
        """The labels that there are images of."""
        return _present(self.labels)

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """As `Generator.sample`.

        Raises:
            SettingsError: a class that there are no images of.
        """
        check_labels(self, labels)
        orders = {label: self._order(label, seed) for label in _present(labels)}
        chosen = [orders[label][(first + row) % len(orders[label])] for row, label in enumerate(labels.tolist())]
        return to_float(self.images[torch.tensor(chosen, dtype=torch.int64)])

    def _order(self, label: int, seed: int) -> np.ndarray:
        own = (self.labels == label).nonzero().flatten().numpy()
        return np.random.default_rng([seed, label]).permutation(own)

    def state_dict(self) -> dict[str, Tensor]:
        """The images and their labels."""
        return {"images": self.images, "labels": self.labels}
