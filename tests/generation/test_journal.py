"""What `run.json` tells of a training, and what `braingan runs` makes of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import braingan
import braingan.versions
from braingan.errors import OutputError
from braingan.generation import journal, process, storage
from braingan.generation.journal import Journal
from braingan.generation.listing import RunSummary, list_runs
from braingan.generation.settings import TrainingSettings
from braingan.reporting.runs_text import runs_text

SETTINGS = {"backend": "dcgan", "size": 32, "hyperparameters": {"base_channels": 8}}
TRAINING = """
import sys, time
from pathlib import Path
from braingan.generation import journal
journal._machine = lambda device: {}  # asks torch, which takes seconds to import
noted = journal.Journal(Path(sys.argv[1]))
noted.start({"backend": "dcgan"}, 100, 0)
noted.progress(30, 20, 0.25, 5.0)
print("ready", flush=True)
time.sleep(60)
"""


def noted(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())
    return found


def change(folder: Path, **changes: Any) -> None:
    (folder / "run.json").write_text(json.dumps(noted(folder) | changes))


def started(folder: Path, *, step: int = 0) -> Journal:
    folder.mkdir(parents=True, exist_ok=True)
    book = Journal(folder)
    book.start(SETTINGS, 100, step)
    return book


def the_run(folder: Path) -> RunSummary:
    (found,) = list_runs(folder)
    return found


def test_a_run_that_lives_is_running_and_once_killed_it_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, "-c", TRAINING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout is not None
        assert training.stdout.readline() == "ready\n"
        running = the_run(tmp_path)
        training.kill()
        os.waitid(os.P_PID, training.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is a zombie as yet
        zombie = the_run(tmp_path)
        training.wait()
        gone = the_run(tmp_path)
    assert (running.state, zombie.state, gone.state) == ("running", "interrupted", "interrupted")
    assert (gone.step, gone.steps, gone.best_step, gone.best_distance) == (30, 100, 20, 0.25)


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_training(tmp_path: Path) -> None:
    started(tmp_path)
    own = noted(tmp_path)["process"]
    assert process.is_alive(own)
    assert not process.is_alive(own | {"started": own["started"] - 1})


def test_a_run_on_another_machine_is_interrupted_once_it_was_silent_for_half_an_hour(tmp_path: Path) -> None:
    started(tmp_path)
    elsewhere = noted(tmp_path)["process"] | {"machine": "another"}
    for minutes, state in ((29, "running"), (31, "interrupted")):
        heard = (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()
        change(tmp_path, process=elsewhere, updated=heard)
        assert the_run(tmp_path).state == state
    change(tmp_path, process=noted(tmp_path)["process"] | process.own_process())
    assert the_run(tmp_path).state == "running"  # silent for long, but here it can be seen that it lives


def test_where_the_system_tells_nothing_of_a_process_its_pid_alone_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_this_machine", lambda: None)
    with subprocess.Popen([sys.executable, "-c", ""]) as short:
        short.wait()
    unknown = {"started": None, "machine": None}
    assert process.is_alive({"pid": os.getpid(), **unknown})
    assert process.is_alive({"pid": short.pid, **unknown}) is False
    assert process.is_alive({"pid": 10**30, **unknown}) is False
    assert process.is_alive({"pid": 1, **unknown}) is True
    assert process.is_alive({"pid": -1, **unknown}) is None
    assert process.is_alive({}) is None


def test_a_finished_run_is_told_of_with_settings_versions_machine_and_times(tmp_path: Path) -> None:
    book = started(tmp_path)
    book.progress(50, 40, 0.5, 12.0)
    book.end("finished", 100)
    found = noted(tmp_path)
    assert list(found) == ["state", "step", "steps", "best_step", "best_distance", "message", "settings", "versions",
                           "machine", "started", "updated", "seconds", "resumed", "process"]  # fmt: skip
    assert (found["state"], found["step"], found["steps"], found["resumed"]) == ("finished", 100, 100, 0)
    assert found["settings"] == SETTINGS
    assert found["versions"]["braingan"] == braingan.versions.versions()["braingan"]
    assert set(found["machine"]) == {"cpu", "cores", "threads", "device"}
    assert found["machine"]["threads"] == 1
    assert 12 <= found["seconds"] < 13
    assert datetime.fromisoformat(found["updated"]) - datetime.now(UTC) < timedelta(minutes=1)
    assert [file.name for file in tmp_path.iterdir()] == ["run.json"]


def test_a_resumed_run_keeps_its_start_its_best_and_its_seconds(tmp_path: Path) -> None:
    started(tmp_path).progress(50, 40, 0.5, 12.0)
    change(tmp_path, started="2020-01-01T00:00:00+00:00")
    book = started(tmp_path, step=50)
    found = noted(tmp_path)
    assert (found["state"], found["step"], found["resumed"], found["seconds"]) == ("running", 50, 1, 12.0)
    assert (found["best_step"], found["best_distance"]) == (40, 0.5)
    assert found["started"] == "2020-01-01T00:00:00+00:00"
    book.progress(60, 40, 0.5, 3.0)
    assert noted(tmp_path)["seconds"] == 15.0
    started(tmp_path, step=60)
    assert noted(tmp_path)["resumed"] == 2
    started(tmp_path)
    anew = noted(tmp_path)
    assert (anew["resumed"], anew["seconds"], anew["best_step"]) == (0, 0.0, None)


def test_a_damaged_record_does_not_stop_a_resumption(tmp_path: Path) -> None:
    for text in ("[", "[]", '{"seconds": "long", "resumed": null}', "[" * 100_000):
        (tmp_path / "run.json").write_text(text)
        started(tmp_path, step=5)
        assert noted(tmp_path)["resumed"] == 1


def test_a_run_folder_names_no_computer_no_user_and_no_folder(tmp_path: Path) -> None:
    book = started(tmp_path / "of alice")
    message = f"diverged; kept {tmp_path}/of alice/checkpoints/step_5.pt, see /home/alice/x/y.py and https://a.org/b/c"
    book.end("failed", 7, f"{message}\nTraceback")
    found = noted(tmp_path / "of alice")
    assert found["message"] == "diverged; kept checkpoints/step_5.pt, see y.py and https://a.org/b/c"
    text = json.dumps(found)
    assert str(tmp_path) not in text
    assert "alice" not in text
    assert os.uname().nodename not in text
    assert str(Path.home()) not in text


def test_figures_that_are_no_numbers_are_left_out_because_json_has_none(tmp_path: Path) -> None:
    started(tmp_path).progress(50, 40, float("nan"), 1.0)
    assert (noted(tmp_path)["best_step"], noted(tmp_path)["best_distance"]) == (None, None)


def test_a_full_disk_is_warned_of_and_harms_no_training(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    book = started(tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    (tmp_path / "run" / "run.json").mkdir()
    book.progress(5, None, None, 1.0)
    book.end("failed", 6, "for another reason")
    assert [record.getMessage().startswith("cannot write") for record in caplog.records] == [True, True]
    with pytest.raises(OutputError, match="cannot write"):
        book.start(SETTINGS, 100, 0)


def test_runs_are_found_at_any_depth_and_sorted_by_name(tmp_path: Path) -> None:
    for name in ("b", "a/generators/seed1", "a/generators/seed0", ".hidden", "."):
        started(tmp_path / name).end("finished", 100)
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    assert [run.folder for run in list_runs(tmp_path)] == [".", "a/generators/seed0", "a/generators/seed1", "b"]
    assert {run.backend for run in list_runs(tmp_path)} == {"dcgan"}


def test_a_run_of_an_older_version_has_no_journal_and_is_finished(tmp_path: Path) -> None:
    config = {"settings": TrainingSettings(steps=7).to_json()}
    (tmp_path / storage.CONFIG).write_text(json.dumps(config))
    (tmp_path / storage.MODEL).touch()
    run = the_run(tmp_path)
    assert (run.backend, run.state, run.step, run.steps) == ("dcgan", "finished", 7, 7)
    assert datetime.now(UTC) - datetime.fromisoformat(run.updated) < timedelta(minutes=5)
    (tmp_path / storage.CONFIG).write_text(json.dumps(config).replace('"steps": 7', '"steps": "many"'))
    assert the_run(tmp_path).state == "damaged"


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "{}", "[" * 100_000, "\udce4", '{"state": "running"}'],
)
def test_a_record_that_cannot_be_used_is_listed_as_damaged(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_bytes(text.encode(errors="surrogateescape"))
    assert the_run(tmp_path).state == "damaged"
    assert the_run(tmp_path).message.startswith("run.json ")


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "flying"},
        {"state": 1},
        {"step": "5"},
        {"step": True},
        {"steps": None},
        {"best_step": "x"},
        {"best_distance": "x"},
        {"updated": "yesterday"},
        {"updated": "0001-01-01T00:00:00+23:00"},
        {"settings": []},
        {"settings": {"backend": 5}},
        {"process": 7},
        {"message": {}},
    ],
    ids=str,
)
def test_a_record_with_a_field_of_the_wrong_kind_is_listed_as_damaged(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    started(tmp_path)
    change(tmp_path, **changes)
    assert the_run(tmp_path).state == "damaged"


def test_a_pipe_in_place_of_the_record_is_damaged_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "run.json")
    assert the_run(tmp_path).state == "damaged"


def test_a_message_cannot_write_over_the_terminal(tmp_path: Path) -> None:
    started(tmp_path)
    change(tmp_path, message="up\x1b[2J\nand down", settings={"backend": "\x1b[31mred"})
    assert the_run(tmp_path).message == "up?[2J and down"
    assert the_run(tmp_path).backend == "?[31mred"


def test_a_folder_without_runs_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="holds no run; `braingan train DATA"):
        list_runs(tmp_path)
    with pytest.raises(OutputError, match="is not a folder; give one that holds"):
        list_runs(tmp_path / "nowhere")


def test_the_table_shows_state_steps_best_age_and_folder_and_says_why_something_failed() -> None:
    now = datetime(2030, 1, 4, tzinfo=UTC)
    found = [
        RunSummary("a", "dcgan", "running", 50, 100, 40, 0.123456, (now - timedelta(seconds=90)).isoformat()),
        RunSummary("b", "dcgan", "failed", 7, 100, updated=(now - timedelta(days=3)).isoformat(), message="diverged"),
        RunSummary("c", "", "damaged", message="run.json is not as braingan writes it"),
        RunSummary("d", "dcgan", "finished", 9, 9, updated=(now + timedelta(hours=1)).isoformat()),
    ]
    assert runs_text(found, now).splitlines() == [
        "state     step    best          last heard of   folder",
        "running   50/100  0.1235 at 40  1 min 30 s ago  a",
        "failed    7/100   -             3 days ago      b",
        "    diverged",
        "damaged   -       -             -               c",
        "    run.json is not as braingan writes it",
        "finished  9/9     -             0 s ago         d",
    ]


def test_the_kind_of_processor_is_told_where_the_system_knows_it() -> None:
    assert journal._machine("cpu")["cpu"]
    assert journal._machine("cpu")["device"] == "cpu"
