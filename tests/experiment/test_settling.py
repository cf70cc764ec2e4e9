"""Precisions of a benchmark: settled once, noted, kept, and repeated."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import SettingsError

Options = dict[str, Any]


def precisions_in(out: Path) -> tuple[str, str, str]:
    """Of the result, and of the generator that was trained for it."""
    settings = json.loads((out / "result.json").read_text())["settings"]
    generator = json.loads((out / "generators" / "fold0-seed0" / "config.json").read_text())["settings"]
    return settings["precision"], settings["classifier_precision"], generator["precision"]


def test_what_auto_came_to_is_noted_and_kept_when_the_benchmark_goes_on(
    data: Path, tmp_path: Path, single: Options
) -> None:
    out = tmp_path / "out"
    braingan.benchmark(data, out, **single)
    assert precisions_in(out) == ("float32",) * 3  # so few steps are not worth a trial
    (out / "resolved.json").write_text(json.dumps({"precision": "bfloat16", "classifier_precision": "bfloat16"}))
    shutil.rmtree(out / "generators")
    braingan.benchmark(data, out, **single)
    assert precisions_in(out) == ("bfloat16",) * 3


def test_generators_that_are_added_later_have_a_precision_of_their_own(
    data: Path, tmp_path: Path, single: Options
) -> None:
    braingan.benchmark(data, tmp_path / "out", **single | {"arms": ["real"]})
    assert "precision" not in json.loads((tmp_path / "out" / "resolved.json").read_text())
    braingan.benchmark(data, tmp_path / "out", **single)
    assert "precision" in json.loads((tmp_path / "out" / "resolved.json").read_text())


def test_precisions_are_taken_as_asked_and_repeated_from_a_result(data: Path, tmp_path: Path, single: Options) -> None:
    asked = {"precision": "bfloat16", "classifier_precision": "float32"}
    first = braingan.benchmark(data, tmp_path / "out", **single, **asked)
    assert precisions_in(tmp_path / "out") == ("bfloat16", "float32", "bfloat16")
    again = braingan.benchmark(data, tmp_path / "again", config=tmp_path / "out" / "result.json")
    assert [run["macro"] for run in again.runs] == [run["macro"] for run in first.runs]


@pytest.mark.parametrize("name", ["precision", "classifier_precision"])
def test_an_unknown_precision_is_refused_at_once(data: Path, tmp_path: Path, single: Options, name: str) -> None:
    with pytest.raises(SettingsError, match="precision 'float8' was asked; auto, float32, bfloat16, float16 work"):
        braingan.benchmark(data, tmp_path / "out", **single, **{name: "float8"})
