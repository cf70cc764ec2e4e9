"""The loggers that come with braingan. Their packages are extras, imported when a logger is asked for."""

from __future__ import annotations

import importlib
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from braingan.errors import SettingsError
from braingan.generation.callbacks import Callback

STATUS = {"finished": "FINISHED", "stopped": "KILLED", "failed": "FAILED"}  # as MLflow has them


def _package(name: str, logger: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        needed = (error.name or name).partition(".")[0]
        raise SettingsError(f"--log {logger} needs the package {needed}; pip install 'braingan[{logger}]'") from error


class TensorBoard(Callback):
    """Losses, measures, samples and settings for TensorBoard, in the folder `tensorboard` of the run."""

    def __init__(self) -> None:
        self._make = _package("torch.utils.tensorboard", "tensorboard").SummaryWriter
        self._writer: Any = None

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """What was written of steps that are done again is hidden, and removed where all of them are."""
        self._folder, step = folder / "tensorboard", int(facts.get("step", 0))
        if not step:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._writer = self._make(str(self._folder), purge_step=step + 1)
        for name in ("settings", "versions"):
            text = json.dumps(facts.get(name, {}), indent=1, default=str)
            self._writer.add_text(name, f"```\n{text}\n```", step)
        self._writer.flush()

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A curve for each figure."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # or they would be seen two minutes later

    def on_samples(self, step: int, picture: Path) -> None:
        """The picture under `samples`."""
        import numpy as np
        from PIL import Image

        with Image.open(picture) as image:
            self._writer.add_image("samples", np.asarray(image.convert("RGB")), step, dataformats="HWC")
        self._writer.flush()

    def on_end(self, state: str, step: int) -> None:
        """Close the file."""
        self._writer.add_text("state", state, step)
        self._writer.close()
        self._leave_out_the_host()

    def _leave_out_the_host(self) -> None:
        """Files of events are called after the computer, and run folders get shared."""
        for file in self._folder.glob("events.out.tfevents.*"):
            found = re.fullmatch(r"(events\.out\.tfevents\.\d+)\..+(\.\d+\.\d+)", file.name)
            if found:
                file.replace(file.with_name(found[1] + found[2]))


class MLflow(Callback):
    """The same for MLflow: where its tracking address says, or else into the folder `mlflow` of the run."""

    def __init__(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # braingan calls nobody unless it is told to
        self._mlflow = _package("mlflow", "mlflow")
        if not self._mlflow.is_tracking_uri_set():
            _package("sqlalchemy", "mlflow")  # of the store; the small mlflow comes without
            _package("alembic", "mlflow")
        self._client: Any = None

    def on_start(self, folder: Path, facts: Mapping[str, Any]) -> None:
        """A new run of the experiment `braingan`, or the one before a stop."""
        home = folder / "mlflow"
        note = home / "run_id.txt"
        goes_on = facts.get("step") and note.exists()
        if not goes_on:
            shutil.rmtree(home, ignore_errors=True)  # of a training that did nothing; a database may be half-made
        home.mkdir(exist_ok=True)
        self._client = self._mlflow.MlflowClient(tracking_uri=self._address(home))
        if goes_on:
            self._run = note.read_text(encoding="utf-8").strip()
            self._client.update_run(self._run, status="RUNNING")
            return
        self._run = self._new_run(folder, home)
        note.write_text(self._run + "\n", encoding="utf-8")
        kinds = self._mlflow.entities
        self._client.log_batch(
            self._run,
            params=[kinds.Param(name, value) for name, value in _flat(facts.get("settings", {})).items()],
            tags=[kinds.RunTag(f"version.{name}", value) for name, value in _flat(facts.get("versions", {})).items()],
        )

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """A metric for each figure."""
        metric, now = self._mlflow.entities.Metric, int(time.time() * 1000)
        self._client.log_batch(self._run, metrics=[metric(name, value, now, step) for name, value in figures.items()])

    def on_samples(self, step: int, picture: Path) -> None:
        """The picture as an artifact under `samples`."""
        self._client.log_artifact(self._run, str(picture), "samples")

    def on_end(self, state: str, step: int) -> None:
        """The status of the run."""
        self._client.set_terminated(self._run, STATUS[state])

    def _address(self, home: Path) -> str | None:
        """None for MLflow's own; a store of files would be refused by newer versions, so it is a database."""
        if self._mlflow.is_tracking_uri_set():
            return None
        for chatty in ("mlflow.store.db.utils", "alembic"):  # on every table that they make
            logging.getLogger(chatty).setLevel(logging.WARNING)
        safe = home.resolve().as_posix().replace("%", "%25").replace("?", "%3F")  # all that its addresses cannot hold
        return f"sqlite:///{safe}/mlflow.db"

    def _new_run(self, folder: Path, home: Path) -> str:
        known = self._client.get_experiment_by_name("braingan")
        if known is None:
            own = None if self._mlflow.is_tracking_uri_set() else (home / "artifacts").resolve().as_uri()
            experiment = self._client.create_experiment("braingan", artifact_location=own)
        else:
            experiment = known.experiment_id
        made: str = self._client.create_run(experiment, run_name=folder.resolve().name).info.run_id
        return made


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings under names with dots."""
    flat: dict[str, str] = {}
    for name, entry in value.items():
        flat |= _flat(entry, f"{prefix}{name}.") if isinstance(entry, Mapping) else {f"{prefix}{name}": str(entry)}
    return flat
