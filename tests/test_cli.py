"""The command line as a stranger meets it: real processes, exit codes, one line for an error."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from braingan.cli import app
from braingan.generation.journal import Journal

BRAINGAN = str(Path(sys.executable).parent / "braingan")


def run(*arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [BRAINGAN, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=environment)


def printed(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command prints, without the seconds that a process of its own takes to start."""
    capsys.readouterr()
    app([str(argument) for argument in arguments], standalone_mode=False)
    return capsys.readouterr().out


def test_the_whole_way_by_commands(
    tmp_path: Path, tiny_options: list[str], tiny_model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    drawn = run("phantom", "data", "--patients", 10, "--slices", 3, "--size", 48, "--json", cwd=tmp_path)
    assert json.loads(drawn.stdout)["patients"] == 10
    trained = run("train", "data", "run", *tiny_options, cwd=tmp_path)
    assert trained.stdout == "run: dcgan for no_tumor, tumor at 32 pixels\n"
    assert "training DCGAN on cpu" in trained.stderr
    sampled = printed(capsys, "sample", "run", "drawn", "--count", 2, "--class", "tumor", "--json")
    assert json.loads(sampled) == {"out": "drawn", "images": {"tumor": 2}}
    augmented = printed(capsys, "augment", "data", "out", "--ratio", 0.5, *tiny_options, "--json")
    assert sum(json.loads(augmented)["real"].values()) == 30
    options = [*tiny_options, "--classifier-steps", 2, "--seeds", 1, "--model", tiny_model]
    judged = run("benchmark", "data", "result", *options, cwd=tmp_path)
    assert judged.returncode == 0, judged.stderr
    assert "macro F1" in judged.stdout
    assert all(arm in judged.stdout for arm in ("real", "synthetic", "combined", "shuffled"))
    again = printed(capsys, "benchmark", "data", "result", *options, "--json")
    assert json.loads(again) == json.loads((tmp_path / "result" / "result.json").read_text())
    arms = ["--arm-a", "real", "--arm-b", "combined", "--metric", "accuracy", "--resamples", 50]
    compared = printed(capsys, "compare", *["result/predictions.csv"] * 2, *arms, "--json")
    accuracy = {arm["arm"]: arm["accuracy"] for arm in json.loads(again)["runs"]}
    found = json.loads(compared)
    assert [found["value_a"], found["value_b"]] == [accuracy["real"], accuracy["combined"]]
    assert found["grouped_by"] == "patient"


def test_runs_are_listed_as_a_table_and_as_json(tmp_path: Path) -> None:
    for name in ("good", "bad"):
        (tmp_path / "runs" / name).mkdir(parents=True)
    book = Journal(tmp_path / "runs" / "good")
    book.start({"backend": "dcgan"}, 100, 0)
    book.progress(60, 50, 0.25, 9.0)
    book.end("stopped", 60, "by Ctrl-C")
    (tmp_path / "runs" / "bad" / "run.json").write_text("{")
    listed = run("runs", "runs", cwd=tmp_path)
    assert listed.returncode == 0
    assert listed.stderr == ""
    lines = [line.split() for line in listed.stdout.splitlines()]
    assert [line[0] for line in lines] == ["state", "damaged", "run.json", "stopped", "by"]
    assert lines[3][:5] == ["stopped", "60/100", "0.25", "at", "50"]
    as_json = json.loads(run("runs", "runs", "--json", cwd=tmp_path).stdout)
    assert [(entry["folder"], entry["state"], entry["step"]) for entry in as_json] == [
        ("bad", "damaged", None), ("good", "stopped", 60),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "nowhere", "run"], "error: nowhere is not a folder"),
        (["augment", "data", "out", "--backend", "dcgann"], "did you mean 'dcgan'?"),
        (["sample", "data", "out"], "error: data holds no trained generator"),
        (["train", "data", "run", "--hyperparameters", "base_channels"], "NAME=VALUE works"),
        (["phantom", "out", "--patients", "1"], "error: "),
        (["runs", "nowhere"], "error: nowhere is not a folder; give one that holds what `braingan train` made"),
        (["runs", "data"], "error: data holds no run; `braingan train DATA data` makes one"),
        (["benchmark", "data", "out", "--arms", "real,combind"], "arm 'combind' is unknown; did you mean 'combined'?"),
        (["benchmark", "data", "out", "--limit", "tumor"], "error: --limit tumor was given; NAME=VALUE works"),
        (["train", "data", "run", "--log", "tensorbord"], "error: logger 'tensorbord' is unknown; did you mean"),
    ],
)
def test_an_error_is_one_line_on_stderr_with_exit_code_2(data: Path, arguments: list[str], words: str) -> None:
    done = run(*arguments, cwd=data.parent)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


def test_a_wrong_option_exits_with_code_2_and_the_usage() -> None:
    done = run("augment", "--no-such-option")
    assert done.returncode == 2
    assert "no-such-option" in done.stderr


def test_the_version_and_the_backends_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version").stdout == "0.1.0\n"
    assert run("backends").stdout.startswith("dcgan    Deep convolutional GAN")
    assert run("arms").stdout.startswith("combined              Real and synthetic images together.")
    assert {"real", "shuffled"} <= {entry["name"] for entry in json.loads(printed(capsys, "arms", "--json"))}
    listed = json.loads(printed(capsys, "backends", "--json"))
    assert {entry["name"] for entry in listed} >= {"dcgan", "wgan", "wgan-gp"}


def test_a_defect_keeps_its_traceback(tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import braingan.api\n\n\ndef broken(*args, **kwargs):\n    raise ZeroDivisionError('a defect')\n\n\n"
        "braingan.api.phantom.__code__ = (lambda out, *, patients=40, seed=0, slices=8, size=128: 1 // 0).__code__\n"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [BRAINGAN, "phantom", str(tmp_path / "out")], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ZeroDivisionError" in done.stderr
