"""Trainings on a real Dask cluster: a scheduler and workers as processes of their own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import braingan
from braingan import SettingsError
from braingan.experiment import engines

DASK = str(Path(sys.executable).parent / "dask")
BRAINGAN = str(Path(sys.executable).parent / "braingan")

Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a process in a folder of its own; what is left of it in the end is killed."""
    started = []

    def begin(*words: str, log: str) -> subprocess.Popen[bytes]:
        with (tmp_path / log).open("wb") as file:
            process = subprocess.Popen(words, cwd=tmp_path, stdout=file, stderr=file)
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def scheduler(start: Start) -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    start(DASK, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", log="scheduler.log")
    wait_until(lambda: answers(port))
    return f"tcp://127.0.0.1:{port}"


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def wait_until(there: Callable[[], Any], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.05)


def start_worker(start: Start, scheduler: str, name: str, *, threads: int = 1) -> subprocess.Popen[bytes]:
    options = ["--nthreads", str(threads), "--no-nanny", "--no-dashboard", "--name", name, "--local-directory", name]
    return start(DASK, "worker", scheduler, *options, log=f"{name}.log")


@pytest.mark.slow
def test_a_cluster_that_cannot_serve_is_refused_before_any_training(
    data: Path, tmp_path: Path, scheduler: str, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "PATIENCE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(SettingsError, match=f"nobody answers as dask at {address}"):
            braingan.benchmark(data, tmp_path / "out", engine="dask", address=address)
    with pytest.raises(SettingsError, match=f"at {scheduler} has no workers; `dask worker {scheduler} --nthreads 1`"):
        braingan.benchmark(data, tmp_path / "out", engine="dask", address=scheduler)
    monkeypatch.setattr(engines, "PATIENCE", 60.0)
    start_worker(start, scheduler, "wide", threads=2)
    with pytest.raises(SettingsError, match="runs 2 tasks in one process, and trainings there would share"):
        braingan.benchmark(data, tmp_path / "out", engine="dask", address=scheduler)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_benchmark_on_dask_survives_the_death_of_a_worker(
    data: Path, tmp_path: Path, scheduler: str, start: Start, tiny_options: list[str], tiny_model: str
) -> None:
    command = [BRAINGAN, "benchmark", str(data), "out", *tiny_options, "--model", tiny_model, "--seeds", "2",
               "--generators", "2", "--arms", "real,synthetic,combined",
               "--classifier-steps", "200", "--json"]  # fmt: skip
    workers = {name: start_worker(start, scheduler, name) for name in ("first", "second")}
    asked = [*command, "--engine", "dask", "--address", scheduler]
    done = start(*asked, log="benchmark.log")

    def told(name: str) -> str:
        return (tmp_path / f"{name}.log").read_text()

    wait_until(
        lambda: re.search(r"^real, fold 0, seed \d: macro", told("benchmark"), re.MULTILINE) or done.poll() is not None
    )
    wait_until(lambda: (tmp_path / "out" / "synthetic").exists() or done.poll() is not None)
    assert done.poll() is None, told("benchmark")  # in the middle
    workers["first"].send_signal(signal.SIGKILL)
    assert done.wait(300) == 0, told("benchmark")
    assert workers["first"].poll() == -signal.SIGKILL
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(result["runs"]) == 6
    alone = subprocess.run([*command[:3], "alone", *command[4:]], cwd=tmp_path, capture_output=True, check=True,
                           env=os.environ | {"OMP_NUM_THREADS": "1"})  # fmt: skip
    assert [run["macro"] for run in json.loads(alone.stdout)["runs"]] == [run["macro"] for run in result["runs"]]
