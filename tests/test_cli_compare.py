"""`braingan compare`, as a stranger calls it: what it prints where, and its exit codes."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import braingan

BRAINGAN = str(Path(sys.executable).parent / "braingan")


def run(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [BRAINGAN, "compare", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    """Two arms in predictions.csv, and in a.csv and b.csv without patients."""
    header = ["arm", "fold", "seed", "file", "patient", "target", "p_no", "p_yes"]
    rows = [
        [arm, 0, seed, f"{image}.png", f"P{image // 4}", ("no", "yes")[image % 2], 1 - score, score]
        for arm, good in (("real", 3), ("combined", 5))
        for seed in range(2)
        for image in range(24)
        for score in [0.75 if (image % 2) == ((image * 7 + seed) % 6 < good) else 0.25]
    ]
    with (tmp_path / "predictions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    for name, arm in (("a.csv", "real"), ("b.csv", "combined")):
        with (tmp_path / name).open("w", newline="") as file:
            own = [row[2:4] + row[5:] for row in rows if row[0] == arm]
            csv.writer(file).writerows([header[2:4] + header[5:], *own])
    return tmp_path


def test_two_arms_of_a_benchmark_are_compared(predictions: Path) -> None:
    arms = ("predictions.csv", "predictions.csv", "--arm-a", "real", "--arm-b", "combined", "--resamples", 100)
    shown = run(*arms, cwd=predictions)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("macro_f1, b minus a: +")
    assert "predictions.csv, arm combined, 2 runs" in shown.stdout
    as_json = run(*arms, "--metric", "f1:yes", "--json", cwd=predictions)
    assert as_json.stderr == ""
    path = predictions / "predictions.csv"
    found = braingan.compare_files(path, path, metric="f1:yes", arm_a="real", arm_b="combined", resamples=100)
    assert json.loads(as_json.stdout) == found.to_json() | {"files": ["predictions.csv", "predictions.csv"]}


def test_unknown_patients_are_a_warning_on_stderr_and_in_the_result(predictions: Path) -> None:
    done = run("a.csv", "b.csv", "--resamples", 100, "--json", cwd=predictions)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: No patients are known, so every file was taken as a patient of its own")
    assert done.stderr.count("\n") == 1
    value = json.loads(done.stdout)
    assert value["grouped_by"] == "file"
    assert done.stderr == f"warning: {value['notes'][0]}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["a.csv", "nowhere.csv"], "error: nowhere.csv does not exist; give a CSV file of predictions"),
        (["a.csv", "predictions.csv"], "error: predictions.csv has the arms real, combined; --arm-b NAME takes one"),
        (["a.csv", "b.csv", "--metric", "f1:tumor"], "error: metric 'f1:tumor' was asked; the classes are no, yes"),
        (["a.csv", "a.csv"], "error: a.csv was given twice"),
    ],
)
def test_an_error_is_one_line_on_stderr_with_exit_code_2(predictions: Path, arguments: list[str], words: str) -> None:
    done = run(*arguments, cwd=predictions)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
