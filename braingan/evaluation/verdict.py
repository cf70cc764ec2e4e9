"""A comparison -> helps, hurts, under-powered or no evidence, with the reason in words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from scipy import stats

from braingan.errors import SettingsError
from braingan.evaluation.comparison import TINY, Comparison

Verdict = Literal["helps", "hurts", "under-powered", "no evidence"]

ALPHA = 0.05  # of all comparisons together, where p-values are corrected
FEWEST_RUNS = 3  # of a and of b: the spread of two runs is one number, and says next to nothing
FARTHEST = 100  # times as many patients as there are: beyond this, extrapolating is guessing
UNSEEN = 1.0  # the largest difference that there is, where none would be sure to show
ROUNDING = 1e-9  # by which a corrected p-value may lie below the plain one


@dataclass(frozen=True)
class Judgement:
    """What a comparison says, and what it cannot say.

    Attributes:
        verdict: *helps* or *hurts*: b is better or worse than a. *under-powered*: a difference as large as the margin
            would often be missed, so that nothing follows. *no evidence*: it would have shown, and did not.
        p_holm: the p-value that counts: corrected for several comparisons, or the comparison's own.
        smallest_difference: see `smallest_difference`.
        patients_needed: see `patients_needed`.
        margin: the smallest difference that would matter, above 0 and below 1.
        reason: a paragraph in plain words.
    """

    verdict: Verdict
    p_holm: float
    smallest_difference: float
    patients_needed: int | None
    margin: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for being several, after Holm (1979).

    Whoever calls those below 0.05 differences is wrong about any of them in at most 5 of 100 studies, however the
    comparisons depend on each other.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]

    Args:
        p_values: from 0 to 1, of all the comparisons that were made; any number of them.

    Returns:
        Corrected p-values in the same order, each at least as large as before and at most 1.

    Raises:
        SettingsError: something that is no p-value.

    Source: Holm, Scand. J. Stat. 6, 1979.
    """
    for p_value in p_values:
        _check_p_value(p_value)
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected


def smallest_difference(comparison: Comparison, *, power: float = 0.8, alpha: float = ALPHA) -> float:
    """The smallest true difference that such a study would show with this power: its minimum detectable effect.

    It is `(t(1 - alpha/2) + t(power)) * standard_error` with the comparison's degrees of freedom (Bloom 1995). It
    depends on the patients, the runs and their spread, and not on the difference that was found: that is what
    separates it from "observed power", which says no more than the p-value (Hoenig & Heisey 2001). Against the
    noncentral t distribution it is 2 % too small at 3 degrees of freedom, and 5 % at 2. The standard error is
    itself an estimate: with ten patients it is easily wrong by a quarter.

    It is about one comparison. Where several are corrected for, divide alpha by their number.

    Args:
        comparison: of any two classifiers.
        power: share of studies that would show it, above alpha and below 1.
        alpha: of the two-sided test, between 0 and 1.

    Returns:
        Above 0 and at most 1, in units of the measure (0.02 are two points). 1.0 stands for "no difference would be
        sure to show" and is also the answer where the spread is unknown: a and b have one run each, so that the luck
        of training is not in the standard error; or every patient shows the same difference.

    Raises:
        SettingsError: a power or alpha that cannot be.

    Sources: Bloom, Evaluation Review 19, 1995; Hoenig & Heisey, Am. Stat. 55, 2001.
    """
    return min(UNSEEN, _detectable(comparison, power, alpha))


def patients_needed(comparison: Comparison, margin: float, *, power: float = 0.8, alpha: float = ALPHA) -> int | None:
    """About how many patients like these would show a true difference of `margin` with this power.

    The standard error falls with the square root of the number of patients, so it is
    `patients * (smallest difference / margin)^2`, where the smallest difference is not capped at 1. For few patients
    this errs on the high side, because t quantiles also fall. Where training runs differ by luck it errs on the low
    side, because more patients do not make runs alike: then more runs are needed as well.

    Args:
        comparison: of any two classifiers.
        margin: the difference that should show, above 0 and below 1.
        power: share of studies that would show it, above alpha and below 1.
        alpha: of the two-sided test, between 0 and 1.

    Returns:
        2 or more; fewer than there are, if they were more than enough. None where a number would be a guess: more than
        100 times as many as there are, or the spread is unknown (see `smallest_difference`).

    Raises:
        SettingsError: a margin, power or alpha that cannot be.
    """
    _check_margin(margin)
    times = (_detectable(comparison, power, alpha) / margin) ** 2
    return max(2, math.ceil(comparison.patients * times)) if times <= FARTHEST else None


