"""Everything that a benchmark was told, besides the images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from braingan.augmentation.counts import synthetic_counts
from braingan.data.sampling import check_share
from braingan.engine.precision import check_precision
from braingan.errors import OutputError, SettingsError
from braingan.evaluation.classifier import ClassifierSettings
from braingan.generation.protocol import ClassSampling, check_seed
from braingan.generation.settings import TrainingSettings

OF_TRAINING = (
    "backend", "hyperparameters", "size", "channels", "steps", "batch_size", "class_sampling", "precision", "patience",
)  # fmt: skip
# What versions did that did not yet note it.
EARLIER: dict[str, Any] = {
    "precision": "float32", "classifier_precision": "float32", "patience": 0, "share": None,
}  # fmt: skip
OPTIONAL = {"weights": (str,), "share": (int, float)}  # of what kind they are where they are not None


@dataclass(frozen=True)
class BenchmarkSettings:
    """The options of `braingan benchmark` that decide its numbers; `docs` describe each.

    With the data and the split, these are enough to run it again.
    """

    backend: str = "dcgan"
    hyperparameters: Mapping[str, Any] = field(default_factory=dict)
    size: int = 64
    channels: int = 1
    steps: int = 1000
    batch_size: int = 64
    class_sampling: ClassSampling = "balanced"
    ratio: float = 1.0
    model: str = "resnet10t"
    weights: str | None = None
    pretrained: bool = False
    classifier_steps: int = 300
    classifier_batch_size: int = 32
    seeds: int = 3
    split_seed: int = 0
    device: str = "auto"
    skip_bad: bool = False
    group_duplicates: bool = True
    drop_leaking: bool = False
    allow_leakage: bool = False
    precision: str = "auto"
    classifier_precision: str = "auto"
    patience: int = 10
    share: float | None = None

    def __post_init__(self) -> None:
        if self.seeds < 1:
            raise SettingsError(f"{self.seeds} seeds were asked; 1 or more work")
        check_seed(self.split_seed)
        check_precision(self.precision)
        check_precision(self.classifier_precision)
        synthetic_counts((), self.ratio)  # refuses a ratio that cannot be
        if self.share is not None:
            check_share(self.share)

    def training(self, seed: int) -> TrainingSettings:
        """How the generator of a seed is trained."""
        return TrainingSettings(seed=seed, **{name: getattr(self, name) for name in (*OF_TRAINING, "device")})

    @property
    def classifier(self) -> ClassifierSettings:
        """How every classifier is trained."""
        return ClassifierSettings(
            model=self.model,
            weights=self.weights,
            pretrained=self.pretrained,
            steps=self.classifier_steps,
            batch_size=self.classifier_batch_size,
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_json` gave, in this version or an earlier one.

        Raises:
            OutputError: a setting that this version does not know.
        """
        value = EARLIER | dict(value)
        default = cls().to_json()
        for name, given in value.items():
            kind = type(default.get(name))
            accepted = (*OPTIONAL[name], kind) if name in OPTIONAL else (int, float) if kind is float else kind
            if name not in default or not isinstance(given, accepted):
                raise OutputError(f"{name}={given!r} is no setting of this version's benchmark")
        return cls(**value)
