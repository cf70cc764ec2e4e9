"""Which arms are compared, declared before anything is run: one primary contrast, a family, and what is exploratory."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from braingan.errors import BrainganError
from braingan.evaluation.comparison import Comparison, compare
from braingan.evaluation.scores import score
from braingan.evaluation.verdict import FEWEST_RUNS, holm, judge
from braingan.experiment.arms import Arm
from braingan.experiment.pooling import Pooled, ScoredImages, chosen
from braingan.experiment.result import AUGMENTED, BASELINE
from braingan.experiment.settings import ALL, BenchmarkSettings

log = logging.getLogger("braingan")

METRIC = "macro_f1"
EXPLORED = ("auroc", "balanced_accuracy")  # measures in which the primary contrast is looked at as well
IN_WORDS = {AUGMENTED: "training with synthetic images", BASELINE: "the best training without them"}
EXPLORATORY = "Looked at, not declared: it may suggest another study, and proves nothing."
ONE_TRAINING = "All synthetic images come from one generator: whether another training of it does the same is unknown."
PREFERRED = ("combined+classic", "combined")  # the augmented arm of the primary contrast: the first that was run


@dataclass(frozen=True)
class Choice:
    """What was chosen on validation patients, inside each fold.

    Attributes:
        arm: the augmented arm whose ratio was chosen.
        baseline: the best arm without synthetic images, for each fold.
        augmented: the best ratio of the augmented arm, for each fold, as the label of that arm.
        scores: label -> mean macro-F1 on the validation images of each fold.
        counterpart: the arm without synthetic images that sees its training set as `arm` does: `real+classic` of
            `combined+classic`. None where it was not run.
    """

    arm: str
    baseline: list[str]
    augmented: list[str]
    scores: dict[str, list[float]]
    counterpart: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self)

    @property
    def images_alone(self) -> str | None:
        """What to compare with to see what the images did, without the recipe; None where another contrast says it.

        The primary one does where that baseline was best in every fold, and the declared family of `real`.
        """
        return None if self.counterpart == "real" or set(self.baseline) == {self.counterpart} else self.counterpart


def choose(
    labels: Mapping[str, tuple[str, float]],
    arms: Mapping[str, Arm],
    pooled: Mapping[str, Pooled],
    targets: Mapping[int, np.ndarray],
) -> Choice | None:
    """Choose the best arm without synthetic images and the best ratio with them, on validation images of each fold.

    Args:
        labels: label -> arm and ratio.
        arms: by name.
        pooled: by label.
        targets: fold -> labels of its validation images.

    Returns:
        None where there is nothing to compare: no arm with, or none without synthetic images, or no validation images.
    """
    baselines = sorted(
        (label for label, (arm, _) in labels.items() if arms[arm].role == "baseline"),
        key=lambda label: (ALL.index(label) if label in ALL else len(ALL), label),  # not the order of --arms
    )
    families = {arm for arm, _ in labels.values() if arms[arm].role == "augmented"}
    if not baselines or not families or not all(len(own) for own in targets.values()):
        return None
    family = next((name for name in PREFERRED if name in families), min(families))
    augmented = _by_ratio(labels, family)
    scores = {label: [_mean_f1(pooled[label].validation[fold], targets[fold]) for fold in sorted(targets)]
              for label in (*baselines, *augmented)}  # fmt: skip
    counterpart = next((label for label in baselines if arms[labels[label][0]].recipe == arms[family].recipe), None)
    return Choice(family, _best(baselines, scores), _best(augmented, scores), scores, counterpart)


def no_verdict(settings: BenchmarkSettings) -> list[str]:
    """Why a benchmark cannot say *helps* or *hurts*, whatever it finds; to be said before it is run."""
    arms = settings.registered_arms()
    roles, asked = {arm.role for arm in arms.values()}, ", ".join(arms)
    if "baseline" not in roles:
        return [f"no arm of {asked} is real images alone, so that there will be no verdict; add real"]
    if "augmented" not in roles:
        return [
            f"no arm of {asked} is real and synthetic images together, so that there will be no verdict; "
            f"add {PREFERRED[0]}"
        ]
    # Seeds that share one of several generators are one run.
    generators = max(settings.generators_of(name) for name, arm in arms.items() if arm.role == "augmented")
    runs = settings.repeats * (generators if generators > 1 else settings.seeds)
    if runs >= FEWEST_RUNS:
        return []
    also = "" if generators == 1 else f" with --generators 1, or with {FEWEST_RUNS} or more,"
    return [
        f"the verdict will be under-powered: it takes {FEWEST_RUNS} training runs, and there will be {runs}; "
        f"--seeds {FEWEST_RUNS} or more{also} would do"
    ]


def _by_ratio(labels: Mapping[str, tuple[str, float]], arm: str) -> list[str]:
    """The labels of an arm, the smallest ratio first: it is taken where others are no better."""
    return sorted((label for label, (name, _) in labels.items() if name == arm), key=lambda label: labels[label][1])


def _best(names: Sequence[str], scores: Mapping[str, Sequence[float]]) -> list[str]:
    """The best of some arms in each fold; of equally good ones, the first."""
    rows = np.array([scores[name] for name in names])  # (arms, folds)
    return [names[place] for place in rows.argmax(axis=0).tolist()]


def _mean_f1(probabilities: np.ndarray, targets: np.ndarray) -> float:
    """Mean over the seeds of a fold: probabilities (seeds, V, C)."""
    return float(np.mean([score(targets, own).macro()["f1"] for own in probabilities]))


def compare_arms(
    labels: Mapping[str, tuple[str, float]],
    pooled: Mapping[str, Pooled],
    tested: ScoredImages,
    choice: Choice | None,
    *,
    margin: float,
    seed: int = 0,
    pair: tuple[Pooled, Pooled] | None = None,
    declared: bool = True,
    unit: str = "patient",
    one_generator: bool = False,
) -> tuple[list[dict[str, Any]], list[str]]:
    """All comparisons of a benchmark, the primary one first.

    Args:
        labels: label -> arm and ratio.
        pooled: by label.
        tested: the images.
        choice: what the primary contrast compares; None where there is none.
        margin: the smallest difference that matters.
        seed: of the resamples.
        pair: what was chosen, of predictions for other images than those that the primary contrast is about.
        declared: whether the comparisons with `real` were declared; else they are exploratory.
        unit: what a group of images is, in words.
        one_generator: whether all classifiers learned from images of a single one.

    Returns:
        The comparisons as JSON-able dictionaries (see `docs/benchmark.md`), and why some could not be made.
    """
    found: list[dict[str, Any]] = []
    failed: list[str] = []

    def between(a: Pooled, b: Pooled, metric: str) -> Comparison | None:
        folds = a.folds if len(tested.folds) > 1 or len(np.unique(tested.folds)) > 1 else None
        try:
            return compare(tested.targets, a.probabilities, b.probabilities, tested.patients, metric=metric,
                           folds=folds, batches=(a.apart, b.apart), seed=seed)  # fmt: skip
        except BrainganError as error:
            failed.append(f"No comparison in {metric}: {error}.")
            return None

    if choice:
        a, b = chosen(pooled, choice.baseline), chosen(pooled, choice.augmented)
        for metric in (METRIC, *EXPLORED):
            family = "primary" if metric == METRIC else "exploratory"
            found += _judged([((AUGMENTED, BASELINE), between(a, b, metric))], family, margin, unit)
            if metric == METRIC and choice.images_alone:
                alone = between(pooled[choice.images_alone], b, metric)
                found += _judged([((AUGMENTED, choice.images_alone), alone)], "exploratory", margin, unit)
    if pair:
        found += _judged([((AUGMENTED, BASELINE), between(*pair, METRIC))], "exploratory", margin, unit)
    others = [label for label in labels if label != "real"] if "real" in labels else []
    family_of = [((label, "real"), between(pooled["real"], pooled[label], METRIC)) for label in others]
    found += _judged(family_of, "declared" if declared else "exploratory", margin, unit)
    for own in found if one_generator else []:
        if own["verdict"] in ("helps", "hurts") and (own["primary"] or labels[own["arm"]][1]):
            own["reason"] += f" {ONE_TRAINING}"
    return found, list(dict.fromkeys(failed))


def _judged(
    pairs: Sequence[tuple[tuple[str, str], Comparison | None]], family: str, margin: float, unit: str
) -> list[dict[str, Any]]:
    """Comparisons with their verdicts; those of a family are corrected for each other."""
    made = [(names, comparison) for names, comparison in pairs if comparison is not None]
    corrected = holm([comparison.p_value for _, comparison in made])
    judged = []
    for (names, comparison), p_value in zip(made, corrected, strict=True):
        told = IN_WORDS.get(names[1], names[1]), IN_WORDS.get(names[0], names[0])
        judgement = judge(comparison, p_corrected=p_value, margin=margin, comparisons=len(made), names=told,
                          unit=unit)  # fmt: skip
        exploratory = family == "exploratory"
        judged.append(
            {"arm": names[0], "baseline": names[1], "family": family, "primary": family == "primary"}
            | comparison.to_json()
            | judgement.to_json()
            | ({"verdict": "exploratory", "p_holm": None, "reason": EXPLORATORY} if exploratory else {})
        )
    return judged


def recommended_ratio(
    labels: Mapping[str, tuple[str, float]], choice: Choice | None, comparisons: Sequence[Mapping[str, Any]]
) -> float | None:
    """The ratio to use where synthetic images help, else 0: of those that the verdict is about, the best on validation.

    Returns:
        None where there was no primary contrast.
    """
    primary = next((own for own in comparisons if own["primary"]), None)
    if choice is None or primary is None:
        return None
    if primary["verdict"] != "helps":
        return 0.0
    tested = [label for label in _by_ratio(labels, choice.arm) if label in choice.augmented]
    return labels[max(tested, key=lambda label: float(np.mean(choice.scores[label])))][1]
