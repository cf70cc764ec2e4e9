"""What is finished can be put together at any moment, and the time that is left is told."""

from __future__ import annotations

import fcntl
import logging
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import OutputError
from braingan.experiment.assembly import assemble, finished_cells
from braingan.experiment.cells import ClassifierCell, GeneratorCell
from braingan.experiment.clock import Clock
from braingan.experiment.plan import Plan

Options = dict[str, Any]


@pytest.fixture
def quick(tiny: Options, tiny_model: str) -> Options:
    """Two repeats of two folds, in seconds."""
    return tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real", "combined"], "folds": 2,
                   "inspection": False}  # fmt: skip


def test_a_plan_is_enough_to_put_the_result_together(data: Path, tmp_path: Path, quick: Options) -> None:
    result = braingan.benchmark(data, tmp_path / "out", **quick)
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    shutil.rmtree(data)
    plan = Plan.load(tmp_path / "elsewhere")
    again = assemble(plan, finished_cells(plan)).to_json()
    apart = {"intensity", "notes"}  # of images, which are not looked at
    assert {key: value for key, value in again.items() if key not in apart} == {
        key: value for key, value in result.to_json().items() if key not in apart
    }


def test_while_classifiers_are_missing_only_complete_folds_count(data: Path, tmp_path: Path, quick: Options) -> None:
    result = braingan.benchmark(data, tmp_path / "out", **quick)
    (tmp_path / "out" / "cells" / "combined-ratio1-fold1-seed0.json").unlink()
    plan = Plan.load(tmp_path / "out")
    partial = assemble(plan, finished_cells(plan))
    assert partial.notes[0] == "PARTIAL: 3 of 4 classifiers are finished; this is about 1 of 2 folds."
    assert partial.folds == 1
    assert partial.runs == [run for run in result.runs if run["fold"] == 0]
    first = len(result.splits["folds"][0]["test"])
    assert sum(map(sum, partial.scores[0]["confusion"])) == first < len(result.splits["files"])


def test_of_several_repeats_only_whole_ones_count(data: Path, tmp_path: Path, quick: Options) -> None:
    result = braingan.benchmark(data, tmp_path / "out", **quick, repeats=2)
    (tmp_path / "out" / "cells" / "real-fold3-seed0.json").unlink()
    plan = Plan.load(tmp_path / "out")
    partial = assemble(plan, finished_cells(plan))
    assert partial.folds == 2
    assert partial.scores == [own for own in result.scores if own["repeat"] == 0]


def test_a_report_of_what_is_finished_can_be_had_at_any_moment(data: Path, tmp_path: Path, quick: Options) -> None:
    out = tmp_path / "out"
    braingan.benchmark(data, out, **quick)
    (out / "cells" / "combined-ratio1-fold1-seed0.json").unlink()
    (out / "result.json").unlink()
    partial = braingan.report(out)
    assert partial.folds == 1
    assert "PARTIAL: 3 of 4 classifiers are finished" in (out / "report.html").read_text()
    assert "PARTIAL: 3 of 4 classifiers are finished" in (out / "table.md").read_text()
    rows = (out / "predictions.csv").read_text().splitlines()[1:]
    assert len(rows) == 2 * len(partial.splits["folds"][0]["test"])
    whole = braingan.benchmark(data, out, **quick)
    assert len((out / "predictions.csv").read_text().splitlines()) == 1 + 2 * len(whole.splits["files"])
    assert braingan.report(out).to_json() == whole.to_json()


def test_before_a_fold_is_complete_there_is_nothing_to_report(data: Path, tmp_path: Path, quick: Options) -> None:
    braingan.benchmark(data, tmp_path / "out", **quick)
    for cell in (tmp_path / "out" / "cells").glob("combined-*.json"):
        cell.unlink()
    plan = Plan.load(tmp_path / "out")
    with pytest.raises(OutputError, match=r"2 of 4 classifiers of .*out are finished, and no fold is complete"):
        assemble(plan, finished_cells(plan))
    with pytest.raises(OutputError, match=r"holds no benchmark \(plan.json is missing\)"):
        Plan.load(data)


def test_the_clock_learns_from_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    cells = [GeneratorCell(0, 0), *(ClassifierCell("real", 0, seed) for seed in range(4))]
    clock = Clock(cells, (100.0, 25.0), at_once=2)
    assert clock.seconds_left == 100  # 200 seconds of work for two
    now[0] = 100.0  # the generator took all the time that was to be enough for everything
    clock.tick(cells[0])
    assert clock.seconds_left == 100
    assert str(clock) == "1 of 5 trainings done, about 1 min 40 s left"


def test_the_time_is_told_before_it_starts_and_after_each_training(
    data: Path, tmp_path: Path, quick: Options, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "braingan"):
        braingan.benchmark(data, tmp_path / "out", **quick | {"classifier_steps": 50})
    said = [record.getMessage() for record in caplog.records]
    assert any(
        re.fullmatch(r"2 generators of 2 steps and 4 classifiers of 50 will take about .*", line) for line in said
    )
    assert any(re.search(r"\(1 of 6 trainings done, about .* left\)$", line) for line in said)
    assert any(re.search(r"\(6 of 6 trainings done, about 0 s left\)$", line) for line in said)


def test_a_terminal_shows_how_far_it_is(data: Path, tmp_path: Path, quick: Options) -> None:
    """Above the bars of single trainings, with the lines that are logged left whole."""
    code = "import sys, json, braingan; from braingan.cli import main; main()"
    options = ["--size", "32", "--steps", "2", "--batch-size", "4", "--hyperparameters", "base_channels=4",
               "--hyperparameters", "latent_size=8", "--model", quick["model"], "--classifier-steps", "50", "--seeds",
               "1", "--folds", "2", "--arms", "real,combined", "--no-inspection"]  # fmt: skip
    command = [sys.executable, "-c", code, "benchmark", str(data), str(tmp_path / "out"), *options]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))  # rows, columns
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as run:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:  # Linux says so at the end of the other side
                break
            if not part:
                break
            shown += part
    os.close(ours)
    assert run.returncode == 0
    text = shown.decode()
    assert re.search(r"benchmark: 0/6 trainings \|", text)
    assert re.search(r"benchmark: 5/6 trainings \|[^\r\n]*about \d+ s left", text)
    assert re.search(r"(^|[\r\n])(\x1b\[A)*real, fold 0, seed 0: macro-F1 0\.\d+ \(2 of 6 trainings done", text)
