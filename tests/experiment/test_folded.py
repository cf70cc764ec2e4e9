"""Folds, limits and another site's images in a whole benchmark."""

from __future__ import annotations

import csv
import json
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

import braingan
from braingan import LeakageError, SettingsError
from braingan.data.folds import Folds
from braingan.experiment.cells import claimed
from braingan.experiment.result import RESULT

Options = dict[str, Any]
Handed = list[set[str]]
Hashes = Callable[[Path, list[dict[str, str]]], set[str]]
WriteData = Callable[..., Path]


def files_of(splits: dict[str, Any], fold: int, *parts: str) -> list[dict[str, str]]:
    return [splits["files"][place] for part in parts for place in splits["folds"][fold][part]]


def test_each_generator_is_handed_the_training_part_of_its_fold_less_what_limits_leave_out(
    data: Path, tmp_path: Path, single: Options, spy: Handed, hashes_of: Hashes
) -> None:
    options = single | {"arms": ["combined"], "folds": 2, "limit": {"tumor": 4}, "backend": "spy"}
    splits = braingan.benchmark(data, tmp_path / "out", **options).splits
    assert len(spy) == len(splits["folds"]) == 2
    for fold, handed in enumerate(spy):
        train = files_of(splits, fold, "train")
        assert sum(file["label"] == "tumor" for file in train) == 4
        assert handed == hashes_of(data, train)
        assert not handed & hashes_of(data, files_of(splits, fold, "val", "test", "left_out"))
        assert len(files_of(splits, fold, "train", "val", "test", "left_out")) == 40


def test_folds_repeats_and_limits_are_as_asked(study: Any) -> None:
    folds = Folds.from_json(study.result.splits).folds
    assert len(folds) == study.result.folds == 4
    for fold in folds:
        parts = [{file.group for file in own} for own in (fold.split.train, fold.split.val, fold.split.test)]
        assert sum(map(len, parts)) == len(set.union(*parts)) == 10
        assert [file.label for file in fold.split.train].count("tumor") == 5
        assert {file.label for file in fold.left_out} == {"tumor"}
        assert {file.group for file in fold.left_out} <= parts[0]
        for part, patients in zip((fold.split.val, fold.split.test), parts[1:], strict=True):
            assert len(part) == 4 * len(patients)  # whole, whatever the limits say
    for repeat in (folds[:2], folds[2:]):
        assert len({file.file for fold in repeat for file in fold.split.test}) == 40
    assert {file.group for file in folds[0].split.test} not in [
        {file.group for file in fold.split.test} for fold in folds[2:]
    ]
    seen = {run["arm"]: run["n_real"] for run in study.result.runs if run["fold"] == 0}
    assert seen["oracle-same-patients"] == len(folds[0].split.train) + len(folds[0].left_out) > seen["real"]
    assert seen["real"] == len(folds[0].split.train)


def test_repeats_begin_with_other_weights_as_they_count_as_independent_runs(study: Any) -> None:
    of_fold = [study.out / "generators" / f"fold{fold}-seed0" / "config.json" for fold in range(4)]
    seeds = [json.loads(config.read_text())["settings"]["seed"] for config in of_fold]
    assert seeds[0] == seeds[1] == 0
    assert seeds[2] == seeds[3] > 1_000
    assert {run["seed"] for run in study.result.runs} == {0, 1}


