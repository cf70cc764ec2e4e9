"""What a backend is, what it is handed, and what it gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from braingan.data.records import ImageSpec
from braingan.engine.precision import check_precision
from braingan.engine.team import Team
from braingan.errors import SettingsError
from braingan.generation.callbacks import Callbacks

ClassSampling = Literal["balanced", "natural"]


@dataclass(frozen=True)
class TrainingData:
    """All that a backend may see: the training images, never a path, a patient or a held-out image.

    Attributes:
        images: (N, C, H, W) uint8.
        labels: (N,) int64, indices into `spec.classes`.
        spec: size, channels and class names.
        reference_images: (M, C, H, W) uint8 that samples are compared with to choose a checkpoint, never learned
            from: of the validation patients. None where the training images themselves have to do.
        reference_labels: (M,) int64.
        masks: (N, H, W) bool, where the tumour is; all False for an image whose mask is not known. None where nothing
            is marked in any of the images. A backend need not look at them.
    """

    images: Tensor
    labels: Tensor
    spec: ImageSpec
    reference_images: Tensor | None = None
    reference_labels: Tensor | None = None
    masks: Tensor | None = None

    def __post_init__(self) -> None:
        if self.images.dtype != torch.uint8 or tuple(self.images.shape[1:]) != self.spec.shape:
            found = f"{tuple(self.images.shape)} {self.images.dtype}"
            raise SettingsError(f"training images are {found}; (N, {', '.join(map(str, self.spec.shape))}) uint8 works")
        if len(self.images) != len(self.labels) or not len(self.images):
            raise SettingsError(f"{len(self.images)} training images have {len(self.labels)} labels; one each works")
        if int(self.labels.min()) < 0 or int(self.labels.max()) >= len(self.spec.classes):
            raise SettingsError(f"labels reach from {int(self.labels.min())} to {int(self.labels.max())}; "
                                f"0 to {len(self.spec.classes) - 1} work")  # fmt: skip
        fitting = (len(self.images), *self.spec.shape[1:])
        if self.masks is not None and (self.masks.dtype != torch.bool or tuple(self.masks.shape) != fitting):
            found = f"{tuple(self.masks.shape)} {self.masks.dtype}"
            raise SettingsError(f"training masks are {found}; {fitting} bool works")


def check_seed(seed: int) -> None:
    """Raise `SettingsError` for a seed that not every random generator takes."""
    if not 0 <= seed < 2**32:
        raise SettingsError(f"seed {seed} was asked; 0 to {2**32 - 1} work")


@dataclass(frozen=True)
class TrainingRun:
    """How long, on what and where a backend trains.

    Attributes:
        folder: exists; receives `stats.jsonl`, `samples/` and `checkpoints/`.
        steps: updates of the generator.
        batch_size: images in a step; may be more than there are.
        seed: of everything random in the training.
        device: where to compute.
        class_sampling: "balanced" draws every class equally often, "natural" as often as it occurs.
        precision: "float32", "bfloat16" or "float16".
        compile: whether networks go through `torch.compile`.
        checkpoint_every: steps between two checkpoints; None for one a minute.
        patience: measurements without a better one after which training ends; 0 for never.
        callbacks: told what happens; see `braingan.generation.callbacks`.
        settings: what to note in `run.json`, JSON-able.
        team: the processes that share this training; by default this one alone.
    """

    folder: Path
    steps: int = 1000
    batch_size: int = 64
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    class_sampling: ClassSampling = "balanced"
    precision: str = "float32"
    compile: bool = False
    checkpoint_every: int | None = None
    patience: int = 10
    callbacks: Callbacks = field(default_factory=Callbacks)
    settings: Mapping[str, Any] = field(default_factory=dict)
    team: Team | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise SettingsError(f"{self.steps} steps were asked; 1 or more work")
        if self.batch_size < 1:
            raise SettingsError(f"a batch size of {self.batch_size} was asked; 1 or more work")
        check_seed(self.seed)
        if self.class_sampling not in {"balanced", "natural"}:
            raise SettingsError(f"class sampling {self.class_sampling!r} was asked; 'balanced' or 'natural' work")
        check_precision(self.precision)
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise SettingsError(f"a checkpoint every {self.checkpoint_every} steps was asked; 1 or more work")
        if self.patience < 0:
            raise SettingsError(f"a patience of {self.patience} was asked; 0 (never stop early) or more work")
        if self.team and self.batch_size % self.team.size:
            raise SettingsError(
                f"a batch of {self.batch_size} cannot be shared by {self.team.size} processes; a multiple works"
            )


class Generator(Protocol):
    """A trained generator. There is no untrained one: it comes from `fit` or `load` of a backend."""

    @property
    def spec(self) -> ImageSpec:
        """The images it makes."""

    def sample(self, labels: Tensor, *, seed: int, first: int = 0) -> Tensor:
        """Make one image for each label.

        Args:
            labels: (N,) int64 class indices.
            seed: image i depends on (seed, first + i, labels[i]) and on nothing else: not on N, not on
                the other labels. So any part of a series can be made alone.
            first: number of the first image in its series.

        Returns:
            (N, C, H, W) float32 in [-1, 1] on the CPU.
        """

    def state_dict(self) -> dict[str, Tensor]:
        """The tensors from which the backend's `load` makes this generator again."""


@runtime_checkable
class GeneratorBackend(Protocol):
    """An untrained backend: a frozen dataclass whose fields are its hyper-parameters.

    Each field is a number, a string, a boolean or a tuple of these, and has a default.
    """

    def check(self, spec: ImageSpec) -> None:
        """Raise `SettingsError` for images that this backend cannot make; called before training."""

    def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
        """Learn from the training images."""

    def load(self, spec: ImageSpec, state: Mapping[str, Tensor]) -> Generator:
        """The generator whose `state_dict` this was."""
