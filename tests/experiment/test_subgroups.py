"""Subgroups by columns of the metadata, so that harm to one shows."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np

import braingan
from braingan.data.records import ImageRecord
from braingan.experiment.contrasts import Choice
from braingan.experiment.pooling import Pooled, ScoredImages
from braingan.experiment.subgroups import compare_subgroups, subgroup_columns


def records(patients: str = "PPPP", **columns: list[str]) -> list[ImageRecord]:
    rows = zip(*([(name, text) for text in texts] for name, texts in columns.items()), strict=True)
    return [ImageRecord(Path(f"{n}.png"), f"{n}.png", 0, patients[n], columns=row) for n, row in enumerate(rows)]


def test_columns_with_few_values_make_subgroups_and_measurements_do_not() -> None:
    found = subgroup_columns(
        records(
            site=["A", "B", "A", ""], slice=["1", "2", "3", "4"], contrast=["0", "1", "1", "0"], same=["x"] * 4,
            age=["30.5", "41", "", "-1"],
        )
    )  # fmt: skip
    assert set(found) == {"site", "contrast"}
    assert found["site"] == {"0.png": "A", "1.png": "B", "2.png": "A", "3.png": "unknown"}


def test_sites_may_have_numbers() -> None:
    found = subgroup_columns(
        records(
            "ABCDEFABCDEF", site=list("112233112233"), age=list("445567445567"), slice=list("111111222222"),
            third=list("123123123123"),
        )
    )  # fmt: skip
    assert set(found) == {"site", "slice", "third"}  # two values always make groups
    assert "place" not in subgroup_columns(records("ABABAB", place=list("112233")))


def test_a_column_that_names_patients_makes_no_subgroups() -> None:
    found = subgroup_columns(records("AABBCC", initials=list("aabbcc"), site=list("xxxxyy"), pair=list("kkkkll")))
    assert set(found) == {"site", "pair"}  # x is of A and B


def test_harm_to_one_site_shows_where_the_mean_over_all_hides_it() -> None:
    patients = [f"{site}{n}" for site in "AB" for n in range(10) for _ in range(4)]
    targets = np.tile([0, 1], 40)
    site = {f"{n}.png": patient[0] for n, patient in enumerate(patients)}
    at_b = np.array([patient[0] == "B" for patient in patients])
    right = np.stack([1 - targets, targets], axis=-1) * 0.8 + 0.1
    random = np.random.default_rng(0)

    def said(where: np.ndarray, share: float) -> Pooled:
        wrong = where & (random.random((3, 80)) < share)
        return Pooled(
            np.where(wrong[..., None], 1 - right, right),
            [(0, 0), (0, 1), (0, 2)],
            np.zeros((3, 80), int),
            [(0,), (1,), (2,)],
        )

    tested = ScoredImages(
        [f"{n}.png" for n in range(80)], targets, patients, np.zeros((1, 80), int), np.arange(80)[None]
    )
    pooled = {"real": said(~at_b, 0.5), "combined": said(at_b, 0.5)}
    choice = Choice("combined", ["real"], ["combined"], {})
    a, b = compare_subgroups(tested, pooled, choice, ["no_tumor", "tumor"], {"site": site})
    assert (a["value"], a["images"], a["patients"], b["value"]) == ("A", 40, 10, "B")
    assert a["macro_f1"]["combined"] == b["macro_f1"]["real"] == 1
    assert a["low"] > 0.2
    assert b["high"] < -0.2


def test_a_benchmark_knows_the_columns_of_its_images(
    data: Path, tmp_path: Path, tiny: dict[str, Any], tiny_model: str
) -> None:
    rows = list(csv.DictReader((data / "metadata.csv").read_text().splitlines()))
    with (data / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], "site"])
        writer.writeheader()
        writer.writerows(row | {"site": "north" if int(row["patient"][-1]) % 2 else "south"} for row in rows)
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real", "combined"], "folds": 2}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    assert [(own["column"], own["value"], own["images"], own["patients"]) for own in result.subgroups] == [
        ("site", "north", 20, 5), ("site", "south", 20, 5),
    ]  # fmt: skip
    assert all(set(own["macro_f1"]) == {"real", "combined"} for own in result.subgroups)