def test_classifiers_of_repeats_begin_with_other_weights_too(
    data: Path, tmp_path: Path, single: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "telling_models.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef tiny(num_classes, in_chans):\n"
        "    with open('seeds.txt', 'a') as file:\n        file.write(f'{torch.initial_seed()}\\n')\n"
        "    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64 * in_chans, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    own = {"arms": ["real"], "folds": 2, "repeats": 2, "model": "telling_models:tiny"}
    braingan.benchmark(data, tmp_path / "out", **single | own)
    seeds = [int(line) for line in (tmp_path / "seeds.txt").read_text().split()][-4:]  # the first one was for the check
    assert seeds[0] == seeds[1] == 0
    assert seeds[2] == seeds[3] == 100_003


def test_all_arms_take_as_many_steps_and_all_ratios_share_the_images_of_the_folds_generator(study: Any) -> None:
    assert {sum(map(sum, run["seen"].values())) for run in study.result.runs} == {4 * 32}
    assert [(entry["fold"], entry["seed"]) for entry in study.result.generators] == [(fold, 0) for fold in range(4)]
    assert len({entry["sha256"] for entry in study.result.generators}) == 4
    for run in study.result.runs:
        share = float(run["arm"].partition("@")[2] or run["arm"] == "shuffled")
        train = [file["label"] for file in files_of(study.result.splits, run["fold"], "train")]
        assert run["n_synthetic"] == sum(int(share * train.count(name) + 0.5) for name in study.result.classes)
    manifest = study.out / "synthetic" / "fold0-seed0" / "manifest.jsonl"
    drawn = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert len(drawn) == len(files_of(study.result.splits, 0, "train"))  # of the largest ratio, once for all arms


def test_a_limited_benchmark_is_repeated_with_what_its_limits_left_out(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    options = real_only | {"arms": ["real", "oracle-same-patients"], "limit": {"tumor": 4, "no_tumor": 5}}
    few = braingan.benchmark(data, tmp_path / "few", **options)
    assert {run["arm"]: run["n_real"] for run in few.runs} == {"real": 9, "oracle-same-patients": 24}
    assert [len(few.split[part]) for part in ("val", "test")] == [8, 8]
    again = braingan.benchmark(data, tmp_path / "again", config=tmp_path / "few" / "result.json")
    assert again.splits == few.splits
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in few.runs]


def test_a_benchmark_with_folds_is_repeated_from_its_result(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(study.out.parent)  # where its model lies
    again = braingan.benchmark(
        study.data, tmp_path / "again", config=study.out / "result.json", external=study.external
    )
    assert again.splits == study.result.splits
    assert (tmp_path / "again" / "predictions.csv").read_bytes() == (study.out / "predictions.csv").read_bytes()
    assert again.comparisons == study.result.comparisons
    assert again.choice == study.result.choice


def test_folds_given_back_are_used(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_only: Options
) -> None:
    monkeypatch.chdir(study.out.parent)
    options = real_only | {"model": study.result.settings["model"], "classifier_steps": 4, "folds": 2, "repeats": 2}
    again = braingan.benchmark(study.data, tmp_path / "out", **options, split=study.out / "split.json")
    assert again.splits == study.result.splits
    assert again.scores == [own for own in study.result.scores if own["arm"] == "real" and own["seed"] == 0]


def test_a_generator_is_for_one_fold(data: Path, tmp_path: Path, single: Options, tiny: Options) -> None:
    braingan.train(data, tmp_path / "run", **tiny)
    with pytest.raises(SettingsError, match=r"--generator and more than one fold were both asked; .*--folds") as caught:
        braingan.benchmark(data, tmp_path / "out", **single, folds=2, generator=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "cells").exists()


def test_a_report_does_not_come_between_a_benchmark_that_ends_and_its_files(study: Any, tmp_path: Path) -> None:
    out = shutil.copytree(study.out, tmp_path / "out")
    (out / "table.md").unlink()
    report = threading.Thread(target=braingan.report, args=(out,))
    with claimed(out, RESULT, wait=True):  # as a benchmark does while it writes
        report.start()
        report.join(timeout=1)
        assert report.is_alive()
        assert not (out / "table.md").exists()
    report.join(timeout=120)
    assert (out / "table.md").exists()


# --- another site's images ----------------------------------------------------------------------------------------


def test_every_classifier_is_scored_on_the_other_sites_images(study: Any) -> None:
    rows, result = study.rows("external.csv"), study.result
    assert list(rows[0]) == list(study.rows()[0])
    files = {path.relative_to(study.external).as_posix() for path in study.external.rglob("*.png")}
    assert len(files) == 8
    seen = [(row["arm"], row["fold"], row["seed"], row["file"]) for row in rows]
    assert len(set(seen)) == len(seen) == len(result.runs) * 8
    assert {row["file"] for row in rows} == files
    assert {row["patient"] for row in rows} == {"elsewhere-P00", "elsewhere-P01"}
    assert not {row["file"] for row in rows} & {file["group"] for file in result.splits["files"]}
    assert (result.external["images"], result.external["patients"]) == (8, 2)
    for arm, own in result.external["summary"].items():
        scores = []
        for fold in range(4):
            for seed in range(2):
                mine = [row for row in rows if (row["arm"], row["fold"], row["seed"]) == (arm, str(fold), str(seed))]
                said = [max(result.classes, key=lambda name, row=row: float(row[f"p_{name}"])) for row in mine]
                scores.append(f1_score([row["target"] for row in mine], said, average="macro", zero_division=0))
        assert own["f1"]["mean"] == pytest.approx(np.mean(scores))
    assert result.settings["external"] == "elsewhere"
    assert result.units == {"training": "patient", "test": "patient", "external": "patient"}


def test_sensitivity_at_a_specificity_takes_its_threshold_from_validation_images(study: Any) -> None:
    result, rows = study.result, study.rows()
    healthy, positive = result.classes.index("no_tumor"), result.classes.index("tumor")
    assert result.settings["positive"] == "tumor"
    own = next(each for each in result.scores if (each["arm"], each["repeat"], each["seed"]) == ("real", 1, 0))
    for least, found in own["at_specificity"].items():
        sick = well = hits = passed = 0
        for fold, threshold in found["thresholds"].items():
            cell = study.cells()[f"real-fold{fold}-seed0"]
            targets = [file["label"] for file in _files(result, int(fold), "val")]
            said = [row[positive] for row in cell["predictions"]["val"]]
            negatives = [p for p, target in zip(said, targets, strict=True) if target == result.classes[healthy]]
            assert np.mean(np.array(negatives) <= threshold) >= float(least)
            mine = [row for row in rows if (row["arm"], row["fold"], row["seed"]) == ("real", fold, "0")]
            for row in mine:
                above = float(row["p_tumor"]) > threshold
                sick, hits = sick + (row["target"] == "tumor"), hits + (row["target"] == "tumor" and above)
                well, passed = well + (row["target"] != "tumor"), passed + (row["target"] != "tumor" and not above)
        assert found["sensitivity"] == pytest.approx(hits / sick)
        assert found["specificity"] == pytest.approx(passed / well)


def _files(result: braingan.BenchmarkResult, fold: int, part: str) -> list[dict[str, Any]]:
    return [result.splits["files"][place] for place in result.splits["folds"][fold][part]]


def test_predictions_of_the_other_site_can_be_compared(study: Any) -> None:
    path = study.out / "external.csv"
    found = braingan.compare_files(path, path, arm_a="real", arm_b="combined@1", resamples=50).comparison
    own = next(each for each in study.result.external["comparisons"] if each["arm"] == "combined@1")
    assert found.difference == pytest.approx(own["difference"])
    assert list(found.runs) == own["runs"] == [4, 4]  # each fold trained anew


def test_of_another_site_nothing_is_declared_even_without_a_primary_contrast(
    data: Path, tmp_path: Path, single: Options, write_data: WriteData
) -> None:
    external = write_data("elsewhere", patients=3, seed=9, metadata=False)
    options = single | {"arms": ["real", "synthetic"], "external": external}
    found = braingan.benchmark(data, tmp_path / "out", **options).external
    assert {own["family"] for own in found["comparisons"]} == {"exploratory"}
    assert found["unit"] == "file"
    rows = csv.DictReader((tmp_path / "out" / "external.csv").read_text().splitlines())
    assert {row["patient"] for row in rows} == {""}


def test_no_generator_is_handed_the_other_sites_images(
    data: Path, tmp_path: Path, single: Options, write_data: WriteData, spy: Handed, hashes_of: Hashes
) -> None:
    external = write_data("elsewhere", patients=3, seed=9)
    options = single | {"arms": ["combined"], "backend": "spy", "external": external}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    assert spy == [hashes_of(data, result.split["train"])]
    assert (tmp_path / "out" / "external.csv").exists()


def disguised(source: Path, path: Path) -> Path:
    """The same picture under another name and mirrored."""
    with Image.open(source) as image:
        image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(path)
    return path


def test_the_other_sites_images_may_show_no_picture_of_the_data(
    heads: Path, tmp_path: Path, real_only: Options
) -> None:
    external = tmp_path / "elsewhere"
    braingan.phantom(tmp_path / "drawn", patients=4, slices=2, size=128, seed=13)
    for label in ("no_tumor", "tumor"):
        shutil.copytree(tmp_path / "drawn" / label, external / label)
    disguised(next((heads / "tumor").glob("*.png")), external / "tumor" / "new.png")
    with pytest.raises(LeakageError, match=r"leak: 1 of \d+ external images \(tumor/new\.png\) are also in") as caught:
        braingan.benchmark(heads, tmp_path / "out", **real_only, external=external)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "cells").exists()
    allowed = braingan.benchmark(heads, tmp_path / "out", **real_only, external=external, allow_leakage=True)
    assert [line.partition(" (")[0].endswith("external images") for line in allowed.leakage] == [True]


def test_the_other_sites_images_may_be_of_no_patient_of_the_data(
    data: Path, tmp_path: Path, real_only: Options, write_data: WriteData
) -> None:
    external = write_data("elsewhere", patients=3, seed=9)
    rows = list(csv.reader((external / "metadata.csv").read_text().splitlines()))
    for row in rows[1:5]:
        row[2] = "data-P07"
    with (external / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    which = r"leak: 4 of 12 external images are of patients of the data folder, by their ids; .*\(data-P07\)"
    with pytest.raises(
        LeakageError, match=rf"{which}; or, if two sites only number alike, put the site before its ids"
    ):
        braingan.benchmark(data, tmp_path / "out", **real_only, external=external)
    with pytest.raises(LeakageError, match=r"leak: \d+ of \d+ external images"):
        braingan.benchmark(data, tmp_path / "itself", **real_only, external=shutil.copytree(data, tmp_path / "copy"))


def test_a_result_with_another_site_is_repeated_with_it(study: Any, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="was made with --external elsewhere; repeat it with --external elsewhere"):
        braingan.benchmark(study.data, tmp_path / "again", config=study.out / "result.json")
