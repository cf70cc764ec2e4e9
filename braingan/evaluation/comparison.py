"""Two classifiers on the same images -> their difference, an interval and a p-value."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from braingan.errors import DataError, SettingsError
from braingan.evaluation.measures import Evaluate, Measure
from braingan.evaluation.predictions import Images, images_of, labels_of, predictions_of

CHUNK = 1_000_000  # numbers in a block of resamples: it should fit into a cache
TRIES = 100  # times as many resamples as asked, before resampling is given up
TINY = 1e-12  # a standard error below this is rounding


@dataclass(frozen=True)
class Comparison:
    """How much better one classifier is than another on the same patients.

    Attributes:
        difference: measure of b minus measure of a; means over training runs.
        low: lower end of the interval, at least -1 (-2 for a Brier score of more than two classes).
        high: upper end of the interval.
        p_value: two-sided, of no difference; below 1 - confidence exactly where the interval excludes 0.
        metric: the measure.
        confidence: of the interval.
        value_a: measure of a on all images; a mean over runs.
        value_b: the same of b.
        standard_error: of the difference.
        degrees_of_freedom: of the t distribution that the interval is made with.
        patients: how many there are.
        images: how many there are.
        runs: training runs of a and of b.
        covers_runs: whether the interval includes that another training run gives another classifier. If not (a and
            b have one run each), it holds for these two trained classifiers and not for the ways they were trained.
    """

    difference: float
    low: float
    high: float
    p_value: float
    metric: str
    confidence: float
    value_a: float
    value_b: float
    standard_error: float
    degrees_of_freedom: float
    patients: int
    images: int
    runs: tuple[int, int]
    covers_runs: bool

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self) | {"runs": list(self.runs)}


def compare(
    targets: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    groups: Sequence[Hashable] | np.ndarray,
    *,
    metric: str = "macro_f1",
    folds: Sequence[Hashable] | np.ndarray | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    r"""Compare two classifiers that predicted the same images.

    >>> targets = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    >>> a = np.array([0, 1, 1, 0, 0, 1, 0, 0])
    >>> b = np.array([0, 1, 0, 1, 0, 1, 0, 0])
    >>> found = compare(targets, a, b, groups=["p1", "p1", "p2", "p2", "p3", "p3", "p4", "p4"], metric="accuracy")
    >>> found.difference, found.low < 0 < found.high, found.covers_runs
    (0.25, True, False)
    """
    measure = Measure.named(metric)
    _check_settings(resamples, seed, confidence)
    truth = labels_of(targets)
    ours, theirs = (predictions_of(name, given, len(truth)) for name, given in (("a", a), ("b", b)))
    images = images_of(truth, ours, theirs, groups, folds)
    _check_measure(measure, images, ours, theirs)
    evaluators = [[measure.of(images, run) for run in runs] for runs in (ours, theirs)]
    every = np.ones((1, images.patients))
    points = [_values(runs, every)[:, 0] for runs in evaluators]
    if np.isnan(np.concatenate(points)).any():
        raise DataError(f"{metric} was asked; no fold has images of two classes, and one with both works")
    blocks = _resamples(measure, images, resamples, seed)
    pairs = [[_values(runs, counts) for runs in evaluators] for counts in blocks]
    drawn = [np.concatenate(values, axis=1) for values in zip(*pairs, strict=True)]
    difference = float(points[1].mean() - points[0].mean())
    error, freedom = _spread(points, drawn, images)
    low, high, p_value = _interval(difference, error, freedom, images.patients, confidence)
    limit = 2.0 if measure.kind == "brier" and images.classes > 2 else 1.0
    return Comparison(
        difference=difference,
        low=max(-limit, low),
        high=min(limit, high),
        p_value=p_value,
        metric=measure.name,
        confidence=confidence,
        value_a=float(points[0].mean()),
        value_b=float(points[1].mean()),
        standard_error=error,
        degrees_of_freedom=freedom,
        patients=images.patients,
        images=len(truth),
        runs=(len(ours), len(theirs)),
        covers_runs=max(len(ours), len(theirs)) > 1,
    )


def _values(runs: list[Evaluate], counts: np.ndarray) -> np.ndarray:
    """(runs, B) values."""
    return np.array([evaluate(counts) for evaluate in runs])


def _spread(points: list[np.ndarray], drawn: list[np.ndarray], images: Images) -> tuple[float, float]:
    """Standard error and degrees of freedom; see `compare`.

    Args:
        points: of a and of b, (R,) values on all images.
        drawn: of a and of b, (R, B) values on resamples.
        images: what was predicted.
    """
    few = images.patients / (images.patients - 1)
    between = few * float(np.nanvar(drawn[1].mean(axis=0) - drawn[0].mean(axis=0), ddof=1))
    terms = [(between, images.patients - 1)]
    total = between
    for own, resampled in zip(points, drawn, strict=True):
        if len(own) > 1:
            spread = float(own.var(ddof=1))
            contrasts = (resampled - resampled.mean(axis=0)) - (own - own.mean())[:, None]
            chance = few * float(np.nanmean((contrasts**2).sum(axis=0))) / (len(own) - 1)
            total += max(0.0, spread - chance) / len(own)
            terms.append((spread / len(own), len(own) - 1))
    below = sum(part**2 / freedom for part, freedom in terms)
    freedom = total**2 / below if below > 0 else images.patients - 1
    return float(np.sqrt(total)), float(freedom)


def _interval(
    difference: float, error: float, freedom: float, patients: int, confidence: float
) -> tuple[float, float, float]:
    if error < TINY:  # every patient shows the same: as likely as so many coins that fall alike
        p_value = 1.0 if abs(difference) < TINY else 2.0 ** (1 - patients)
        known = p_value == 1.0 or p_value < 1 - confidence
        return (difference, difference, p_value) if known else (-2.0, 2.0, p_value)
    reach = float(stats.t.ppf((1 + confidence) / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return difference - reach, difference + reach, p_value


def _resamples(measure: Measure, images: Images, resamples: int, seed: int) -> Iterable[np.ndarray]:
    """Blocks of (B, patients) counts: how often each patient was drawn.

    A resample without any image of a class that the measure needs is drawn anew.
    """
    random = np.random.default_rng(seed)
    patients = images.patients
    needed = measure.required(images.present)
    has = np.zeros((patients, images.classes))
    has[images.units, images.targets] = 1
    size = max(1, CHUNK // max(len(images.targets) if measure.per_fold else 0, patients))
    left, tries = resamples, 0
    while left > 0:
        if tries > TRIES * resamples:
            raise DataError(
                f"metric {measure.name} was asked and hardly any resample of the {patients} patients has all "
                f"{len(needed)} classes; more patients of the rare ones work, or the metric accuracy"
            )
        count = min(size, max(left, 16))
        chosen = random.integers(patients, size=(count, patients)) + patients * np.arange(count)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=count * patients).reshape(count, patients).astype(float)
        tries += count
        counts = counts[(counts @ has[:, needed] > 0).all(axis=1)][:left]
        left -= len(counts)
        if len(counts):
            yield counts


def _check_settings(resamples: int, seed: int, confidence: float) -> None:
    if resamples < 2:
        raise SettingsError(f"{resamples} resamples were asked; 2 or more work, and 10000 are usual")
    if not 0 < confidence < 1:
        raise SettingsError(f"confidence {confidence} was asked; more than 0 and less than 1 works")
    if seed < 0:
        raise SettingsError(f"seed {seed} was asked; 0 or more works")


def _check_measure(measure: Measure, images: Images, a: np.ndarray, b: np.ndarray) -> None:
    if measure.needs_probabilities and (a.ndim == 2 or b.ndim == 2):
        name = "a" if a.ndim == 2 else "b"
        raise SettingsError(f"metric {measure.name} was asked and {name} has classes; probabilities (N, C) work")
    if measure.kind == "recall_at_specificity" and images.classes != 2:
        raise SettingsError(f"metric {measure.name} was asked for {images.classes} classes; 2 classes work, and auroc")
    needed = measure.required(images.present)
    if measure.per_fold and len(needed) < 2:
        raise DataError(f"metric {measure.name} was asked and all images are of one class; 2 classes or more work")
    for label in needed:
        patients = len(set(images.units[images.targets == label].tolist()))
        if patients < 2:
            raise DataError(
                f"metric {measure.name} was asked and {patients} patient has images of class {label}; 2 or more work, "
                "or the metric accuracy"
            )
