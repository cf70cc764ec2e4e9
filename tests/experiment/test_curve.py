"""The learning curve, and what synthetic images are worth on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import SettingsError, SplitError
from braingan.data.folds import Fold, Folds
from braingan.data.split import Split, SplitFile
from braingan.experiment.curve import learning_curve

EIGHTY = Folds(
    (Fold(Split(tuple(SplitFile(f"{n}.png", "0", "tumor", f"P{n}") for n in range(80)), (), (), "patient")),)
)


def rising() -> dict[str, Any]:
    """Four points more for every doubling of the patients."""
    return {label: {"f1": {"mean": mean}} for label, mean in
            {"real@25% patients": 0.72, "real@50% patients": 0.76, "real": 0.80}.items()}  # fmt: skip


def test_a_gain_of_one_doubling_is_worth_as_many_patients_as_there_are() -> None:
    primary = {"difference": 0.04, "low": 0.0, "high": 0.08}
    curve = learning_curve("real", (0.25, 0.5), rising(), EIGHTY, primary)
    assert curve is not None
    assert [(point["patients"], point["macro_f1"]) for point in curve["points"]] == [(20, 0.72), (40, 0.76), (80, 0.8)]
    assert curve["per_doubling"] == pytest.approx(0.04)
    assert curve["worth"] == {"patients": 80.0, "low": 0.0, "high": 240.0}


def test_a_loss_is_worth_fewer_patients() -> None:
    curve = learning_curve("real", (0.25, 0.5), rising(), EIGHTY, {"difference": -0.04, "low": -0.08, "high": 0.0})
    assert curve is not None
    assert curve["worth"] == {"patients": -40.0, "low": -60.0, "high": 0.0}


def test_where_more_patients_gain_nothing_or_the_number_would_be_a_guess_there_is_none() -> None:
    falling = {label: {"f1": {"mean": 1 - own["f1"]["mean"]}} for label, own in rising().items()}
    gain = {"difference": 0.04, "low": 0.01, "high": 0.3}
    for means in (falling, rising()):
        curve = learning_curve("real", (0.25, 0.5), means, EIGHTY, gain)
        assert curve is not None
        assert curve["worth"]["high"] is None
    assert learning_curve("real", (0.25, 0.5), falling, EIGHTY, gain)["worth"]["patients"] is None  # type: ignore[index]


def test_a_loss_that_would_leave_next_to_nobody_is_a_guess_too() -> None:
    curve = learning_curve("real", (0.25, 0.5), rising(), EIGHTY, {"difference": -0.01, "low": -0.2, "high": 0.02})
    assert curve is not None
    assert curve["worth"]["low"] is None
    assert curve["worth"]["patients"] == pytest.approx(80 * (2**-0.25 - 1), abs=0.05)


def test_points_stand_where_the_patients_are_that_were_trained_on() -> None:
    few = EIGHTY[0].split.train[:18]
    splits = Folds((Fold(Split(few, (), (), "patient")), Fold(Split(few[:10], (), (), "patient"))))
    curve = learning_curve("real", (0.25, 0.5), rising(), splits, None)
    assert curve is not None
    assert [point["patients"] for point in curve["points"]] == [(4 + 2) / 2, (9 + 5) / 2, (18 + 10) / 2]


def test_without_fractions_there_is_no_curve() -> None:
    assert learning_curve("real", (), rising(), EIGHTY, None) is None


def test_a_benchmark_learns_from_parts_of_the_patients_and_a_smaller_part_is_part_of_a_larger_one(
    data: Path, tmp_path: Path, tiny: dict[str, Any], tiny_model: str
) -> None:
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real", "combined"]}
    result = braingan.benchmark(data, tmp_path / "out", **options, curve="0.5")
    assert result.arms == ["real@50% patients", "real", "combined"]
    half, whole = (next(run for run in result.runs if run["arm"] == arm) for arm in ("real@50% patients", "real"))
    assert (half["n_real"], whole["n_real"]) == (12, 24)
    assert result.curve is not None
    assert [point["patients"] for point in result.curve["points"]] == [3.0, 6.0]
    assert all("patients" not in entry["arm"] for entry in result.comparisons)  # points of a curve are no arms
    assert set(result.choice["baseline"]) == {"real"}  # type: ignore[index]
    more = braingan.benchmark(data, tmp_path / "out", **options, curve="0.5,0.8")
    assert [run["n_real"] for run in more.runs if run["seed"] == 0] == [12, 20, 24, 24]


def test_parts_that_cannot_be_are_refused_before_training(
    data: Path, tmp_path: Path, tiny: dict[str, Any], tiny_model: str
) -> None:
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1}
    with pytest.raises(SettingsError, match=r"a curve with 1 of the training patients was asked; above 0 and below 1"):
        braingan.benchmark(data, tmp_path / "a", **options, curve=1)
    with pytest.raises(SettingsError, match=r"a curve was asked without the arms real\+classic and real"):
        braingan.benchmark(data, tmp_path / "b", **options, curve=0.5, arms=["natural", "combined"])
    with pytest.raises(SettingsError, match=r"--curve half was asked; numbers with commas work"):
        braingan.benchmark(data, tmp_path / "c", **options, curve="half")
    with pytest.raises(SettingsError, match=r"a curve of 0.3, 0.25 was asked, which of 6 training patients are 2, 2: "):
        braingan.benchmark(data, tmp_path / "d", **options, curve="0.3,0.25")
    with pytest.raises(SettingsError, match=r"a curve of 0.95 was asked, which of 6 training patients are 6: parts wi"):
        braingan.benchmark(data, tmp_path / "e", **options, curve=0.95)
    assert not (tmp_path / "a").exists()


def test_a_part_without_one_of_the_classes_is_refused(
    write_data: Any, tmp_path: Path, tiny: dict[str, Any], tiny_model: str
) -> None:
    data = write_data("data", patients=10, slices=1)
    rows = (data / "metadata.csv").read_text().splitlines()
    kept = [row for row in rows if not (",tumor," in row and int(row[-2:]) % 2)]  # half of the patients are healthy
    (data / "metadata.csv").write_text("\n".join(kept) + "\n")
    for number in range(1, 10, 2):
        (data / "tumor" / f"P{number:02d}_tumor_0.png").unlink()
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real", "combined"]}

    def several() -> None:
        for seed in range(8):  # one of these splits begins with a healthy patient
            braingan.benchmark(data, tmp_path / f"out{seed}", **options, curve=0.2, split_seed=seed)

    with pytest.raises(SplitError, match=r"the limits leave no training image of class 'tumor'; a larger one works"):
        several()
