"""Whoever wants to be told of a training is told, and cannot harm it."""

from __future__ import annotations

import copy
import logging
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import braingan
from braingan.errors import SettingsError
from braingan.generation import callbacks
from braingan.generation.callbacks import Callback, Callbacks, list_loggers, make_callbacks

FACTS = {
    "settings": {"backend": "dcgan", "hyperparameters": {"base_channels": 8}},
    "versions": {"torch": "2.9"},
    "step": 0,
}
FIGURES = {"d_loss": 0.5, "g_loss": 2.25, "steps_per_second": 3.0}
# What newer releases of MLflow's own dependencies say to it.
SILENT = ["ignore::DeprecationWarning", "ignore::ResourceWarning"]


class Listener(Callback):
    """Keeps what it is told; a third party's logger."""

    def __init__(self) -> None:
        self.heard: list[tuple[Any, ...]] = []

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.heard.append(("start", folder, facts))

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        self.heard.append(("figures", step, figures))

    def on_samples(self, step: int, picture: Path) -> None:
        self.heard.append(("samples", step, picture))

    def on_end(self, state: str, step: int) -> None:
        self.heard.append(("end", state, step))


class Broken(Listener):
    """Fails at the first figures."""

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        super().on_figures(step, figures)
        raise RuntimeError("the server\nis down")


class Careless(Callback):
    """Changes what it is given, and draws at random."""

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        facts["settings"]["hyperparameters"].clear()
        torch.manual_seed(0)

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        assert isinstance(figures, dict)
        figures.clear()
        torch.rand(3)