def judge(
    comparison: Comparison,
    *,
    p_corrected: float | None = None,
    margin: float = 0.02,
    power: float = 0.8,
    comparisons: int = 1,
    names: tuple[str, str] = ("a", "b"),
    unit: str = "patient",
) -> Judgement:
    """Say what a comparison means, in one of four words and a paragraph.

    Rules, the first that fits:

    1. *under-powered*, if a or b has fewer than 3 training runs: the luck of training is then known badly or not at
       all.
    2. *helps* or *hurts*, if the corrected p-value is below 0.05 and the interval lies beyond 0. It says that there is
       a difference, not that it is as large as the margin.
    3. *under-powered*, if the smallest difference that would show is larger than the margin.
    4. *no evidence*: a difference of the margin would have shown in `power` of such studies. It is no proof of
       equality; the paragraph says which differences the interval does not contain.

    Of `brier`, smaller is better, so a negative difference helps.

    Args:
        comparison: b against a.
        p_corrected: its p-value, corrected for all comparisons that were made (`holm`). Without it, the comparison's
            own, as if it were the only one.
        margin: the smallest difference that would matter, above 0 and below 1: 0.02 are two points.
        power: share of studies that should show a difference of the margin, above 0.05 and below 1.
        comparisons: how many were corrected for; the power is then that of a test at 0.05 / comparisons, which is what
            Holm's correction asks of the first of them.
        names: of a and of b, for the paragraph.
        unit: what was resampled, in the singular, for the paragraph: "file" where no patients are known.

    Raises:
        SettingsError: a margin, power, corrected p-value or number of comparisons that cannot be.
    """
    _check_margin(margin)
    p_value = comparison.p_value if p_corrected is None else p_corrected
    _check_p_value(p_value)
    if p_value < comparison.p_value - ROUNDING:
        raise SettingsError(
            f"p_corrected {p_value:.3g} was given and the p-value is {comparison.p_value:.3g}; one that is not smaller "
            "works, such as Holm's"
        )
    if comparisons < 1:
        raise SettingsError(f"{comparisons} comparisons were corrected for; 1 or more work")
    alpha = ALPHA / comparisons
    smallest = smallest_difference(comparison, power=power, alpha=alpha)
    verdict = _verdict(comparison, p_value, smallest, margin)
    needed = patients_needed(comparison, margin, power=power, alpha=alpha)
    found = _found(comparison, p_value, names, unit)
    meaning = _meaning(comparison, verdict, p_value, names, unit)
    design = _design(comparison, smallest, needed, margin, power, unit)
    excluded = _excluded(comparison, margin, unit)
    return Judgement(verdict, p_value, smallest, needed, margin, f"{found} {meaning} {design} {excluded}")


def _detectable(comparison: Comparison, power: float, alpha: float) -> float:
    """As `smallest_difference`, but not capped; infinite where the spread is unknown."""
    if not 0 < alpha < 1:
        raise SettingsError(f"alpha {alpha} was asked; more than 0 and less than 1 works, and 0.05 is usual")
    if not alpha < power < 1:
        raise SettingsError(f"power {power} was asked; more than {alpha} and less than 1 works, and 0.8 is usual")
    if not comparison.covers_runs or comparison.standard_error < TINY:
        return math.inf
    freedom = comparison.degrees_of_freedom
    quantiles = float(stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(power, freedom))
    return quantiles * comparison.standard_error


def _gains(comparison: Comparison) -> tuple[float, float, float]:
    """Difference, lower and upper end, so that more is better."""
    if comparison.metric == "brier":
        return -comparison.difference, -comparison.high, -comparison.low
    return comparison.difference, comparison.low, comparison.high


def _verdict(comparison: Comparison, p_value: float, smallest: float, margin: float) -> Verdict:
    _, low, high = _gains(comparison)
    if min(comparison.runs) < FEWEST_RUNS:
        return "under-powered"
    if p_value < ALPHA and low > 0:
        return "helps"
    if p_value < ALPHA and high < 0:
        return "hurts"
    return "under-powered" if smallest > margin else "no evidence"


def _found(comparison: Comparison, p_value: float, names: tuple[str, str], unit: str) -> str:
    a, b = names
    gain, low, high = _gains(comparison)
    runs = " and ".join(map(str, comparison.runs))
    corrected = " after correction" if p_value > comparison.p_value + ROUNDING else ""
    return (
        f"By {_readable(comparison.metric)}, {b} is {_better(gain)} than {a} ({100 * comparison.confidence:g} % "
        f"interval: {_better(low)} to {_better(high)}; p = {p_value:.2g}{corrected}; {comparison.patients} {unit}s, "
        f"{runs} training runs; a point is a hundredth of the measure)."
    )


