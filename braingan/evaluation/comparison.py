"""Two classifiers on the same images -> their difference, an interval and a p-value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy import stats

from braingan.errors import DataError, SettingsError
from braingan.evaluation.measures import RANKING, Evaluate, Measure
from braingan.evaluation.predictions import Images, images_of, images_of_runs, labels_of, predictions_of

RESAMPLES = 10_000
RARE = ("recall", "macro_recall", "balanced_accuracy", *RANKING)  # they hang on the patients of the rarest class
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
        patients: how many there are; of `recall:CLASS`, also those who have no image of the class and do not count.
        images: how many there are.
        runs: independent training runs of a and of b; those of a batch count as one.
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
    batches: tuple[Sequence[Hashable], Sequence[Hashable]] | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    confidence: float = 0.95,
) -> Comparison:
    """Compare two classifiers on the same images: measure of b minus measure of a.

    Patients are resampled, not images, because the images of a patient resemble each other: each of `resamples`
    times, as many patients as there are are drawn with replacement, the same for a and b, with all their images
    (the cluster bootstrap of Field & Welsh 2007; Obuchowski 1997 on ROC curves of such data. DeLong's test is not
    used, because it takes images to be independent). A resample without any image of a class that the measure needs is
    drawn anew. Where several training runs are given, their measures are averaged, and that another run gives another
    classifier counts, too::

        V  = m / (m - 1) * variance over resamples of (mean of b's runs - mean of a's runs)
           + sum over a and b with R > 1 runs of max(0, S - C) / R  (for batches: times the sum of squared weights)

    with m patients (of `recall:CLASS`, those who have images of that class: it is about no others), S the variance
    between the measures of the runs, and C the share of S that comes from the choice of patients, which the first term
    has already: the variance over resamples of a run's distance to the mean of the runs (Owen 2007 on counting that
    part twice). The interval is difference +/- t * sqrt(V), with degrees of freedom after Satterthwaite (1946): R - 1
    for each S / R and G - 1 for the first term, where G are all patients or, if each class counts alike however few
    have it (`recall:CLASS`, `macro_recall`, `balanced_accuracy`, and the measures of rankings), those of the rarest
    class that counts. Runs of a and of b are not paired, so their numbers may differ: pairs of runs that share a seed
    would narrow the interval only if they had their luck in common, and would halve the degrees of freedom. If one of
    the two has a single run, the runs of the other stand for both. With one run each, the interval cannot contain the
    luck of training: see `covers_runs`.

    If every patient shows the same difference, p is 2^(1-G), as with coins that all fall alike.

    Measures: `macro_f1`, `macro_precision`, `macro_recall`, `balanced_accuracy` (the same as `macro_recall`),
    `accuracy`; `f1:CLASS`, `precision:CLASS`, `recall:CLASS` with the class's label; and, of probabilities only,
    `auroc` and `average_precision` (of class 1 if there are two, else the mean of one class against the rest),
    `recall_at_specificity:VALUE` (two classes: the highest recall of class 1 that any threshold gives with at least
    that specificity; the threshold is chosen on these images, and anew in each resample) and `brier` (mean squared
    distance of the probability of class 1; with more classes, summed over classes; smaller is better, so a
    negative difference favours b). Means over classes are over those that occur in `targets`. What is undefined
    (0/0) counts as 0. Of probabilities, the most probable class counts as predicted.

    >>> targets = np.array([0, 1, 0, 1, 0, 1, 0, 1])
    >>> a = np.array([0, 1, 1, 0, 0, 1, 0, 0])
    >>> b = np.array([0, 1, 0, 1, 0, 1, 0, 0])
    >>> found = compare(targets, a, b, groups=["p1", "p1", "p2", "p2", "p3", "p3", "p4", "p4"], metric="accuracy")
    >>> found.difference, found.low < 0 < found.high, found.covers_runs
    (0.25, True, False)

    Args:
        targets: (N,) labels, integers from 0.
        a: predicted classes, integers (N,) or (runs, N); or probabilities, floats (N, C) or (runs, N, C). Which of them
            is told by the type: integers are classes, floats are probabilities.
        b: the same of the other classifier, for the same images in the same order; it may have another number of runs.
        groups: (N,) patients, 2 or more; any values that can be compared for equality.
        metric: see above.
        folds: (N,) which part of a cross-validation each prediction comes from, or an array (runs, N) where a
            cross-validation was repeated with other folds, and a and b have the same runs. `auroc`,
            `average_precision` and `recall_at_specificity` are then computed in each fold and averaged, because models
            of different folds have different scales; a fold, or a class in it, without positives and negatives is left
            out. Other measures are of all images together.
        batches: for a and for b, (runs,) what runs have in common, such as the generator whose images they learned
            from. Their luck is then no one run's own: runs of a batch are averaged and count as one; a larger batch
            weighs more, so that the difference stays that of the means over all runs. Without it, every run was
            trained independently of the others.
        resamples: 2 or more.
        seed: of the resamples, 0 or more.
        confidence: of the interval, between 0 and 1.

    Raises:
        SettingsError: a measure that there is not, or that needs probabilities; another setting that cannot work.
        DataError: shapes that do not fit, or too few patients; for measures of classes, each class needs images of 2.

    Sources: Efron & Tibshirani, An Introduction to the Bootstrap, 1993; Field & Welsh, J. R. Stat. Soc. B 69, 2007;
    Obuchowski, Biometrics 53, 1997; Owen, Ann. Appl. Stat. 1, 2007; Satterthwaite, Biometrics Bulletin 2, 1946. How
    often it finds a difference where there is none: `docs/compare.md`.
    """
    measure = Measure.named(metric)
    _check_settings(resamples, seed, confidence)
    truth = labels_of(targets)
    ours, theirs = (predictions_of(name, given, len(truth)) for name, given in (("a", a), ("b", b)))
    images = images_of(truth, ours, theirs, groups, folds)
    _check_measure(measure, images, ours, theirs)
    dealt = images_of_runs(images, folds, ours, theirs)
    evaluators = [[measure.of(own, run) for own, run in zip(dealt, runs, strict=False)] for runs in (ours, theirs)]
    every, counted, rarest = np.ones((1, images.patients)), images.patients, images.patients
    if measure.kind in RARE:
        of_class = (images.units[images.targets == label] for label in measure.required(images.present))
        rarest = min(len(np.unique(units)) for units in of_class)
        counted = rarest if measure.kind == "recall" else counted  # it is about no others
    points = [_values(runs, every)[:, 0] for runs in evaluators]
    if np.isnan(np.concatenate(points)).any():
        raise DataError(f"{metric} was asked; no fold has images of two classes, and one with both works")
    blocks = _resamples(measure, images, resamples, seed)
    pairs = [[_values(runs, counts) for runs in evaluators] for counts in blocks]
    drawn = [np.concatenate(values, axis=1) for values in zip(*pairs, strict=True)]
    weights = [np.full(len(own), 1 / len(own)) for own in points]
    if batches is not None:
        weights = [_shares(*own) for own in zip(points, batches, strict=True)]
        points, drawn = ([_batched(*own) for own in zip(values, batches, strict=True)] for values in (points, drawn))
    value_a, value_b = (float(own @ share) for own, share in zip(points, weights, strict=True))
    difference = value_b - value_a
    error, freedom = _spread(points, drawn, weights, counted, rarest - 1)
    low, high, p_value = _interval(difference, error, freedom, rarest, confidence)
    limit = 2.0 if measure.kind == "brier" and images.classes > 2 else 1.0
    return Comparison(
        difference=difference,
        low=max(-limit, low),
        high=min(limit, high),
        p_value=p_value,
        metric=measure.name,
        confidence=confidence,
        value_a=value_a,
        value_b=value_b,
        standard_error=error,
        degrees_of_freedom=freedom,
        patients=images.patients,
        images=len(truth),
        runs=(len(points[0]), len(points[1])),
        covers_runs=max(map(len, points)) > 1,
    )


def _values(runs: list[Evaluate], counts: np.ndarray) -> np.ndarray:
    """(runs, B) values."""
    return np.array([evaluate(counts) for evaluate in runs])


def _shares(values: np.ndarray, batches: Sequence[Hashable]) -> np.ndarray:
    """(batches,) the share of the runs that each has."""
    if len(batches) != len(values):
        raise DataError(f"batches name {len(batches)} runs of {len(values)}; one entry for each run works")
    return np.array(list(Counter(batches).values())) / len(batches)


def _batched(values: np.ndarray, batches: Sequence[Hashable]) -> np.ndarray:
    """Means of the rows of each batch."""
    return np.array([values[[other == own for other in batches]].mean(axis=0) for own in Counter(batches)])


def _spread(
    points: list[np.ndarray], drawn: list[np.ndarray], weights: list[np.ndarray], patients: int, freedom: int
) -> tuple[float, float]:
    """Standard error and degrees of freedom; see `compare`.

    Args:
        points: of a and of b, (R,) values on all images.
        drawn: of a and of b, (R, B) values on resamples.
        weights: of a and of b, (R,) with the sum 1.
        patients: how many the measure is about.
        freedom: degrees of freedom of what they do.
    """
    few = patients / (patients - 1)
    between = few * float(np.nanvar(weights[1] @ drawn[1] - weights[0] @ drawn[0], ddof=1))
    total, terms = between, [(between, freedom)]
    counts = [len(own) for own in points]
    for own, resampled, share_of, other in zip(points, drawn, weights, reversed(counts), strict=True):
        if len(own) > 1:
            share = float(share_of @ share_of) + (other == 1)  # the other's single run varies as these do
            spread = float(own.var(ddof=1))
            contrasts = (resampled - resampled.mean(axis=0)) - (own - own.mean())[:, None]
            chance = few * float(np.nanmean((contrasts**2).sum(axis=0))) / (len(own) - 1)
            total += max(0.0, spread - chance) * share
            terms.append((spread * share, len(own) - 1))
    below = sum(part**2 / own for part, own in terms)
    return float(np.sqrt(total)), float(total**2 / below if below > 0 else freedom)


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
    widest = len(images.targets) if measure.per_fold else images.classes**2  # numbers for each resample
    size = max(1, CHUNK // max(widest, patients))
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