def tell_everything(told: Callback, folder: Path, *, step: int = 0) -> None:
    """A whole training of two reports."""
    picture = folder / "samples" / "step_000010.png"
    picture.parent.mkdir(exist_ok=True)
    Image.new("L", (16, 8), 200).save(picture)
    told.on_start(folder, copy.deepcopy(FACTS) | {"step": step})
    told.on_figures(step + 5, dict(FIGURES))
    told.on_figures(step + 10, FIGURES | {"distance": 0.125})
    told.on_samples(step + 10, picture)
    told.on_end("finished", step + 10)


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Loggers registered by hand, forgotten after the test."""
    known: dict[str, Any] = {}
    monkeypatch.setattr(callbacks.LOGGERS, "registered", known)
    return known


def test_everybody_is_told_everything(tmp_path: Path) -> None:
    one, other = Listener(), Listener()
    tell_everything(Callbacks([one, Callback(), other]), tmp_path)
    assert one.heard == other.heard
    assert [what for what, *_ in one.heard] == ["start", "figures", "figures", "samples", "end"]
    assert one.heard[0] == ("start", tmp_path, FACTS)
    assert one.heard[2] == ("figures", 10, FIGURES | {"distance": 0.125})


def test_one_that_fails_is_named_once_and_left_out_from_then_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken, other = Broken(), Listener()
    tell_everything(Callbacks([broken, other]), tmp_path)
    assert [what for what, *_ in broken.heard] == ["start", "figures"]
    assert len(other.heard) == 5
    assert [record.getMessage() for record in caplog.records] == [
        "the logger Broken failed and is left out of the rest of this run: RuntimeError: the server is down"
    ]
    assert caplog.records[0].levelno == logging.WARNING


def test_ctrl_c_in_a_logger_stops_the_training_as_anywhere_else() -> None:
    class Stopped(Callback):
        def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Callbacks([Stopped()]).on_figures(1, FIGURES)


def test_a_logger_changes_neither_what_others_see_nor_what_the_training_draws(tmp_path: Path) -> None:
    other = Listener()
    before = torch.random.get_rng_state()
    tell_everything(Callbacks([Careless(), other]), tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert other.heard[0][2] == FACTS
    assert other.heard[1][2] == FIGURES


def test_an_unknown_logger_is_refused_with_the_name_that_was_meant(registered: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=r"^logger 'tensorbord' is unknown; did you mean 'tensorboard'\?$"):
        make_callbacks(["tensorbord"])


@pytest.mark.parametrize(("name", "package"), [("tensorboard", "tensorboard"), ("mlflow", "mlflow")])
def test_a_missing_package_is_named_with_what_to_install(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [module for module in sys.modules if module.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=rf"^--log {name} needs the package {package}; "
                                            rf"pip install 'braingan\[{name}\]'$"):  # fmt: skip
        make_callbacks([name])


def test_a_logger_of_ones_own_is_made_once_by_its_name(registered: dict[str, Any]) -> None:
    assert braingan.register_logger("listener")(Listener) is Listener
    (made,) = make_callbacks(["listener", "listener"])
    assert isinstance(made, Listener)
    assert make_callbacks([]) == ()


def test_a_logger_that_cannot_be_made_or_is_none_is_refused_before_training(registered: dict[str, Any]) -> None:
    def failing() -> Callback:
        raise RuntimeError("no licence\nfound")

    registered |= {"failing": failing, "none": dict}
    with pytest.raises(SettingsError, match=r"^--log failing cannot be used: RuntimeError: no licence found$"):
        make_callbacks(["failing"])
    with pytest.raises(SettingsError, match=r"^--log none gives a dict; a subclass of Callback works$"):
        make_callbacks(["none"])


def test_the_loggers_that_come_with_braingan_are_entry_points_that_import_nothing_heavy() -> None:
    assert {info.name: info.error for info in list_loggers()} == {"mlflow": None, "tensorboard": None}
    code = (
        "import sys\nfrom braingan.generation.callbacks import list_loggers\nlist_loggers()\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'tensorboard', 'mlflow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell_everything(Callbacks(make_callbacks(["tensorboard"])), tmp_path)
    seen = events.EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert [(event.step, event.value) for event in seen.Scalars("g_loss")] == [(5, 2.25), (10, 2.25)]
    assert [(event.step, event.value) for event in seen.Scalars("distance")] == [(10, 0.125)]
    (image,) = seen.Images("samples")
    assert (image.step, image.width, image.height) == (10, 16, 8)
    assert b"base_channels" in seen.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]
    assert b"finished" in seen.Tensors("state/text_summary")[0].tensor_proto.string_val[0]


def test_steps_that_are_done_again_after_a_stop_are_shown_once(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (killed,) = make_callbacks(["tensorboard"])
    killed.on_start(tmp_path, FACTS)
    for step in (5, 10, 15):
        killed.on_figures(step, FIGURES)
    tell_everything(Callbacks(make_callbacks(["tensorboard"])), tmp_path, step=5)
    seen = events.EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert [event.step for event in seen.Scalars("d_loss")] == [5, 10, 15]


def test_files_of_events_are_not_called_after_the_computer(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (killed,) = make_callbacks(["tensorboard"])
    killed.on_start(tmp_path, FACTS)
    assert any(socket.gethostname() in file.name for file in (tmp_path / "tensorboard").iterdir())
    tell_everything(Callbacks(make_callbacks(["tensorboard"])), tmp_path, step=5)
    names = [file.name for file in (tmp_path / "tensorboard").iterdir()]
    assert len(names) == 2
    assert not any(socket.gethostname() in name for name in names)


def test_a_training_that_starts_anew_shows_nothing_of_the_one_before(tmp_path: Path) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    (killed,) = make_callbacks(["tensorboard"])
    killed.on_start(tmp_path, FACTS)
    killed.on_figures(3, FIGURES)
    tell_everything(Callbacks(make_callbacks(["tensorboard"])), tmp_path)
    assert len(list((tmp_path / "tensorboard").iterdir())) == 1
    seen = events.EventAccumulator(str(tmp_path / "tensorboard"), {"scalars": 0}).Reload()
    assert [event.step for event in seen.Scalars("d_loss")] == [5, 10]


@pytest.mark.filterwarnings(*SILENT)
def test_mlflow_reads_back_what_was_logged_and_a_resumed_run_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("alembic")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "a run #1 at 5%20"
    (folder / "mlflow").mkdir(parents=True)
    (folder / "mlflow" / "mlflow.db").write_text("half-made by a killed process")
    tell_everything(Callbacks(make_callbacks(["mlflow"])), folder)
    (told,) = make_callbacks(["mlflow"])
    tell_everything(told, folder, step=10)
    told.on_end("stopped", 20)
    assert not (tmp_path / "mlflow.db").exists()
    assert not (tmp_path / "mlruns").exists()
    client = mlflow.MlflowClient(tracking_uri=told._address(folder / "mlflow"))  # type: ignore[attr-defined]
    (run,) = client.search_runs([client.get_experiment_by_name("braingan").experiment_id])
    assert run.info.run_id == (folder / "mlflow" / "run_id.txt").read_text().strip()
    assert (run.info.status, run.info.run_name, run.info.user_id) == ("KILLED", folder.name, "unknown")
    assert run.data.params == {"backend": "dcgan", "hyperparameters.base_channels": "8"}
    assert run.data.tags["version.torch"] == "2.9"
    history = client.get_metric_history(run.info.run_id, "g_loss")
    assert [(metric.step, metric.value) for metric in history] == [(step, 2.25) for step in (5, 10, 15, 20)]
    assert [file.path for file in client.list_artifacts(run.info.run_id, "samples")] == ["samples/step_000010.png"]
    assert (folder / "mlflow" / "artifacts").is_dir()


@pytest.mark.filterwarnings(*SILENT)
def test_mlflow_takes_the_tracking_address_that_is_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nowhere://at.all")
    monkeypatch.setitem(sys.modules, "alembic", None)  # only the store in the folder needs it
    (told,) = make_callbacks(["mlflow"])
    with pytest.raises(Exception, match="nowhere"):
        told.on_start(tmp_path, FACTS)