def _readable(metric: str) -> str:
    """A measure as people write it.

    >>> _readable("macro_f1"), _readable("auroc"), _readable("f1:2")
    ('macro-F1', 'AUROC', 'F1 of class 2')
    """
    kind, _, argument = metric.partition(":")
    known = {"macro_f1": "macro-F1", "f1": "F1", "auroc": "AUROC", "brier": "the Brier score"}
    name = known.get(kind, kind.replace("_", " "))
    if kind == "recall_at_specificity":
        return f"recall at a specificity of {argument}"
    return f"{name} of class {argument}" if argument else name


def _meaning(comparison: Comparison, verdict: Verdict, p_value: float, names: tuple[str, str], unit: str) -> str:
    a, b = names
    if min(comparison.runs) < FEWEST_RUNS:
        return (
            f"Under-powered: another training run gives another classifier, and fewer than {FEWEST_RUNS} runs cannot "
            f"tell how different; {FEWEST_RUNS} or more seeds of each are needed, and as many generators where a fold "
            "has several, before anything can be called helping or hurting."
        )
    if verdict in ("helps", "hurts"):
        better = "better" if verdict == "helps" else "worse"
        luck = f"a lucky choice of {unit}s and of training runs"
        return f"{verdict.capitalize()}: {b} is {better} than {a} on {unit}s like these; {luck} hardly explains it."
    one = ""
    if comparison.p_value < ALPHA <= p_value:
        one = " Alone it would count as a difference; among so many comparisons it does not."
    if verdict == "under-powered":
        return (
            "Under-powered: this study would often miss a difference large enough to matter, so that it says little "
            f"about whether there is one.{one}"
        )
    return (
        "No evidence: no difference was found, in a study that would probably have shown one large enough to matter."
        f"{one}"
    )


def _design(comparison: Comparison, smallest: float, needed: int | None, margin: float, power: float, unit: str) -> str:
    often = f"{100 * power:g} of 100 such studies"
    if smallest >= UNSEEN:
        shown = f"How large a true difference must be to show in {often} cannot be told from these runs and {unit}s."
    else:
        shown = f"The smallest true difference that would show in {often} is {_points(smallest)}."
    if needed is None and smallest < UNSEEN:
        return (
            f"{shown} For the margin of {_points(margin)} it would take more than {FARTHEST * comparison.patients} "
            f"{unit}s, too many for a guess from these."
        )
    if needed is None:
        return f"{shown} Nor can it be told how many {unit}s the margin of {_points(margin)} would take."
    if needed <= comparison.patients:
        return f"{shown} These {unit}s are enough for the margin of {_points(margin)}."
    return (
        f"{shown} For the margin of {_points(margin)} it would take about {_about(needed)} {unit}s of the same kind, "
        "and more training runs where these differ by luck."
    )


def _excluded(comparison: Comparison, margin: float, unit: str) -> str:
    """What the interval does not contain."""
    if comparison.standard_error < TINY:
        return f"Every {unit} shows the same difference, so the interval says nothing about {unit}s that would not."
    _, low, high = _gains(comparison)
    size = _points(margin)
    out = []
    if high < margin:
        out.append("a gain" if high <= 0 else f"a gain of {size} or more")
    elif low >= margin:
        out.append(f"a gain of less than {size}")
    if not low <= 0 <= high:
        out.append("equality")
    if low > -margin:
        out.append("a loss" if low >= 0 else f"a loss of {size} or more")
    elif high <= -margin:
        out.append(f"a loss of less than {size}")
    limits = "" if comparison.covers_runs else "; it holds for these trained classifiers only"
    found = f"does not contain {_list(out)}" if out else f"contains losses and gains of {size} and all between"
    return f"The interval {found}{limits}."


def _list(parts: list[str]) -> str:
    return " or ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _points(value: float) -> str:
    number = f"{100 * value:.1f}".removesuffix(".0")
    return f"{number} point" + ("" if number == "1" else "s")


def _better(gain: float) -> str:
    """As words that go before "than"."""
    return f"{_points(abs(gain))} {'worse' if gain < 0 else 'better'}"


def _about(count: int) -> int:
    """Two digits: more would pretend to know."""
    return round(count, 2 - len(str(count))) if count > 99 else count


def _check_margin(margin: float) -> None:
    if not 0 < margin < 1:
        raise SettingsError(f"margin {margin} was asked; more than 0 and less than 1 works, and 0.02 are two points")


def _check_p_value(p_value: float) -> None:
    if not 0 <= p_value <= 1:
        raise SettingsError(f"p-value {p_value} was given; from 0 to 1 works")
