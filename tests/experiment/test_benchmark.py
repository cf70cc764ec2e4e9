"""The benchmark: nothing held out is learned from, nothing finished is done twice, and it can be repeated."""

from __future__ import annotations

import csv
import html
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.metrics import f1_score, precision_recall_fscore_support

import braingan
from braingan import (
    BenchmarkResult,
    DataError,
    LeakageError,
    OutputError,
    SettingsError,
    Split,
    SplitError,
)
from braingan.evaluation.file_comparison import compare_files
from braingan.reporting.methods import claim_items, methods
from braingan.reporting.table import terminal_table

Options = dict[str, Any]
Handed = list[set[str]]
Hashes = Callable[[Path, list[dict[str, str]]], set[str]]


def test_no_validation_or_test_image_can_reach_a_backend(
    data: Path, tmp_path: Path, quick: Options, spy: Handed, hashes_of: Hashes
) -> None:
    split = braingan.benchmark(data, tmp_path / "out", **(quick | {"backend": "spy"})).split
    assert spy == [hashes_of(data, split["train"])] * 2
    assert not spy[0] & hashes_of(data, [*split["val"], *split["test"]])


def test_a_result_holds_what_its_schema_says(data: Path, tmp_path: Path, quick: Options) -> None:
    out = tmp_path / "out"
    result = braingan.benchmark(data, out, **quick)
    stored = json.loads((out / "result.json").read_text())
    assert stored == result.to_json() == BenchmarkResult.load(out / "result.json").to_json()
    assert [(run["arm"], run["fold"], run["seed"]) for run in stored["runs"]] == [
        (arm, 0, seed) for arm in ("real", "synthetic", "combined") for seed in (0, 1)
    ]
    assert [(run["ratio"], run["generator"]) for run in stored["runs"]] == [
        (0, None), (0, None), (1, 0), (1, 1), (1, 0), (1, 1),
    ]  # fmt: skip
    (fold,) = stored["splits"]["folds"]
    train = len(fold["train"])
    assert [(run["n_real"], run["n_synthetic"]) for run in stored["runs"][::2]] == [
        (train, 0), (0, train), (train, train),
    ]  # fmt: skip
    assert all(sum(map(sum, run["seen"].values())) == 2 * 32 for run in stored["runs"])  # steps x images in a batch
    named = [stored["splits"]["files"][place]["file"] for part in ("train", "val", "test") for place in fold[part]]
    assert [file["file"] for part in ("train", "val", "test") for file in result.split[part]] == named
    assert len(set(named)) == 40
    assert (fold["left_out"], stored["splits"]["grouped_by"]) == ([], "patient")
    assert stored["classes"] == ["no_tumor", "tumor"]
    assert stored["settings"]["data"] == "data"
    assert stored["settings"]["hyperparameters"]["base_channels"] == 4
    assert stored["versions"]["torch"]
    assert stored["notes"] == []
    assert [(entry["fold"], entry["seed"]) for entry in stored["generators"]] == [(0, 0), (0, 1)]
    assert [own["verdict"] for own in stored["comparisons"] if own["primary"]] == ["under-powered"]  # 2 runs
    assert [(own["arm"], own["repeat"], own["seed"]) for own in stored["scores"]] == [
        (arm, 0, seed) for arm in ("real", "synthetic", "combined") for seed in (0, 1)
    ]
    assert abs(sum(stored["intensity"]["real"]) - 1) < 1e-3
    f1 = [run["macro"]["f1"] for run in stored["runs"] if run["arm"] == "real"]
    assert stored["summary"]["real"]["f1"] == {"mean": np.mean(f1), "std": np.std(f1, ddof=1)}
    for name in (
        "report.html",
        "table.md",
        "predictions.csv",
        "split.json",
        "pictures/real.png",
        "pictures/synthetic.png",
    ):
        assert (out / name).stat().st_size > 0, name


def test_scores_can_be_computed_again_from_the_predictions(data: Path, tmp_path: Path, quick: Options) -> None:
    result = braingan.benchmark(data, tmp_path / "out", **quick)
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    named = ["arm", "run", "fold", "seed", "batch", "file", "patient", "target"]
    assert list(rows[0]) == [*named, "p_no_tumor", "p_tumor"]
    assert {row["patient"] for row in rows} == {file["group"] for file in result.split["test"]}
    for run in result.runs:
        own = [row for row in rows if (row["arm"], row["seed"]) == (run["arm"], str(run["seed"]))]
        assert {row["file"] for row in own} == {file["file"] for file in result.split["test"]}
        targets = [row["target"] for row in own]
        predicted = [max(result.classes, key=lambda name, row=row: float(row[f"p_{name}"])) for row in own]
        assert run["macro"]["f1"] == pytest.approx(f1_score(targets, predicted, average="macro"))
        recall = precision_recall_fscore_support(targets, predicted, labels=["tumor"], zero_division=0)[1]
        assert run["per_class"]["tumor"]["recall"] == pytest.approx(recall[0])


