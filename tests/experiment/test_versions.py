"""Results and folders of before there were folds, which had one split and a generator for each seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import BenchmarkResult, OutputError, Split
from braingan.data.folds import Folds
from braingan.experiment.settings import BenchmarkSettings

Options = dict[str, Any]

RESULTS = Path(__file__).parent.parent.parent / "benchmarks" / "results"
SETTINGS = {
    "backend", "hyperparameters", "size", "channels", "steps", "batch_size", "class_sampling", "ratio", "model",
    "weights", "pretrained", "classifier_steps", "classifier_batch_size", "seeds", "split_seed", "device", "skip_bad",
    "group_duplicates", "drop_leaking", "allow_leakage", "precision", "classifier_precision", "patience", "data",
    "test", "generator",
}  # fmt: skip
NEW = ("folds", "repeats", "generators", "limit", "limit_patients", "train_patients", "arms", "margin", "share",
       "curve", "external images")  # fmt: skip
FIELDS = {"settings", "versions", "classes", "preprocessing", "runs", "summary", "generators", "intensity", "bad_files",
          "notes", "seconds", "leakage"}  # fmt: skip
RUN = ("arm", "fold", "seed", "n_real", "n_synthetic", "per_class", "macro", "accuracy", "seconds")
GENERATOR = ("seed", "sha256", "seconds", "losses")


def as_before(result: BenchmarkResult) -> Options:
    """What would have been written then of the same trainings."""
    value = result.to_json()
    old = {name: value[name] for name in FIELDS} | {"split": result.split}
    old["settings"] = {name: value["settings"][name] for name in SETTINGS} | {"ratio": value["settings"]["ratio"][0]}
    old["runs"] = [{name: run[name] for name in RUN} for run in value["runs"]]
    old["generators"] = [{name: entry[name] for name in GENERATOR} for entry in value["generators"]]
    return old


@pytest.mark.parametrize("name", ["kaggle-yesno-20-images-10-epochs", "kaggle-yesno"])
def test_a_result_of_version_0_1_can_be_read(name: str) -> None:
    written = json.loads((RESULTS / f"{name}.json").read_text())
    if "split" not in written:
        pytest.skip(f"{name} has been run again since")
    result = BenchmarkResult.load(RESULTS / f"{name}.json")
    assert (result.summary, result.runs) == (written["summary"], written["runs"])
    assert result.arms == ["real", "synthetic", "combined"]
    assert result.folds == 1
    assert result.split == written["split"]
    assert Folds.from_json(result.splits)[0].split == Split.from_json(written["split"])
    assert (result.comparisons, result.primary, result.choice, result.recommended_ratio) == ([], None, None, None)
    settings = BenchmarkSettings.from_json(
        {name: value for name, value in result.settings.items() if name not in {"data", "test", "generator"}}
    )
    assert (settings.ratio, settings.generators, settings.folds) == ((written["settings"]["ratio"],), settings.seeds, 1)
    assert settings.arms == ("real", "synthetic", "combined")


def test_a_result_of_version_0_1_is_repeated_with_equal_numbers(data: Path, tmp_path: Path, quick: Options) -> None:
    exact = {"precision": "float32", "classifier_precision": "float32"}
    first = braingan.benchmark(data, tmp_path / "first", **quick, **exact, ratio=0.5)
    old = as_before(first)
    (tmp_path / "old.json").write_text(json.dumps(old))
    again = braingan.benchmark(data, tmp_path / "again", config=tmp_path / "old.json")
    assert again.split == old["split"]
    kept = ("arm", "fold", "seed", "n_real", "n_synthetic", "per_class", "macro", "accuracy")
    assert [[run[name] for name in kept] for run in again.runs] == [[run[name] for name in kept] for run in old["runs"]]
    assert [entry["sha256"] for entry in again.generators] == [entry["sha256"] for entry in old["generators"]]
    assert again.settings["generators"] == 2
    (tmp_path / "older.json").write_text(
        json.dumps(
            old
            | {
                "settings": {  # before precisions were noted
                    name: value
                    for name, value in old["settings"].items()
                    if "precision" not in name and name != "patience"
                }
            }
        )
    )
    older = BenchmarkResult.load(tmp_path / "older.json")
    settings = BenchmarkSettings.from_json(
        {name: value for name, value in older.settings.items() if name not in {"data", "test", "generator"}}
    )
    assert (settings.precision, settings.classifier_precision, settings.patience) == ("float32", "float32", 0)


def test_a_folder_of_version_0_1_is_refused_with_what_is_different_and_left_as_it_is(
    data: Path, tmp_path: Path, single: Options
) -> None:
    out = tmp_path / "out"
    braingan.benchmark(data, out, **single)
    asked = json.loads((out / "asked.json").read_text())
    for name in NEW:
        del asked[name]
    asked["ratio"] = 1.0
    (out / "asked.json").write_text(json.dumps(asked))
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    with pytest.raises(
        OutputError, match=r"for other work \(.*ratio 1\.0 there, \[1\.0\] asked.*give another"
    ) as caught:
        braingan.benchmark(data, out, **single)
    assert "\n" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
