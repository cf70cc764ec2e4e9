"""Real files and real components, as small as they can be."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import braingan

os.environ["OMP_NUM_THREADS"] = "1"  # for subprocesses: tiny networks gain nothing from a second thread
torch.set_num_threads(1)

WriteData = Callable[..., Path]
PartOf = Callable[[Path, int], Path]

TINY = {"size": 32, "steps": 2, "batch_size": 4, "hyperparameters": {"base_channels": 4, "latent_size": 8}}
TINY_OPTIONS = [
    *("--size", "32", "--steps", "2", "--batch-size", "4"),
    *("--hyperparameters", "base_channels=4", "--hyperparameters", "latent_size=8"),
]


def draw_head(random: np.random.Generator, size: int, *, tumor: bool) -> np.ndarray:
    """A grey disc with texture, and a bright spot where there is a tumour: (size, size) uint8."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    head = (np.hypot(x, y * 0.9) < 0.4) * (90 + random.normal(0, 12, (size, size)))
    if tumor:
        left, top = random.uniform(-0.15, 0.15, 2)
        head += (np.hypot(x - left, y - top) < 0.1) * 120
    return np.clip(head + random.normal(0, 2, (size, size)), 0, 255).astype(np.uint8)


@pytest.fixture
def write_data(tmp_path: Path) -> WriteData:
    """Write a small data folder: `write_data("data", patients=10, slices=2)`.

    Every patient has slices of both classes; without `metadata` there are class folders only.
    """

    def write(name: str, *, patients: int = 10, slices: int = 2, seed: int = 0, metadata: bool = True) -> Path:
        data, random, rows = tmp_path / name, np.random.default_rng(seed), []
        for patient in range(patients):
            for label in ("no_tumor", "tumor"):
                for number in range(slices):
                    file = data / label / f"P{patient:02d}_{label}_{number}.png"
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(draw_head(random, 40, tumor=label == "tumor")).save(file)
                    rows.append([file.relative_to(data).as_posix(), label, f"{name}-P{patient:02d}"])
        if metadata:
            with (data / "metadata.csv").open("w", newline="") as stream:
                csv.writer(stream).writerows([["file_name", "label", "patient"], *rows])
        return data

    return write


@pytest.fixture
def data(write_data: WriteData) -> Path:
    """Ten patients with two slices of each class."""
    return write_data("data")


@pytest.fixture
def tiny() -> dict[str, object]:
    """Options of `train` that take a second."""
    return dict(TINY)


@pytest.fixture
def tiny_options() -> list[str]:
    """The same for the command line."""
    return list(TINY_OPTIONS)


@pytest.fixture
def tiny_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A classifier of one's own, in a module of one's own, in the current folder."""
    (tmp_path / "my_models.py").write_text(
        "from torch import nn\n\n\n"
        "def tiny(num_classes, in_chans):\n"
        "    return nn.Sequential(nn.Conv2d(in_chans, 8, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(),\n"
        "                         nn.Linear(128, num_classes))\n"
    )
    monkeypatch.chdir(tmp_path)
    return "my_models:tiny"


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantom heads, as like real ones as can be drawn: 12 patients with two slices. Not to be written to."""
    out = tmp_path_factory.mktemp("phantom") / "heads"
    braingan.phantom(out, patients=12, slices=2, size=128)
    return out


@pytest.fixture(scope="session")
def part_of(tmp_path_factory: pytest.TempPathFactory) -> PartOf:
    """A smaller copy of a data folder: every so-manieth patient, or file of each class where no patients are known.

    Made once. Not to be written to; with every first it is the folder itself.
    """

    @cache
    def part(data: Path, every: int) -> Path:
        if every == 1:
            return data
        out = tmp_path_factory.mktemp("part") / data.name
        for file in _some_patients(data, out, every) if (data / "metadata.csv").is_file() else _some_files(data, every):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(data / file, out / file)
        return out

    return part


def _some_patients(data: Path, out: Path, every: int) -> list[str]:
    """Files of every so-manieth patient, whose rows are written."""
    with (data / "metadata.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    chosen = set(sorted({row["patient"] for row in rows})[::every])
    kept = [row for row in rows if row["patient"] in chosen]
    out.mkdir()
    with (out / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(kept)
    return [file for row in kept for file in (row["file_name"], row.get("mask", "")) if file]


def _some_files(data: Path, every: int) -> list[str]:
    folders = [path for path in sorted(data.rglob("*")) if path.is_dir()]
    files = [sorted(path for path in folder.iterdir() if path.is_file())[::every] for folder in folders]
    return [path.relative_to(data).as_posix() for some in files for path in some]