def test_a_stopped_benchmark_goes_on_without_redoing_what_is_finished(
    data: Path, tmp_path: Path, quick: Options
) -> None:
    out = tmp_path / "out"
    first = braingan.benchmark(data, out, **quick)
    stamps = {path: path.stat().st_mtime_ns for path in [*out.rglob("cells/*.json"), *out.rglob("model.safetensors")]}
    assert len(stamps) == 6 + 2
    gone = out / "cells" / "combined-ratio1-fold0-seed1.json"
    gone.unlink()
    (out / "result.json").unlink()
    again = braingan.benchmark(data, out, **quick)
    changed = {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert changed == {gone}
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]
    with pytest.raises(OutputError, match=r"for other work \(ratio \[1.0\] there, \[2.0\] asked\)"):
        braingan.benchmark(data, out, **quick, ratio=2)


def test_more_seeds_and_arms_and_another_margin_leave_finished_cells_as_they_are(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    out, options = tmp_path / "out", real_only | {"seeds": 2}
    first = braingan.benchmark(data, out, **options)
    assert first.comparisons == []
    assert first.generators == []
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("cells/*.json")}
    more = braingan.benchmark(data, out, **(options | {"seeds": 3, "arms": ["combined", "real"], "margin": 0.1}))
    assert [(run["arm"], run["seed"]) for run in more.runs] == [
        (arm, seed) for arm in ("combined", "real") for seed in range(3)
    ]
    assert {path.stem for path in stamps} == {"real-fold0-seed0", "real-fold0-seed1"}
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert [run for run in more.runs if run["arm"] == "real"][:2] == first.runs
    assert more.primary is not None
    assert more.primary["margin"] == 0.1


def test_the_quick_preset_trains_a_generator_for_each_of_three_seeds(
    data: Path, tmp_path: Path, quick: Options
) -> None:
    options = {name: value for name, value in quick.items() if name != "generators"} | {"arms": ["real", "combined"]}
    out = tmp_path / "out"
    first = braingan.benchmark(data, out, **(options | {"seeds": 1}))
    assert [own["seed"] for own in first.generators] == [0]
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("cells/*.json")}
    more = braingan.benchmark(data, out, **(options | {"seeds": 4}))
    assert [own["seed"] for own in more.generators] == [0, 1, 2]
    assert [run["generator"] for run in more.runs if run["arm"] == "combined"] == [0, 1, 2, 0]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert any("generators 1, now 3" in note for note in more.notes)


def test_a_result_is_enough_to_run_it_again(data: Path, tmp_path: Path, single: Options) -> None:
    first = braingan.benchmark(data, tmp_path / "a", **single, split_seed=3, ratio=[0.5, 1])  # an int for a float
    again = braingan.benchmark(data, tmp_path / "b", config=tmp_path / "a" / "result.json")
    assert again.splits == first.splits
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]
    assert again.comparisons == first.comparisons
    with pytest.raises(SettingsError, match="--config and --ratio were both asked"):
        braingan.benchmark(data, tmp_path / "c", config=tmp_path / "a" / "result.json", ratio=0.25)
    with pytest.raises(SettingsError, match="--config and --preset were both asked"):
        braingan.benchmark(data, tmp_path / "c", config=tmp_path / "a" / "result.json", preset="quick")
    with pytest.raises(SettingsError, match="--config and --split were both asked"):
        braingan.benchmark(data, tmp_path / "c", config=tmp_path / "a" / "result.json", split=tmp_path / "x.json")
    with pytest.raises(SettingsError, match="was made without --test; repeat it without --test"):
        braingan.benchmark(data, tmp_path / "c", config=tmp_path / "a" / "result.json", test=data)


def test_a_share_decides_what_both_together_are_seen_as_and_is_part_of_the_result(
    data: Path, tmp_path: Path, single: Options
) -> None:
    def predicted(out: Path) -> dict[str, list[list[str]]]:
        rows = list(csv.reader((out / "predictions.csv").read_text().splitlines()))[1:]
        return {arm: [row[1:] for row in rows if row[0] == arm] for arm in ("real", "synthetic", "combined")}

    plain = braingan.benchmark(data, tmp_path / "plain", **single)
    none, half = (braingan.benchmark(data, tmp_path / f"share{share}", **single, share=share)
                  for share in (0, 0.5))  # fmt: skip
    without, real_only, shared = (predicted(tmp_path / name) for name in ("plain", "share0", "share0.5"))
    assert {arm for arm in shared if shared[arm] != without[arm]} == {"combined"}
    assert real_only["combined"] == without["real"] == real_only["real"]
    assert [result.settings["share"] for result in (plain, none, half)] == [None, 0, 0.5]
    braingan.benchmark(data, tmp_path / "again", config=tmp_path / "share0.5" / "result.json")
    assert predicted(tmp_path / "again") == shared
    with pytest.raises(OutputError, match=r"for other work \(share 0.5 there, None asked\)"):
        braingan.benchmark(data, tmp_path / "share0.5", **single)


def test_without_patient_ids_no_verdict_speaks_of_patients(doubled: Path, tmp_path: Path, quick: Options) -> None:
    result = braingan.benchmark(doubled, tmp_path / "out", **quick)
    assert result.primary is not None
    assert f"{result.primary['patients']} pictures, " in result.primary["reason"]
    assert "patient" not in result.primary["reason"]
    assert "where patients have several, intervals are too narrow" in result.notes[0]
    text = " ".join((tmp_path / "out" / "table.md").read_text().split())
    assert "over pictures and seeds" in text
    assert "chosen on validation pictures in each fold" in text
    assert "only its test pictures count" in text
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    assert (
        "a bootstrap of 10000 resamples of pictures (images of the same picture together; patients were not known)"
        in page
    )


