"""Facts about the arms of a result: what they were trained on, how they scored, what they cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from braingan.experiment.curve import PATIENTS
from braingan.experiment.result import BenchmarkResult, mean_and_std
from braingan.reporting.facts import (
    UNKNOWN,
    images_text,
    runs_of,
    score_text,
    scored,
    scores_of,
    summary,
)
from braingan.reporting.predicted import REAL

CLASSIC, ORACLE = "real+classic", "oracle-same-patients"
Value = Callable[[Mapping[str, Any]], float | None]


def _at_specificity(least: str, name: str) -> Value:
    return lambda own: (own.get("at_specificity") or {}).get(least, {}).get(name)


DECIDED: dict[str, Value] = {
    "precision": lambda own: own["macro"]["precision"],
    "recall": lambda own: own["macro"]["recall"],
    "F1": lambda own: own["macro"]["f1"],
    "accuracy": lambda own: own["accuracy"],
}
RANKED: dict[str, Value] = {
    "AUROC": lambda own: own.get("auroc"),
    "average precision": lambda own: own.get("average_precision"),
    "sensitivity at 0.90": _at_specificity("0.90", "sensitivity"),
    "specificity reached, 0.90": _at_specificity("0.90", "specificity"),
    "sensitivity at 0.95": _at_specificity("0.95", "sensitivity"),
    "specificity reached, 0.95": _at_specificity("0.95", "specificity"),
    "Brier": lambda own: own.get("brier"),
    "calibration error": lambda own: own.get("calibration_error"),
}
BESIDE = {"specificity reached, 0.90", "specificity reached, 0.95"}  # they explain the number before them
THRESHOLD: dict[str, Value] = {
    "macro F1, chosen threshold": lambda own: (own.get("at_threshold") or {}).get("macro", {}).get("f1"),
}
LUCK = {  # sources of spread: see `split_variance`
    "split": "Split", "generator": "Generator", "classifier": "Classifier", "training": "Generator and classifier",
}  # fmt: skip


@dataclass(frozen=True)
class Cost:
    """What the runs of an arm took.

    Attributes:
        arm: its name.
        generators: how many trainings of a generator its synthetic images come from.
        generator_seconds: of these; other arms may use the same.
        classifier_seconds: of all its classifiers.
        gain: macro F1 minus that of `real`; None for `real` itself, or without it.
        low: lower end of the interval of the gain; None where there is none.
        high: its upper end.
    """

    arm: str
    generators: int
    generator_seconds: float
    classifier_seconds: float
    gain: float | None
    low: float | None = None
    high: float | None = None

    @property
    def seconds_per_point(self) -> float | None:
        """Of generators and classifiers, for each point of F1 above `real`; None where nothing was gained."""
        if self.gain is None or self.gain <= 0:
            return None
        return (self.generator_seconds + self.classifier_seconds) / (100 * self.gain)

    @property
    def may_be_chance(self) -> bool:
        """Whether the interval of the gain contains 0, or is not known."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


def measured(result: BenchmarkResult, arm: str, wanted: Mapping[str, Value]) -> list[str]:
    """Mean and standard deviation of some measures over the runs of an arm; of `BESIDE` the mean alone."""
    own = scores_of(result, arm)
    found = {name: mean_and_std(value(entry) for entry in own) for name, value in wanted.items()}
    return [score_text(score | ({"std": None} if name in BESIDE else {})) for name, score in found.items()]


def ranked(result: BenchmarkResult) -> dict[str, Value]:
    """Those of `RANKED` that the result has: of more than two classes, nothing at a specificity."""
    return {name: value for name, value in RANKED.items() if any(value(own) is not None for own in scored(result))}


def has_rankings(result: BenchmarkResult) -> bool:
    """Whether the result has measures of probabilities; those of before there were folds have none."""
    return any("auroc" in entry for entry in result.scores)


def has_thresholds(result: BenchmarkResult) -> bool:
    """Whether thresholds were chosen on validation images: of two classes only."""
    return any(entry.get("at_threshold") for entry in result.scores)


def seen_text(result: BenchmarkResult, arm: str) -> tuple[str, str]:
    """How often a classifier of an arm saw each real image on average, and the share of real ones in what it saw."""
    runs = [run for run in runs_of(result, arm) if run.get("seen")]
    if not runs:
        return UNKNOWN, UNKNOWN
    real = np.mean([sum(run["seen"]["real"]) for run in runs])
    synthetic = np.mean([sum(run["seen"]["synthetic"]) for run in runs])
    images = np.mean([run["n_real"] for run in runs])
    return f"{real / images:.1f}" if images else "0", f"{real / max(real + synthetic, 1):.0%}"


def arm_rows(result: BenchmarkResult) -> list[tuple[str, ...]]:
    """Arm, real images, synthetic images, how often each real image was seen, share of real ones in what was seen."""
    return [
        (arm, images_text(result, arm, "n_real"), images_text(result, arm, "n_synthetic"), *seen_text(result, arm))
        for arm in summary(result)
    ]


def costs(result: BenchmarkResult) -> list[Cost]:
    """What each arm took and gained."""
    scores, found = summary(result), []
    against = {own["arm"]: own for own in result.comparisons if own.get("family") == "declared"}
    trained = {(own.get("fold", 0), own["seed"]): own["seconds"] or 0.0 for own in result.generators}
    base = scores.get(REAL, {}).get("f1", {}).get("mean")
    for arm, own in scores.items():
        runs = runs_of(result, arm)
        used = {_generator_of(run, trained) for run in runs if run["n_synthetic"]}
        gain = None if base is None or arm == REAL else own["f1"]["mean"] - base
        compared = against.get(arm, {})
        found.append(
            Cost(
                arm, len(used), sum(trained.get(at, 0.0) for at in used), sum(run["seconds"] for run in runs), gain,
                compared.get("low"), compared.get("high"),
            )
        )  # fmt: skip
    return found


def _generator_of(run: Mapping[str, Any], trained: Mapping[tuple[int, int], float]) -> tuple[int, int]:
    """Which training a run's images come from; before there were folds: one for each seed, or the given one."""
    seed = run.get("generator")
    at = (run.get("fold", 0), run["seed"] if seed is None else seed)
    return next(iter(trained)) if at not in trained and len(trained) == 1 else at


def gap(result: BenchmarkResult) -> dict[str, float] | None:
    """Share of the gap between `real` and `oracle-same-patients` that each arm closes, in macro F1.

    Returns:
        None where that arm or any other was not run; empty where the gap is smaller than the margin, as parts of next
        to nothing say nothing.
    """
    f1 = {arm: own["f1"]["mean"] for arm, own in summary(result).items()}
    others = [arm for arm in f1 if arm not in {REAL, ORACLE} and not arm.endswith(PATIENTS)]
    if REAL not in f1 or ORACLE not in f1 or not others:
        return None
    whole = f1[ORACLE] - f1[REAL]
    if whole < result.settings.get("margin", 0.0) or whole <= 0:
        return {}
    return {arm: (f1[arm] - f1[REAL]) / whole for arm in others}


def sources_of_luck(result: BenchmarkResult) -> dict[str, str]:
    """What makes scores differ, as far as this result shows it: key in `variance` -> head of a column."""
    found = result.variance.values()
    return {name: head for name, head in LUCK.items() if any(own.get(name) is not None for own in found)}


def ratio_of(result: BenchmarkResult, arm: str) -> float:
    """Synthetic images for each real one; 0 where it is not known."""
    return next((float(run.get("ratio") or 0) for run in runs_of(result, arm)), 0.0)
