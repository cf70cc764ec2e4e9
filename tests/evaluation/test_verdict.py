"""Verdicts: Holm against closed testing, power against the noncentral t, words against what is known of a study."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy import stats

from braingan.errors import SettingsError
from braingan.evaluation.comparison import Comparison, compare
from braingan.evaluation.verdict import holm, judge, patients_needed, smallest_difference

KNOWN = Comparison(
    difference=0.01,
    low=-0.02,
    high=0.04,
    p_value=0.5,
    metric="macro_f1",
    confidence=0.95,
    value_a=0.8,
    value_b=0.81,
    standard_error=0.015,
    degrees_of_freedom=50.0,
    patients=60,
    images=1800,
    runs=(3, 3),
    covers_runs=True,
)


def study(patients: int, gain: float, runs: int = 3, metric: str = "macro_f1", seed: int = 0) -> Comparison:
    """Two classifiers right in 80 % and 80 % + gain of the images of patients who differ in how easy they are."""
    random = np.random.default_rng(seed)
    groups = np.repeat(np.arange(patients), 20)
    targets = random.integers(2, size=len(groups))
    ease = 0.05 * random.standard_normal(patients)[groups]
    found = []
    for right in (0.8, 0.8 + gain):
        own = np.where(random.random((runs, len(groups))) < right + ease, targets, 1 - targets)
        found.append(np.stack([1 - own, own], axis=2) * 0.6 + 0.2)  # probabilities of 0.8 and 0.2
    return compare(targets, found[0], found[1], groups, metric=metric, resamples=300)


def test_holm_is_what_its_closed_test_says() -> None:
    random = np.random.default_rng(0)
    for count in range(1, 7):
        p_values = (random.random(count) * random.choice([0.1, 1.0], size=count)).round(3).tolist()
        closed = [  # Bonferroni's p of the worst set of comparisons that this one belongs to
            max(
                min(1.0, len(chosen) * min(p_values[other] for other in chosen))
                for size in range(1, count + 1)
                for chosen in itertools.combinations(range(count), size)
                if one in chosen
            )
            for one in range(count)
        ]
        assert holm(p_values) == pytest.approx(closed)


def test_holm_keeps_the_order_that_was_given() -> None:
    assert holm([0.04, 0.005, 0.03]) == pytest.approx([0.06, 0.015, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


@pytest.mark.parametrize("freedom", [4.0, 12.0, 60.0])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_the_smallest_difference_shows_with_the_power_that_was_asked(freedom: float, power: float) -> None:
    known = replace(KNOWN, degrees_of_freedom=freedom)
    shift = smallest_difference(known, power=power) / known.standard_error
    assert stats.nct.sf(stats.t.ppf(0.975, freedom), freedom, shift) == pytest.approx(power, abs=0.012)


def test_a_true_difference_of_that_size_is_found_as_often_as_promised() -> None:
    sizes = [smallest_difference(study(30, 0.0, seed=seed)) for seed in range(20)]
    found = [study(30, float(np.mean(sizes)), seed=seed).p_value < 0.05 for seed in range(100, 200)]
    assert 68 <= sum(found) <= 93  # 80 of 100; macro-F1 and accuracy gain nearly the same here


def test_the_smallest_difference_does_not_depend_on_the_difference_that_was_found() -> None:
    elsewhere = replace(KNOWN, difference=0.3, low=0.27, high=0.33, p_value=1e-6)
    assert smallest_difference(elsewhere) == smallest_difference(KNOWN)


def test_more_power_or_a_smaller_alpha_need_a_larger_difference() -> None:
    assert smallest_difference(KNOWN, power=0.9) > smallest_difference(KNOWN) > smallest_difference(KNOWN, power=0.5)
    assert smallest_difference(KNOWN, alpha=0.01) > smallest_difference(KNOWN)
    assert smallest_difference(KNOWN, power=0.5) == pytest.approx(stats.t.ppf(0.975, 50) * 0.015)


def test_a_spread_that_is_unknown_makes_no_difference_sure_to_show() -> None:
    alone = study(40, 0.0, runs=1)
    same = replace(KNOWN, standard_error=0.0, difference=0.0, low=0.0, high=0.0, p_value=1.0)
    wide = replace(KNOWN, standard_error=0.4)
    assert [smallest_difference(one) for one in (alone, same, wide)] == [1.0, 1.0, 1.0]
    assert [patients_needed(one, 0.05) for one in (alone, same)] == [None, None]
    assert judge(same).verdict == "under-powered"
    assert patients_needed(wide, 0.5) == 314  # from the uncapped 1.143: 60 * (1.143 / 0.5)^2


def test_patients_needed_go_with_the_square_of_the_margin() -> None:
    smallest = smallest_difference(KNOWN)
    assert patients_needed(KNOWN, smallest * 1.0001) == 60
    assert patients_needed(KNOWN, smallest / 2) == pytest.approx(240, abs=1)
    assert patients_needed(KNOWN, smallest / 9.99) == pytest.approx(60 * 99.8, abs=2)
    assert patients_needed(KNOWN, smallest / 10.1) is None  # more than 100 times as many
    assert patients_needed(KNOWN, 0.9) == 2


def test_as_many_patients_as_needed_make_the_margin_show() -> None:
    few = [patients_needed(study(15, 0.0, seed=seed), 0.03) for seed in range(15)]
    needed = int(np.median([count for count in few if count]))
    found = [study(needed, 0.03, seed=seed).p_value < 0.05 for seed in range(50, 80)]
    assert sum(found) >= 18  # 80 % of 30 would be 24


@pytest.mark.parametrize(
    ("patients", "gain", "margin", "verdict"),
    [
        (100, 0.1, 0.02, "helps"),
        (100, -0.1, 0.02, "hurts"),
        (8, 0.01, 0.02, "under-powered"),
        (100, 0.0, 0.1, "no evidence"),
        (100, 0.0, 0.001, "under-powered"),
    ],
)
@pytest.mark.parametrize("metric", ["macro_f1", "brier"])
def test_the_verdict_is_what_is_known_of_the_study(
    patients: int, gain: float, margin: float, verdict: str, metric: str
) -> None:
    assert judge(study(patients, gain, metric=metric), margin=margin).verdict == verdict


def test_of_brier_a_negative_difference_helps() -> None:
    found = study(100, 0.1, metric="brier")
    judgement = judge(found)
    assert found.high < 0
    assert judgement.verdict == "helps"
    assert f"b is {-100 * found.difference:.1f} points better than a" in judgement.reason
    assert f"{-100 * found.high:.1f} points better to {-100 * found.low:.1f} points better" in judgement.reason
    assert judge(replace(found, metric="accuracy")).verdict == "hurts"


@pytest.mark.parametrize("runs", [1, 2])
@pytest.mark.parametrize("gain", [0.15, -0.15])
def test_nothing_is_called_helping_or_hurting_on_fewer_than_three_runs(runs: int, gain: float) -> None:
    found = study(100, gain, runs=runs)
    judgement = judge(found, margin=0.5)
    assert found.p_value < 0.01
    assert judgement.verdict == "under-powered"
    assert "3 or more seeds of each are needed" in judgement.reason


def test_the_arm_with_fewer_runs_decides_whether_they_are_enough() -> None:
    clear = replace(KNOWN, difference=0.2, low=0.17, high=0.23, p_value=1e-6)
    found = {runs: judge(replace(clear, runs=runs)).verdict for runs in ((3, 3), (5, 2), (1, 9), (3, 8))}
    assert found == {(3, 3): "helps", (5, 2): "under-powered", (1, 9): "under-powered", (3, 8): "helps"}


@pytest.mark.parametrize("found", [study(20, 0.05), study(60, 0.15), study(20, 0.05, runs=1)])
def test_where_no_patients_are_known_none_are_spoken_of(found: Comparison) -> None:
    reason = judge(found, unit="file").reason
    assert f"{found.patients} files, " in reason
    assert "patient" not in reason
    assert reason.replace("file", "patient") == judge(found).reason


def test_what_holds_alone_may_not_hold_among_several() -> None:
    found = replace(KNOWN, difference=0.03, low=0.001, high=0.059, p_value=0.04)
    alone, among = judge(found, margin=0.05), judge(found, margin=0.05, p_corrected=0.08)
    assert (alone.verdict, alone.p_holm) == ("helps", 0.04)
    assert (among.verdict, among.p_holm) == ("no evidence", 0.08)
    assert "p = 0.08 after correction" in among.reason
    assert "Alone it would count" in among.reason
    assert "Alone" not in alone.reason


def test_an_interval_around_nothing_is_no_help_whatever_p_says() -> None:
    narrow = replace(KNOWN, low=-0.001, p_value=0.04, confidence=0.99)
    assert judge(narrow).verdict == "under-powered"


def test_power_is_that_of_the_corrected_test() -> None:
    one, five = judge(KNOWN, margin=0.045), judge(KNOWN, margin=0.045, p_corrected=1.0, comparisons=5)
    assert five.smallest_difference == smallest_difference(KNOWN, alpha=0.01)
    assert five.patients_needed == patients_needed(KNOWN, 0.045, alpha=0.01)
    assert (one.verdict, five.verdict) == ("no evidence", "under-powered")


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.03, 0.09, "does not contain a gain of less than 2 points, equality or a loss."),
        (0.01, 0.09, "does not contain equality or a loss."),
        (0.005, 0.015, "does not contain a gain of 2 points or more, equality or a loss."),
        (-0.01, 0.01, "does not contain a gain of 2 points or more or a loss of 2 points or more."),
        (-0.01, 0.04, "does not contain a loss of 2 points or more."),
        (-0.03, 0.04, "contains losses and gains of 2 points and all between."),
        (-0.04, 0.01, "does not contain a gain of 2 points or more."),
        (-0.09, -0.01, "does not contain a gain or equality."),
        (-0.09, -0.03, "does not contain a gain, equality or a loss of less than 2 points."),
    ],
)
def test_the_paragraph_says_what_the_interval_does_not_contain(low: float, high: float, said: str) -> None:
    found = replace(KNOWN, low=low, high=high, difference=(low + high) / 2)
    assert judge(found).reason.endswith(f"The interval {said}")
    turned = replace(found, metric="brier", low=-high, high=-low, difference=-found.difference)
    assert judge(turned).reason.endswith(f"The interval {said}")


def test_the_paragraph_gives_the_numbers_and_names() -> None:
    reason = judge(KNOWN, names=("real only", "combined")).reason
    assert reason.startswith(
        "By macro-F1, combined is 1 point better than real only (95 % interval: 2 points worse to 4 points better; "
        "p = 0.5; 60 patients, 3 and 3 training runs;"
    )
    assert "would show in 80 of 100 such studies is 4.3 points" in reason
    assert "For the margin of 2 points it would take about 280 patients" in reason
    assert "\n" not in reason


def test_the_paragraph_says_when_patients_are_enough_too_few_or_unknown() -> None:
    assert "These patients are enough for the margin of 5 points" in judge(KNOWN, margin=0.05).reason
    assert "more than 6000 patients" in judge(KNOWN, margin=0.001).reason
    reason = judge(study(40, 0.0, runs=1)).reason
    assert "cannot be told" in reason
    assert reason.endswith("it holds for these trained classifiers only.")
    same = judge(replace(KNOWN, standard_error=0.0, difference=0.0, low=0.0, high=0.0, p_value=1.0)).reason
    assert "Every patient shows the same difference" in same


def test_a_judgement_is_json() -> None:
    judgement = judge(study(40, 0.0))
    assert json.loads(json.dumps(judgement.to_json())) == judgement.to_json()
    assert list(judgement.to_json()) == [
        "verdict", "p_holm", "smallest_difference", "patients_needed", "margin", "reason",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "settings"),
    [
        (r"margin 0 was asked; more than 0 and less than 1", {"margin": 0}),
        (r"margin 2 was asked; .* 0.02 are two points", {"margin": 2}),
        (r"margin nan was asked", {"margin": float("nan")}),
        (r"power 80 was asked; more than 0.05 and less than 1", {"power": 80}),
        (r"power 0.01 was asked", {"power": 0.01}),
        (r"p-value 1.2 was given; from 0 to 1", {"p_corrected": 1.2}),
        (r"p-value nan was given", {"p_corrected": float("nan")}),
        (r"p_corrected 0.1 was given and the p-value is 0.5; one that is not smaller", {"p_corrected": 0.1}),
        (r"0 comparisons were corrected for; 1 or more work", {"comparisons": 0}),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(message: str, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        judge(KNOWN, **settings)
    assert "\n" not in str(caught.value)


def test_parts_that_cannot_work_are_refused_too() -> None:
    with pytest.raises(SettingsError, match=r"p-value -0\.1 was given"):
        holm([0.5, -0.1])
    with pytest.raises(SettingsError, match="alpha 0 was asked; more than 0"):
        smallest_difference(KNOWN, alpha=0)
    with pytest.raises(SettingsError, match=r"margin -0\.02 was asked"):
        patients_needed(KNOWN, -0.02)