def test_with_several_generators_files_of_predictions_give_what_the_benchmark_gives(
    data: Path, tmp_path: Path, quick: Options
) -> None:
    result = braingan.benchmark(data, tmp_path / "out", **quick | {"seeds": 4, "generators": 2})
    path = tmp_path / "out" / "predictions.csv"
    found = braingan.compare_files(path, path, arm_a="real", arm_b="combined").comparison
    own = next(each for each in result.comparisons if each["arm"] == "combined" and each["baseline"] == "real")
    assert list(found.runs) == own["runs"] == [4, 2]
    assert (found.difference, found.p_value) == pytest.approx((own["difference"], own["p_value"]))
    assert own["verdict"] == "under-powered"
    assert "as many generators where a fold has several" in own["reason"]


def test_a_split_given_back_is_used(data: Path, tmp_path: Path, real_only: Options) -> None:
    first = braingan.benchmark(data, tmp_path / "a", **real_only, split_seed=5)
    again = braingan.benchmark(data, tmp_path / "b", **real_only, split=tmp_path / "a" / "split.json")
    assert again.split == first.split
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]


def test_a_test_folder_is_scored_and_never_learned_from(
    data: Path, tmp_path: Path, single: Options, write_data: Callable[..., Path], spy: Handed, hashes_of: Hashes
) -> None:
    test = write_data("elsewhere", patients=3, seed=9)
    result = braingan.benchmark(data, tmp_path / "out", **(single | {"backend": "spy", "test": test}))
    assert len(result.split["test"]) == 12
    assert len(result.split["train"]) + len(result.split["val"]) == 40
    assert result.settings["test"] == "elsewhere"
    assert spy == [hashes_of(data, result.split["train"])]
    assert not spy[0] & hashes_of(test, result.split["test"])
    again = braingan.benchmark(data, tmp_path / "again", config=tmp_path / "out" / "result.json", test=test)
    assert again.split == result.split
    with pytest.raises(SettingsError, match="repeat it with --test elsewhere"):
        braingan.benchmark(data, tmp_path / "c", config=tmp_path / "out" / "result.json")


def test_a_patient_of_the_test_folder_is_not_let_in_by_being_left_out_of_training(
    data: Path, tmp_path: Path, real_only: Options, write_data: Callable[..., Path]
) -> None:
    test = write_data("elsewhere", patients=3, seed=9)
    left_out = braingan.benchmark(data, tmp_path / "first", **real_only, test=test, train_patients=4).splits
    fold, files = left_out["folds"][0], left_out["files"]
    patient = next(files[place]["group"] for place in fold["left_out"])
    rows = (test / "metadata.csv").read_text().replace("elsewhere-P00", patient)
    (test / "metadata.csv").write_text(rows)
    with pytest.raises(SplitError, match=f"patient '{patient}' is left out of training and held out"):
        braingan.benchmark(data, tmp_path / "out", **real_only, test=test, train_patients=4)
    assert not (tmp_path / "out" / "asked.json").exists()


@pytest.mark.parametrize("more", [{"folds": 5}, {"folds": 2, "repeats": 2}, {"preset": "standard"}])
def test_a_test_folder_is_one_fold(
    data: Path, tmp_path: Path, real_only: Options, write_data: Callable[..., Path], more: Options
) -> None:
    test = write_data("elsewhere", patients=3, seed=9)
    with pytest.raises(SettingsError, match=r"--test and more than one fold were both asked; .*--external") as caught:
        braingan.benchmark(data, tmp_path / "out", **real_only, test=test, **more)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_test_folder_that_does_not_fit_is_refused(
    data: Path, tmp_path: Path, real_only: Options, write_data: Callable[..., Path]
) -> None:
    with pytest.raises(SplitError, match=r"patient 'data-P00' is in (train|val) and in test"):
        braingan.benchmark(data, tmp_path / "out", **real_only, test=data)
    other = write_data("other", metadata=False)
    (other / "tumor").rename(other / "glioma")
    with pytest.raises(DataError, match="other has the classes glioma, no_tumor, the training data no_tumor, tumor"):
        braingan.benchmark(data, tmp_path / "out2", **real_only, test=other)
    with pytest.raises(SettingsError, match="--split and --test were both asked"):
        braingan.benchmark(data, tmp_path / "out3", **real_only, test=other, split=tmp_path / "split.json")


@pytest.fixture
def doubled(write_data: Callable[..., Path]) -> Path:
    """A folder without patient ids in which every image stands twice."""
    data = write_data("doubled", metadata=False)
    for path in list(data.rglob("*.png")):
        path.with_name(f"copy_of_{path.name}").write_bytes(path.read_bytes())
    return data


def test_without_patient_ids_every_result_says_so_and_twins_stay_on_one_side(
    doubled: Path, tmp_path: Path, real_only: Options
) -> None:
    result = braingan.benchmark(doubled, tmp_path / "out", **real_only)
    assert result.split["grouped_by"] == "twins"
    contents = {part: {file["sha256"] for file in result.split[part]} for part in ("train", "val", "test")}
    assert sum(map(len, contents.values())) == len(set.union(*contents.values())) == 40
    assert result.notes[0].startswith("No patient ids: images of the same picture are kept together")
    assert "No patient ids" in (tmp_path / "out" / "table.md").read_text()
    assert "No patient ids" in (tmp_path / "out" / "report.html").read_text()
    assert "twins kept together" in (tmp_path / "out" / "table.md").read_text()
    assert result.summary["real"]["f1"]["std"] is None
    again = braingan.benchmark(doubled, tmp_path / "again", config=tmp_path / "out" / "result.json")
    assert again.split == result.split


