"""Everything that a benchmark was told, besides the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self

from braingan.augmentation.counts import synthetic_counts
from braingan.data.limits import Limits
from braingan.data.sampling import check_share
from braingan.engine.precision import check_precision
from braingan.errors import OutputError, SettingsError
from braingan.evaluation.classifier import LEARNING_RATE, ClassifierSettings
from braingan.experiment.arms import Arm, arms_named
from braingan.generation.protocol import ClassSampling, check_seed
from braingan.generation.settings import TrainingSettings

OF_TRAINING = (
    "backend", "hyperparameters", "size", "channels", "steps", "batch_size", "class_sampling", "precision", "patience",
)  # fmt: skip
# What versions did that did not yet note it.
EARLIER: dict[str, Any] = {
    "precision": "float32", "classifier_precision": "float32", "patience": 0, "share": None, "positive": None,
    "arms": ["real", "synthetic", "combined"], "classifier_learning_rate": LEARNING_RATE,
}  # fmt: skip
OPTIONAL = {  # their kinds where they are not None
    "weights": (str,), "positive": (str,), "share": (int, float), "train_patients": (int,),
}  # fmt: skip

LISTS = ("ratio", "arms", "curve")

QUICK = ("real", "real+classic", "synthetic", "combined", "combined+classic", "shuffled")
ALL = (
    "real", "natural", "real+classic", "real+mixup", "synthetic", "combined", "combined+classic", "pretrain+finetune",
    "shuffled", "duplicates",
)  # fmt: skip
# `standard` has to end within three hours on two slow cores, which is 10 classifiers for each fold and seed.
CONTROLLED = tuple(name for name in ALL if name not in ("natural", "pretrain+finetune"))
TWO_RATIOS = (0.5, 2.0)
MANY_RATIOS = (0.25, 0.5, 1.0, 2.0)
PRESETS: dict[str, dict[str, Any]] = {
    "quick": {"folds": 1, "repeats": 1, "generators": 3, "seeds": 3, "ratio": (1.0,), "arms": QUICK},
    "standard": {"folds": 5, "repeats": 1, "generators": 1, "seeds": 3, "ratio": TWO_RATIOS, "arms": CONTROLLED},
    "thorough": {"folds": 5, "repeats": 2, "generators": 2, "seeds": 4, "ratio": MANY_RATIOS, "arms": ALL},
}


DEFAULT_PRESET = "quick"
REPEATED = 100_003  # between the seeds of one repeat and of the next


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
    ratio: tuple[float, ...] = (1.0,)
    arms: tuple[str, ...] = QUICK
    folds: int = 1
    repeats: int = 1
    generators: int = 1
    seeds: int = 3
    model: str = "resnet10t"
    weights: str | None = None
    pretrained: bool = False
    classifier_steps: int = 300
    classifier_batch_size: int = 32
    classifier_learning_rate: float = LEARNING_RATE
    split_seed: int = 0
    limit: Mapping[str, int] = field(default_factory=dict)
    limit_patients: Mapping[str, int] = field(default_factory=dict)
    train_patients: int | None = None
    curve: tuple[float, ...] = ()
    margin: float = 0.02
    device: str = "auto"
    skip_bad: bool = False
    group_duplicates: bool = True
    drop_leaking: bool = False
    allow_leakage: bool = False
    precision: str = "auto"
    classifier_precision: str = "auto"
    patience: int = 10
    share: float | None = None
    positive: str | None = None

    def __post_init__(self) -> None:
        for name in ("folds", "repeats", "generators", "seeds"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{getattr(self, name)} {name} were asked; 1 or more work")
        if self.generators > self.seeds:
            raise SettingsError(
                f"{self.generators} generators and {self.seeds} seeds were asked; each generator needs a classifier "
                "of its own, so as many seeds or more work"
            )
        check_seed(self.split_seed)
        check_precision(self.precision)
        check_precision(self.classifier_precision)
        if not self.ratio or len(set(self.ratio)) < len(self.ratio):
            raise SettingsError(f"ratios {_listed(self.ratio) or 'none'} were asked; one or more different ones work")
        for ratio in self.ratio:
            synthetic_counts((), ratio)  # refuses a ratio that cannot be
        if self.share is not None:
            check_share(self.share)
        if not 0 < self.margin < 1:
            raise SettingsError(f"margin {self.margin} was asked; above 0 and below 1 works, such as 0.02 for 2 points")
        self.limits.check_numbers()
        if self.folds == 1 and self.repeats > 1:
            raise SettingsError(
                f"1 fold and {self.repeats} repeats were asked; repeats of one split test other patients each time: "
                "ask for 2 or more folds"
            )
        if len(set(self.curve)) < len(self.curve):
            raise SettingsError(f"a curve of {_listed(self.curve)} was asked; different parts work")
        wrong = [part for part in self.curve if not 0 < part < 1]
        if wrong:
            raise SettingsError(
                f"a curve with {wrong[0]:g} of the training patients was asked; above 0 and below 1 works, such as 0.5"
            )
        if self.curve and not self.curve_arm:
            raise SettingsError("a curve was asked without the arms real+classic and real; one of them works")

    @property
    def limits(self) -> Limits:
        """What the training part may keep."""
        return Limits(self.limit, self.limit_patients, self.train_patients)

    @property
    def curve_arm(self) -> str | None:
        """The arm whose learning curve is drawn; None where there is none."""
        return next((name for name in ("real+classic", "real") if name in self.arms), None)

    def registered_arms(self) -> dict[str, Arm]:
        """The arms by name.

        Raises:
            SettingsError: a name is unknown or given twice.
        """
        return arms_named(self.arms)

    def generators_of(self, arm: str) -> int:
        """How many generators of a fold serve an arm; 1 also where it uses no synthetic images."""
        return self.generators if self.registered_arms()[arm].uses_synthetic else 1

    def seed_in(self, fold: int, seed: int) -> int:
        """What a seed is in a fold, by its number over all repeats: the same in all folds of a repeat, and in no other.

        Runs of several repeats count as independent ones, and would not be with the same first weights.
        """
        return seed + REPEATED * (fold // self.folds)

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
            learning_rate=self.classifier_learning_rate,
        )

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self) | {name: list(getattr(self, name)) for name in LISTS}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """From what `to_json` gave, in this version or an earlier one.

        Raises:
            OutputError: a setting that this version does not know.
        """
        value = EARLIER | dict(value)
        if isinstance(value.get("ratio"), (int, float)):  # there was one, and a generator for each seed
            value |= {"ratio": [value["ratio"]], "generators": value.get("seeds", 1)}
        default = cls().to_json()
        for name, given in value.items():
            kind = type(default.get(name))
            accepted = (*OPTIONAL[name], kind) if name in OPTIONAL else (int, float) if kind is float else kind
            entries = given if name in LISTS and isinstance(given, list) else []
            kinds = str if name == "arms" else (int, float)
            fits = isinstance(given, accepted) and all(isinstance(entry, kinds) for entry in entries)
            if name not in default or not fits:
                raise OutputError(f"{name}={given!r} is no setting of this version's benchmark")
        return cls(**value | {name: tuple(value[name]) for name in LISTS if name in value})


def preset_named(name: str, **given: Any) -> dict[str, Any]:
    """The settings of a preset, less those that were given: what is None was not.

    >>> preset_named("quick", seeds=2)["generators"]  # each generator needs a classifier of its own
    2

    Raises:
        SettingsError: there is no such preset.
    """
    if name not in PRESETS:
        raise SettingsError(f"preset {name!r} was asked; {', '.join(PRESETS)} work")
    chosen = PRESETS[name] | {key: value for key, value in given.items() if value is not None}
    if given.get("generators") is None:
        chosen["generators"] = max(1, min(chosen["generators"], chosen["seeds"]))
    return chosen


def numbers_of(given: float | str | Sequence[float | str], option: str) -> tuple[float, ...]:
    """Read `0.25,0.5`, a number, or a list of either.

    >>> numbers_of("0.25, 1", "ratio"), numbers_of(1, "ratio"), numbers_of([0.5, 2], "ratio")
    ((0.25, 1.0), (1.0,), (0.5, 2.0))

    Raises:
        SettingsError: one of them is no number.
    """
    entries = [given] if isinstance(given, (int, float, str)) else list(given)
    words = [word for entry in entries for word in (entry.split(",") if isinstance(entry, str) else [entry])]
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise SettingsError(f"--{option} {given} was asked; numbers with commas work, such as 0.25,0.5,1") from error


def names_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Read `real,combined`, or a list of such.

    >>> names_of("real, combined"), names_of(["real", "synthetic,combined"])
    (('real', 'combined'), ('real', 'synthetic', 'combined'))
    """
    entries = [given] if isinstance(given, str) else given
    return tuple(word.strip() for entry in entries for word in entry.split(",") if word.strip())


def counts_of(given: Mapping[str, Any] | None, option: str) -> dict[str, int]:
    """Class -> whole number.

    >>> counts_of({"tumor": "60"}, "limit")
    {'tumor': 60}

    Raises:
        SettingsError: a value is no whole number.
    """
    try:
        counts = {name: int(value) for name, value in (given or {}).items()}
        if any(float(value) != counts[name] for name, value in (given or {}).items()):
            raise ValueError("not whole")
        return counts
    except (ValueError, TypeError) as error:
        named = ",".join(f"{name}={value}" for name, value in (given or {}).items())
        raise SettingsError(f"--{option} {named} was asked; CLASS=NUMBER works, such as tumor=60") from error


def _listed(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def option_of(name: str) -> str:
    """The option of a setting on the command line."""
    return f"--{name.replace('_', '-')}"


FIELDS = tuple(own.name for own in fields(BenchmarkSettings))
