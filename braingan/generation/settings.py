"""How a generator is trained, as a record that can be stored and compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from braingan.data.preprocessing import Preprocessing
from braingan.generation.protocol import ClassSampling
from braingan.generation.registry import create_backend, hyperparameters_of

# What versions did that did not yet note it.
EARLIER: dict[str, Any] = {"precision": "float32", "compile": False, "patience": 0}


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that `train` was told, besides the images.

    Attributes:
        backend: name in the registry.
        hyperparameters: of the backend; complete after `resolved`.
        size: of the images in pixels.
        channels: 1 or 3.
        steps: updates of the generator.
        batch_size: images in a step.
        seed: of everything random.
        class_sampling: "balanced" or "natural".
        device: what was asked.
        precision: "float32", "bfloat16", "float16", or "auto" for the quickest.
        compile: whether networks go through `torch.compile`.
        patience: measurements without a better one after which training ends; 0 for never.
    """

    backend: str = "dcgan"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    size: int = 64
    channels: int = 1
    steps: int = 1000
    batch_size: int = 64
    seed: int = 0
    class_sampling: ClassSampling = "balanced"
    device: str = "auto"
    precision: str = "auto"
    compile: bool = False
    patience: int = 10

    @property
    def preprocessing(self) -> Preprocessing:
        """How images are prepared for this training."""
        return Preprocessing(size=self.size, channels=self.channels)

    def resolved(self) -> Self:
        """With every hyper-parameter of the backend spelled out.

        Raises:
            BackendError: see `registry.create_backend`.
            SettingsError: see `registry.create_backend`.
        """
        backend = create_backend(self.backend, **self.hyperparameters)
        return replace(self, hyperparameters=hyperparameters_of(backend))

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """From what `to_json` gave, in this version or an earlier one."""
        return cls(**(EARLIER | value))