def test_a_test_part_with_twins_in_training_is_refused_dropped_or_marked(
    doubled: Path, tmp_path: Path, real_only: Options
) -> None:
    options = real_only | {"group_duplicates": False}
    with pytest.raises(LeakageError, match=r"leak: \d+ of 16 test images \(.*\) show the same picture"):
        braingan.benchmark(doubled, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "asked.json").exists()
    dropped = braingan.benchmark(doubled, tmp_path / "dropped", **options, drop_leaking=True)
    trained = {file["sha256"] for file in dropped.split["train"]}
    assert not trained & {file["sha256"] for file in dropped.split["test"]}
    assert any("were dropped because they show the same picture" in note for note in dropped.notes)
    assert dropped.leakage == []
    allowed = braingan.benchmark(doubled, tmp_path / "allowed", **options, allow_leakage=True)
    assert len(allowed.split["test"]) == 16
    assert allowed.leakage[0].startswith("leak: ")
    for name in ("table.md", "report.html"):
        assert "LEAKAGE ALLOWED" in (tmp_path / "allowed" / name).read_text()
        assert "LEAKAGE ALLOWED" not in (tmp_path / "dropped" / name).read_text()
    with pytest.raises(SettingsError, match="--drop-leaking and --allow-leakage were both asked"):
        braingan.benchmark(doubled, tmp_path / "both", **options, allow_leakage=True, drop_leaking=True)


def test_bad_files_are_listed_in_the_result(data: Path, tmp_path: Path, real_only: Options) -> None:
    (data / "tumor" / "P00_tumor_0.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"tumor/P00_tumor_0\.png: is empty.*--skip-bad"):
        braingan.benchmark(data, tmp_path / "out", **real_only)
    result = braingan.benchmark(data, tmp_path / "out", **real_only, skip_bad=True)
    assert result.bad_files == [{"file": "tumor/P00_tumor_0.png", "reason": "is empty"}]


def test_a_given_generator_serves_every_seed_and_must_not_have_seen_held_out_images(
    data: Path, tmp_path: Path, quick: Options, real_only: Options, tiny: Options
) -> None:
    braingan.train(data, tmp_path / "all", **tiny)
    with pytest.raises(LeakageError, match=r"leak: .* held-out images"):
        braingan.benchmark(data, tmp_path / "out", **quick, generator=tmp_path / "all")
    first = braingan.benchmark(data, tmp_path / "first", **real_only)
    split = tmp_path / "first" / "split.json"
    braingan.train(data, tmp_path / "honest", **tiny, split=split)
    options = {key: value for key, value in quick.items() if key in {"model", "classifier_steps", "seeds", "arms"}}
    result = braingan.benchmark(data, tmp_path / "out", **options, generator=tmp_path / "honest", split=split)
    assert len(result.generators) == 1
    assert {run["generator"] for run in result.runs if run["arm"] != "real"} == {0}
    assert result.settings["size"] == 32
    assert Split.from_json(result.split) == Split.from_json(first.split)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 0.01}, "ratio 0.01 leaves class 'no_tumor' without synthetic images"),
        ({"ratio": -1}, "0 to 1000"),
        ({"share": 1.5}, "share 1.5 was asked; .* 0 to 1"),
        ({"split_seed": -1}, "seed -1 was asked"),
        ({"seeds": 0}, "0 seeds"),
        ({"folds": 0}, "0 folds were asked; 1 or more work"),
        ({"repeats": 0}, "0 repeats were asked; 1 or more work"),
        ({"generators": 3}, "3 generators and 2 seeds were asked; each generator needs a classifier of its own"),
        ({"ratio": "0.5,0.5"}, "ratios 0.5, 0.5 were asked; one or more different ones work"),
        ({"ratio": "half"}, "--ratio half was asked; numbers with commas work, such as 0.25,0.5,1"),
        ({"ratio": "0.01,1"}, "ratio 0.01 leaves class 'no_tumor' without synthetic images"),
        ({"arms": "real,combind"}, "arm 'combind' is unknown; did you mean 'combined'?"),
        ({"arms": ["real", "real"]}, "arm 'real' was asked twice; once works"),
        ({"arms": []}, "no arm was asked; there are .*combined"),
        ({"preset": "fast"}, "preset 'fast' was asked; quick, standard, thorough work"),
        ({"margin": 2}, "margin 2 was asked; above 0 and below 1 works"),
        ({"limit": {"tumour": 3}}, "a limit for class 'tumour' was asked; the data have no_tumor, tumor"),
        ({"limit": {"tumor": "few"}}, "--limit tumor=few was asked; CLASS=NUMBER works, such as tumor=60"),
        ({"limit": {"tumor": 0}}, "--limit tumor=0 was asked; 1 or more work"),
        ({"limit": {"tumor": 99}}, "99 training images of class 'tumor' were asked, and there are 12"),
        ({"limit_patients": {"tumor": 0}}, "--limit-patients tumor=0 was asked; 1 or more work"),
        ({"train_patients": 0}, "--train-patients 0 was asked; 1 or more work"),
        ({"folds": 11}, r"class 'no_tumor' has 10 patient\(s\); 11 parts need at least 11"),
        ({"size": 40}, "asked for size 40"),
        ({"model": "resnet10tt"}, "timm has no model"),
        ({"classifier_steps": 0}, "0 classifier steps"),
        ({"backend": "none"}, "backend 'none' is unknown"),
    ],
)
def test_what_cannot_work_is_refused_before_any_training(
    data: Path, tmp_path: Path, quick: Options, options: Options, words: str
) -> None:
    with pytest.raises(braingan.BrainganError, match=words) as caught:
        braingan.benchmark(data, tmp_path / "out", **(quick | options))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "generators").exists()
    assert not (tmp_path / "out" / "cells").exists()


