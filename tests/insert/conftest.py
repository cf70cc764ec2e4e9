"""Phantom slices with tumour masks, and generators that put tumours into them; made once."""

from __future__ import annotations

import csv
import hashlib
import importlib
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import braingan
from braingan import TrainingData
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.generation.callbacks import Callback
from braingan_insert.bank import Bank

Options = dict[str, Any]

SMALL: Options = {"base_channels": 4, "latent_size": 8}
QUICK: Options = {"backend": "insert", "size": 32, "steps": 3, "batch_size": 4, "precision": "float32",
                  "device": "cpu", "hyperparameters": SMALL}  # fmt: skip


@pytest.fixture(scope="session")
def slices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve phantom patients with four slices each, and tumour masks. Not to be written to."""
    out = tmp_path_factory.mktemp("insert") / "slices"
    braingan.phantom(out, patients=12, slices=4, size=64)
    return out


@pytest.fixture(scope="session")
def prepared(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """The same at 32 pixels."""
    return prepare_folder(slices, Preprocessing(size=32), tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def training(prepared: PreparedSet) -> TrainingData:
    """The same, as backends are handed it."""
    return TrainingData(prepared.images, prepared.labels, prepared.spec, masks=prepared.masks)


@pytest.fixture(scope="session")
def fine(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    """The same at 64 pixels."""
    found = prepare_folder(slices, Preprocessing(size=64), tmp_path_factory.mktemp("cache"))
    return TrainingData(found.images, found.labels, found.spec, masks=found.masks)


@pytest.fixture(scope="session")
def bank(training: TrainingData) -> Bank:
    """The same, sorted."""
    return Bank.of(training, "")


@pytest.fixture
def quick() -> Options:
    """Options of a training of `insert` that takes a second."""
    return dict(QUICK)


@pytest.fixture(scope="session")
def inserting(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of a trained `insert`. Not to be written to."""
    run = tmp_path_factory.mktemp("inserting") / "run"
    braingan.train(slices, run, **QUICK)
    return run


@pytest.fixture(scope="session")
def pasting(slices: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run folder of `paste`. Not to be written to."""
    run = tmp_path_factory.mktemp("pasting") / "run"
    braingan.train(slices, run, **(QUICK | {"backend": "paste", "hyperparameters": {}}))
    return run


@pytest.fixture(scope="session")
def two_kinds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Healthy slices, and slices with round tumours or rings, with masks. Not to be written to."""
    return write_slices(tmp_path_factory.mktemp("kinds") / "kinds", ("no_tumor", "round", "ring"))


@pytest.fixture(scope="session")
def write() -> Callable[..., Path]:
    """Writes slices of the classes named; `write_slices`."""
    return write_slices


def write_slices(
    data: Path, classes: tuple[str, ...], *, masked: tuple[str, ...] = ("round", "ring"), count: int = 6
) -> Path:
    """A data folder in which `round` and `ring` show what they say, other classes show nothing.

    Args:
        data: a new folder.
        classes: names.
        masked: those with masks.
        count: patients, each with one slice of each class.
    """
    random, rows = np.random.default_rng(0), []
    y, x = np.mgrid[:48, :48] - 23.5
    for name in classes:
        for number in range(count):
            away = np.hypot(x - random.integers(-6, 7), y - random.integers(-6, 7))
            tumor = {"round": away < 4, "ring": (away > 3) & (away < 6)}.get(name, away < 0)
            head = (np.hypot(x, y * 0.9) < 20) * (90 + random.normal(0, 8, (48, 48))) + 90 * tumor
            row = [f"{name}/{number}.png", name, f"P{number}", f"masks/{name}/{number}.png" if name in masked else ""]
            for file, pixels in ((row[0], np.clip(head, 0, 255)), (row[3], tumor * 255)):
                if file:
                    (data / file).parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels.astype(np.uint8)).save(data / file)
            rows.append(row)
    with (data / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file_name", "label", "patient", "mask"], *rows])
    return data


class StopAt(Callback):
    """Sends this process a real SIGTERM at a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_figures(self, step: int, figures: Mapping[str, float]) -> None:
        """At the step, the signal comes."""
        if step == self.step and "d_loss" in figures:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture
def stop_at() -> type[StopAt]:
    """Makes a callback that stops a training at a step."""
    return StopAt


@pytest.fixture
def own_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Writes a module of one's own into the current folder; gives its name, which no other has."""
    monkeypatch.chdir(tmp_path)

    def write(source: str) -> str:
        name = f"own_{hashlib.sha256(source.encode()).hexdigest()[:8]}_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(source)
        importlib.invalidate_caches()
        return name

    return write


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Tiny networks gain nothing from a second thread."""
    torch.set_num_threads(1)
