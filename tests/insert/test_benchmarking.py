"""A benchmark of a backend that makes tumours only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import braingan
from braingan import BenchmarkResult, SettingsError

Options = dict[str, Any]
BOTH = pytest.mark.parametrize("backend", ["insert", "paste"])


@pytest.fixture
def asked(quick: Options, tiny_model: str) -> Options:
    """A benchmark of a few seconds."""
    return quick | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "inspection": False,
                    "classifier_precision": "float32",
                    "arms": ["real", "synthetic", "combined"]}  # fmt: skip


def counts_of(result: BenchmarkResult) -> dict[str, tuple[int, int]]:
    return {run["arm"]: (run["n_real"], run["n_synthetic"]) for run in result.runs}


@BOTH
@pytest.mark.parametrize("share", [None, 0.5])
def test_the_arm_of_synthetic_images_holds_real_healthy_slices_and_synthetic_tumours(
    slices: Path, tmp_path: Path, asked: Options, backend: str, share: float | None
) -> None:
    out, options = tmp_path / "out", asked | {"backend": backend, "share": share, "ratio": 2.0}
    if backend == "paste":
        options["hyperparameters"] = {}
    result = braingan.benchmark(slices, out, **options)
    labels = [file["file"].split("/")[0] for file in result.split["train"]]
    healthy, tumors = labels.count("no_tumor"), labels.count("tumor")
    assert healthy
    assert tumors
    assert counts_of(result) == {
        "real": (healthy + tumors, 0),
        "synthetic": (healthy, 2 * tumors),
        "combined": (healthy + tumors, 2 * tumors),
    }
    assert any("cannot make no_tumor: in the arm 'synthetic', images of that class are real" in note
               for note in result.notes)  # fmt: skip
    assert any("slices of training patients with synthetic tumours" in note and "anonymous" in note
               for note in result.notes)  # fmt: skip
    train = {file["group"] for file in result.split["train"]}
    lines = (out / "synthetic" / "fold0-seed0" / "manifest.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    assert len(entries) == 2 * tumors
    assert {entry["class"] for entry in entries} == {"tumor"}
    assert {entry[name] for entry in entries for name in ("canvas_patient", "mask_source_patient")} <= train
    with Image.open(out / "pictures" / "synthetic.png") as picture:
        assert "Not anonymous" in picture.text["Comment"]  # type: ignore[attr-defined]
    page = (out / "report.html").read_text()
    assert "anonymous" in page
    assert "cannot make no_tumor" in page


def test_without_patients_it_is_told_that_edited_heads_may_be_tested_on(
    slices: Path, tmp_path: Path, asked: Options, caplog: pytest.LogCaptureFixture
) -> None:
    alone = tmp_path / "alone"
    shutil.copytree(slices, alone)
    rows = [line.split(",") for line in (slices / "metadata.csv").read_text().splitlines()]
    place = rows[0].index("patient")
    text = "".join(",".join(row[:place] + row[place + 1 :]) + "\n" for row in rows)
    (alone / "metadata.csv").write_text(text)
    options = asked | {"backend": "paste", "hyperparameters": {}}
    result = braingan.benchmark(alone, tmp_path / "out", **options)
    assert any("held-out slices may be of the very heads that tumours were put into" in note for note in result.notes)
    plain = {"size": 32, "backend": "paste", "ratio": 1.0}
    braingan.augment(alone, tmp_path / "augmented", **plain)  # type: ignore[arg-type]
    assert "of the very heads that tumours were put into" in caplog.text


def test_a_benchmark_of_a_given_generator_is_the_same_as_of_its_own(
    slices: Path, tmp_path: Path, asked: Options
) -> None:
    own = braingan.benchmark(slices, tmp_path / "own", **asked)
    generator = tmp_path / "own" / "generators" / "fold0-seed0"
    only = {key: asked[key] for key in ("model", "classifier_steps", "seeds", "classifier_precision", "device", "arms")}
    given = braingan.benchmark(slices, tmp_path / "given", split=tmp_path / "own" / "split.json",
                               generator=generator, **only)  # fmt: skip
    assert counts_of(given) == counts_of(own)
    assert [run["macro"] for run in given.runs] == [run["macro"] for run in own.runs]
    assert given.notes == own.notes


def test_a_ratio_that_leaves_a_tumour_class_without_images_is_refused(
    slices: Path, tmp_path: Path, asked: Options
) -> None:
    with pytest.raises(SettingsError, match=r"ratio 0.001 leaves class 'tumor' without synthetic images"):
        braingan.benchmark(slices, tmp_path / "out", ratio=0.001, **asked)


def test_of_images_that_are_made_of_nothing_nothing_is_noted(slices: Path, tmp_path: Path, asked: Options) -> None:
    result = braingan.benchmark(slices, tmp_path / "out", **(asked | {"backend": "dcgan"}))
    assert result.notes == []