def test_a_single_class_and_a_foreign_folder_are_refused(data: Path, tmp_path: Path, real_only: Options) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"holds notes\.txt, which braingan did not write"):
        braingan.benchmark(data, tmp_path / "thesis", **real_only)
    (data / "metadata.csv").unlink()
    for path in (data / "tumor").iterdir():
        path.unlink()
    (data / "tumor").rmdir()
    with pytest.raises(SettingsError, match="one class"):
        braingan.benchmark(data, tmp_path / "out", **real_only)


def test_pictures_are_left_out_of_the_report_when_asked(data: Path, tmp_path: Path, real_only: Options) -> None:
    braingan.benchmark(data, tmp_path / "with", **real_only)
    braingan.benchmark(data, tmp_path / "without", **real_only, without_images=True)
    assert "data:image/png" in (tmp_path / "with" / "report.html").read_text()
    assert "data:image/png" not in (tmp_path / "without" / "report.html").read_text()


def test_a_renamed_class_and_a_corrected_label_are_other_work(data: Path, tmp_path: Path, real_only: Options) -> None:
    braingan.benchmark(data, tmp_path / "out", **real_only)
    metadata = data / "metadata.csv"
    metadata.write_text(metadata.read_text().replace(",tumor,", ",glioma,"))
    (data / "tumor").rename(data / "scans")
    metadata.write_text(metadata.read_text().replace("\ntumor/", "\nscans/"))
    with pytest.raises(OutputError, match=r"for other work .*classes"):
        braingan.benchmark(data, tmp_path / "out", **real_only)


def test_an_output_folder_in_the_data_is_refused(data: Path, real_only: Options) -> None:
    for out in (data, data / "out", data.parent):
        with pytest.raises(OutputError, match="overlap"):
            braingan.benchmark(data, out, **real_only)
        with pytest.raises(OutputError, match="overlap"):
            braingan.augment(data, out)
    assert sorted(entry.name for entry in data.iterdir()) == ["metadata.csv", "no_tumor", "tumor"]


def test_a_generator_of_other_slices_of_held_out_patients_is_refused(
    data: Path, tmp_path: Path, real_only: Options, tiny: Options
) -> None:
    first = braingan.benchmark(data, tmp_path / "first", **real_only)
    test = {file["group"] for file in first.split["test"]}
    rest = json.loads((tmp_path / "first" / "split.json").read_text())
    moved = [file for file in rest["test"] if file["label"] == "tumor"][:1] + [
        file for file in rest["test"] if file["label"] == "no_tumor"
    ][:1]
    (tmp_path / "other.json").write_text(json.dumps(rest | {"train": moved, "val": [], "test": []}))
    braingan.train(data, tmp_path / "sly", **tiny, split=tmp_path / "other.json")
    remaining = [file for file in rest["test"] if file not in moved]
    assert {file["group"] for file in remaining} & test
    (tmp_path / "split.json").write_text(json.dumps(rest | {"test": remaining}))
    options = {key: value for key, value in real_only.items() if key in {"model", "classifier_steps", "seeds"}}
    with pytest.raises(LeakageError, match=r"leak: .*on others of their patients"):
        braingan.benchmark(data, tmp_path / "out", **options, generator=tmp_path / "sly", split=tmp_path / "split.json")


def test_what_leaks_in_one_repeat_is_tested_in_none(write_data: Any, tmp_path: Path, real_only: Options) -> None:
    data = write_data("data", patients=12)
    for patient in range(0, 12, 3):  # the next patient has the same picture: not in every repeat on the same side
        twin = data / "tumor" / f"P{patient + 1:02d}_tumor_0.png"
        twin.write_bytes((data / "tumor" / f"P{patient:02d}_tumor_0.png").read_bytes())
    options = real_only | {"arms": ["real", "duplicates"], "folds": 2, "repeats": 3, "drop_leaking": True}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    tested = [{result.splits["files"][place]["file"] for fold in result.splits["folds"][first : first + 2]
               for place in fold["test"]} for first in (0, 2, 4)]  # fmt: skip
    assert tested[0] == tested[1] == tested[2]
    dropped = 48 - len(tested[0])
    assert 0 < dropped <= 8
    assert any(note.startswith(f"{dropped} test images were dropped") and f"; {len(tested[0])} are left" in note
               for note in result.notes)  # fmt: skip
    assert f"; {len(tested[0])} test images of 12 patients" in (tmp_path / "out" / "table.md").read_text()
    predictions = tmp_path / "out" / "predictions.csv"
    compared = compare_files(predictions, predictions, arm_a="real", arm_b="duplicates").comparison
    assert compared.images == len(tested[0])
    assert compared.difference == pytest.approx(result.comparisons[-1]["difference"])


def test_copies_in_a_test_folder_count_once_also_when_its_predictions_are_compared(
    write_data: Any, tmp_path: Path, real_only: Options
) -> None:
    data, test = (write_data(name, seed=seed, metadata=False) for seed, name in enumerate(("plain", "elsewhere")))
    for number in range(4):
        shutil.copy(test / "tumor" / "P00_tumor_0.png", test / "tumor" / f"copy{number}.png")
    options = real_only | {"arms": ["real", "duplicates"], "test": test, "seeds": 3}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    assert result.units == {"training": "file", "test": "picture"}
    found = result.comparisons[0]
    assert (found["images"], found["patients"]) == (44, 40)
    predictions = tmp_path / "out" / "predictions.csv"
    rows = list(csv.DictReader(predictions.read_text().splitlines()))
    assert {row["picture"] for row in rows if "copy" in row["file"]} == {"test:tumor/P00_tumor_0.png"}
    compared = compare_files(predictions, predictions, arm_a="real", arm_b="duplicates")
    assert compared.grouped_by == "picture"
    assert "40 pictures, patients unknown, 44 images" in str(compared)
    assert "every picture was taken as a patient of its own" in compared.notes[0]
    for name in ("difference", "low", "high", "p_value"):
        assert getattr(compared.comparison, name) == pytest.approx(found[name])
    apart = braingan.benchmark(data, tmp_path / "apart", **options, group_duplicates=False)
    assert apart.units == {"training": "file", "test": "file"}
    assert apart.comparisons[0]["patients"] == 44


def test_patients_of_a_test_folder_count_where_the_data_have_none(
    write_data: Any, tmp_path: Path, real_only: Options
) -> None:
    data, test = write_data("plain", metadata=False), write_data("elsewhere", patients=3, seed=9)
    options = real_only | {"arms": ["real", "duplicates"], "test": test}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    assert result.units == {"training": "file", "test": "patient"}
    assert result.comparisons[0]["patients"] == 3
    assert "; 3 patients," in result.comparisons[0]["reason"]
    assert "intervals are too narrow" not in result.notes[0]
    assert result.notes[0].startswith("No patient ids in the data folder: ")
    assert (
        "12 test images from elsewhere of 3 patients (no patients known in training)"
        in (tmp_path / "out" / "table.md").read_text()
    )


@pytest.mark.parametrize(("patients", "warned"), [(10, True), (30, False)])
def test_a_class_of_one_test_patient_is_warned_of_before_training(
    write_data: Any, tmp_path: Path, real_only: Options, caplog: pytest.LogCaptureFixture, patients: int, warned: bool
) -> None:
    data = write_data("data", patients=patients)
    header, *rows = (data / "metadata.csv").read_text().splitlines()
    gone = [row for row in rows if row.startswith("no_tumor") == (row[-1] in "02468")]  # a class for each patient
    (data / "metadata.csv").write_text("\n".join([header, *(row for row in rows if row not in gone)]) + "\n")
    for row in gone:
        (data / row.split(",")[0]).unlink()
    result = braingan.benchmark(data, tmp_path / "out", **real_only | {"arms": ["real", "duplicates"]})
    said = "all test images of class 'no_tumor' are of one patient, and it takes two; --folds 5 tests every one"
    assert (f"no verdict can be had: {said}" in caplog.text) == warned
    assert len(result.comparisons) == (not warned)


def test_an_honest_generator_is_not_blamed_for_twins_in_the_data(
    doubled: Path, tmp_path: Path, single: Options, tiny: Options, caplog: pytest.LogCaptureFixture
) -> None:
    first = single | {"arms": ["real"], "group_duplicates": False, "allow_leakage": True}
    braingan.benchmark(doubled, tmp_path / "first", **first)
    split = tmp_path / "first" / "split.json"
    braingan.train(doubled, tmp_path / "honest", **tiny, split=split)
    options = {key: value for key, value in single.items() if key in {"model", "classifier_steps", "arms", "seeds"}}
    options |= {"generator": tmp_path / "honest", "split": split}
    with pytest.raises(LeakageError, match="that is the data's doing; --drop-leaking"):
        braingan.benchmark(doubled, tmp_path / "out", **options)
    result = braingan.benchmark(doubled, tmp_path / "out", **options, drop_leaking=True)
    assert result.leakage == []
    braingan.augment(doubled, tmp_path / "augmented", generator=tmp_path / "honest", split=split)
    assert "that is the data's doing, not the generator's" in caplog.text


def test_a_generator_trained_anew_makes_its_images_and_cells_anew(data: Path, tmp_path: Path, quick: Options) -> None:
    out = tmp_path / "out"
    braingan.benchmark(data, out, **quick)
    model = out / "generators" / "fold0-seed0" / "model.safetensors"
    stamps = {path.name: path.stat().st_mtime_ns for path in (out / "cells").iterdir()}
    weights = load_file(model)
    save_file({name: value * 1.01 for name, value in weights.items() if value.is_floating_point()}
              | {name: value for name, value in weights.items() if not value.is_floating_point()}, model)  # fmt: skip
    braingan.benchmark(data, out, **quick)
    changed = {path.name for path in (out / "cells").iterdir() if path.stat().st_mtime_ns != stamps[path.name]}
    assert changed == {"synthetic-ratio1-fold0-seed0.json", "combined-ratio1-fold0-seed0.json"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda value: value["settings"].update(steps="many"), "steps='many' is no setting"),
        (lambda value: value["settings"].update(share="half"), "share='half' is no setting"),
        (lambda value: value["settings"].update(weights=7), "weights=7 is no setting"),
        (lambda value: value["settings"].update(folds=2.5), "folds=2.5 is no setting"),
        (lambda value: value["settings"].update(arms="real"), "arms='real' is no setting"),
        (lambda value: value.pop("splits"), "is no benchmark result of this version"),
        (lambda value: value.pop("summary"), "is no benchmark result of this version"),
        (lambda value: value["splits"]["files"][0].update(group=["x"]), "this is no split file"),
        (lambda value: value["splits"]["folds"][0]["train"].append(99), "this is no file of splits"),
        (lambda value: value["splits"].update(folds=[]), "this file of splits has no folds"),
    ],
)
def test_a_result_that_is_damaged_is_refused_as_a_config(
    study: Any, tmp_path: Path, change: Callable[[Any], object], words: str
) -> None:
    value = json.loads((study.out / "result.json").read_text())
    change(value)
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(braingan.BrainganError, match=words):
        braingan.benchmark(study.data, tmp_path / "again", config=tmp_path / "config.json", external=study.external)


def test_a_result_with_a_ratio_that_is_no_number_is_refused_as_a_config(study: Any, tmp_path: Path) -> None:
    value = json.loads((study.out / "result.json").read_text())
    value["settings"]["ratio"] = ["half"]
    (tmp_path / "config.json").write_text(json.dumps(value))
    with pytest.raises(OutputError, match="ratio"):
        braingan.benchmark(study.data, tmp_path / "again", config=tmp_path / "config.json", external=study.external)


def test_bad_files_of_the_test_folder_are_listed_too(
    data: Path, tmp_path: Path, real_only: Options, write_data: Callable[..., Path]
) -> None:
    test = write_data("elsewhere", patients=3, seed=9, metadata=False)
    (test / "tumor" / "P00_tumor_0.png").write_bytes(b"")
    result = braingan.benchmark(data, tmp_path / "out", **real_only, test=test, skip_bad=True)
    assert [bad["file"] for bad in result.bad_files] == ["tumor/P00_tumor_0.png"]
    assert result.split["grouped_by"] == "patient"  # which is how training and validation were parted
    assert result.units == {"training": "patient", "test": "file"}
    assert result.notes[0].startswith("The test folder has no patient ids")
    said = " ".join(methods(result))
    assert f"images, 40 of them of 10 patients and {len(result.split['test'])} of unknown patients (" in said
    assert "They were split once by patient" in said
    assert "those of the images for testing were not known" in said
    assert 20 not in dict(claim_items(result))
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    assert "of the test images no patients are known, and some may be in training" in page
    assert "Split by file" not in page
    assert "(of unknown patients)" in terminal_table(result)


def test_a_generator_whose_best_step_was_chosen_by_test_images_is_refused(
    write_data: Callable[..., Path], tmp_path: Path, single: Options
) -> None:
    data = write_data("many", patients=48)
    split = braingan.benchmark(data, tmp_path / "first", **(single | {"arms": ["real"]})).split
    looked_at = {**split, "val": [*split["val"], *split["test"]], "test": []}
    (tmp_path / "split.json").write_text(json.dumps(looked_at))
    options = {name: single[name] for name in ("size", "steps", "batch_size", "hyperparameters")}
    braingan.train(data, tmp_path / "run", **options, split=tmp_path / "split.json")
    assert json.loads((tmp_path / "run" / "config.json").read_text())["chosen_on_validation"]
    asked = single | {"arms": ["real"]} | {"generator": tmp_path / "run"}
    with pytest.raises(LeakageError, match=f"best step .* was chosen by {len(split['test'])} of the test images"):
        braingan.benchmark(data, tmp_path / "out", **asked)
    result = braingan.benchmark(data, tmp_path / "out", **asked, allow_leakage=True)
    assert any("best step" in line for line in result.leakage)


def test_a_result_with_weights_to_start_from_is_repeated_with_the_same_ones_wherever_they_lie(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    random = torch.Generator().manual_seed(0)
    shapes = {"0.weight": (8, 1, 3, 3), "0.bias": (8,), "4.weight": (2, 128), "4.bias": (2,)}
    for name, scale in (("here", 0.1), ("other", 0.2)):
        (tmp_path / name).mkdir()
        save_file({key: scale * torch.randn(shape, generator=random) for key, shape in shapes.items()},
                  tmp_path / name / "start.safetensors")  # fmt: skip
    first = braingan.benchmark(data, tmp_path / "a", **real_only, weights=tmp_path / "here" / "start.safetensors")
    assert first.settings["weights"] == "start.safetensors"
    assert str(tmp_path) not in (tmp_path / "a" / "result.json").read_text()
    (tmp_path / "moved").mkdir()
    moved = (tmp_path / "here" / "start.safetensors").rename(tmp_path / "moved" / "w.safetensors")
    config = tmp_path / "a" / "result.json"
    again = braingan.benchmark(data, tmp_path / "b", config=config, weights=moved)
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]
    with pytest.raises(SettingsError, match=r"was made with --weights start\.safetensors; repeat it with"):
        braingan.benchmark(data, tmp_path / "c", config=config)
    with pytest.raises(SettingsError, match="was made with another --weights than"):
        braingan.benchmark(data, tmp_path / "c", config=config, weights=tmp_path / "other" / "start.safetensors")


def test_what_is_asked_beside_a_generator_and_is_not_what_it_was_made_with_is_refused(
    data: Path, tmp_path: Path, single: Options
) -> None:
    asked = {name: single[name] for name in ("size", "steps", "batch_size", "hyperparameters")}
    braingan.train(data, tmp_path / "run", **asked, seed=1)
    with pytest.raises(SettingsError, match=r"--generator and --size 128 were both asked; the generator in .* has 32"):
        braingan.benchmark(data, tmp_path / "out", **single | {"size": 128}, generator=tmp_path / "run")


def test_a_model_that_cannot_read_the_images_is_refused_before_anything_is_trained(
    data: Path, tmp_path: Path, quick: Options, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd_heads.py").write_text(
        "from torch import nn\n\n\ndef three(num_classes, in_chans):\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(in_chans, 3))\n\n\n"
        "def large(num_classes, in_chans):\n    return nn.Sequential(nn.Flatten(), nn.Linear(224 * 224, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"odd_heads:three gave \(2, 3\) for 2 images of 2 classes; \(2, 2\)"):
        braingan.benchmark(data, tmp_path / "out", **quick | {"model": "odd_heads:three"})
    with pytest.raises(SettingsError, match="odd_heads:large cannot read images of 32x32 pixels"):
        braingan.benchmark(data, tmp_path / "out", **quick | {"model": "odd_heads:large"})
    assert not (tmp_path / "out" / "generators").exists()


def test_what_is_wrong_with_the_data_is_told_before_training_and_stands_in_the_report(
    data: Path, tmp_path: Path, real_only: Options, caplog: pytest.LogCaptureFixture
) -> None:
    twin = next((data / "tumor").glob("*.png"))
    (data / "no_tumor" / "the_same.png").write_bytes(twin.read_bytes())
    with (data / "metadata.csv").open("a") as stream:
        stream.write(f"no_tumor/the_same.png,no_tumor,data-{twin.name[:3]}\n")
    with caplog.at_level(logging.INFO, logger="braingan"):
        braingan.benchmark(data, tmp_path / "out", **real_only | {"inspection": True})
    lines = [record.getMessage() for record in caplog.records]
    warned = next(place for place, line in enumerate(lines) if line.startswith("warning: ") and "the_same.png" in line)
    trained = next(place for place, line in enumerate(lines) if line.startswith("real, fold 0, seed 0: macro-F1"))
    assert warned < trained
    serious = lines[warned].removeprefix("warning: ")
    assert serious in html.unescape((tmp_path / "out" / "report.html").read_text())
    before = (tmp_path / "out" / "inspection.json").read_bytes()
    braingan.report(tmp_path / "out")
    assert serious in html.unescape((tmp_path / "out" / "report.html").read_text())
    assert (tmp_path / "out" / "inspection.json").read_bytes() == before
    braingan.benchmark(data, tmp_path / "without", **real_only)
    assert "<code>braingan inspect</code> examines the images" in (tmp_path / "without" / "report.html").read_text()
    with pytest.raises(OutputError, match="is the folder of other work, which has an inspection of its own"):
        braingan.inspect(data, out=tmp_path / "out")


@pytest.mark.parametrize(("folds", "margin", "tested"), [(1, 0.02, 2), (2, 0.02, 10), (2, 0.999, None)])
def test_how_little_the_patients_can_show_is_told_before_training(
    data: Path, tmp_path: Path, real_only: Options, caplog: pytest.LogCaptureFixture,
    folds: int, margin: float, tested: int | None,
) -> None:  # fmt: skip
    with caplog.at_level(logging.INFO, logger="braingan"):
        braingan.benchmark(data, tmp_path / "out", **real_only | {"inspection": True, "folds": folds, "margin": margin})
    lines = [record.getMessage() for record in caplog.records]
    trained = next(place for place, line in enumerate(lines) if line.startswith("real, fold 0, seed 0: macro-F1"))
    told = [line for line in lines[:trained] if line.startswith("A test set of about ")]
    assert len(told) == (tested is not None)
    smallest = json.loads((tmp_path / "out" / "inspection.json").read_text())["minimum_detectable_effect"]
    for line in told:
        assert line.startswith(f"A test set of about {tested} patients can be expected to show")
        assert f"The margin is 0.02: if synthetic images change less than {smallest:.2f}, expect *under-p" in line


def test_a_design_that_can_have_no_verdict_is_warned_of_before_training(
    data: Path, tmp_path: Path, real_only: Options, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="braingan"):
        braingan.benchmark(data, tmp_path / "out", **real_only)
    lines = [record.getMessage() for record in caplog.records]
    warned = next(place for place, line in enumerate(lines) if line.startswith("warning: no arm of real is real and"))
    assert warned < next(place for place, line in enumerate(lines) if "seed 0: macro-F1" in line)
