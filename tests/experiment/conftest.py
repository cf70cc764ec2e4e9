"""Benchmarks as small as they can be, and one of everything that many tests look at."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

import braingan
from braingan import BenchmarkResult, Generator, TrainingData, TrainingRun, register_backend
from braingan.data.folds import Fold, Folds
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import split_by_group
from braingan.experiment.arms import ARMS
from braingan.experiment.inputs import CellInputs
from braingan.generation import registry
from braingan_dcgan import DCGAN

Options = dict[str, Any]
Handed = list[set[str]]

SMALL: Options = {"size": 32, "steps": 2, "batch_size": 4, "hyperparameters": {"base_channels": 4, "latent_size": 8}}


@pytest.fixture
def quick(tiny: Options, tiny_model: str) -> Options:
    """A benchmark of two seconds: three arms, two seeds, and a generator for each."""
    arms = ["real", "synthetic", "combined"]
    return tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 2, "generators": 2, "arms": arms,
                   "inspection": False}  # fmt: skip


@pytest.fixture
def single(quick: Options) -> Options:
    """The same with one seed."""
    return quick | {"seeds": 1, "generators": 1}


@pytest.fixture
def real_only(quick: Options) -> Options:
    """A benchmark without generators, of one classifier."""
    return quick | {"seeds": 1, "generators": 1, "arms": ["real"]}


@pytest.fixture
def inputs(data: Path, tmp_path: Path) -> CellInputs:
    """What the cells of a single split read."""
    prepared = prepare_folder(data, Preprocessing(size=32), tmp_path / "cache")
    return CellInputs(prepared, Folds((Fold(split_by_group(prepared)),)))


@pytest.fixture
def spy() -> Iterator[Handed]:
    """A backend that notes the hashes of the images that each training is handed."""
    handed: Handed = []

    @dataclass(frozen=True)
    class Spy(DCGAN):
        """Hashes what it is handed."""

        noted: ClassVar[Handed] = handed

        def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
            self.noted.append({hash_of(image.numpy()) for image in data.images})
            return super().fit(data, run)

    before = dict(registry.BACKENDS.registered)
    register_backend("spy")(Spy)
    yield handed
    registry.BACKENDS.registered.clear()
    registry.BACKENDS.registered.update(before)


@pytest.fixture
def own_arms() -> Iterator[None]:
    """What a test registers is forgotten after it."""
    before = dict(ARMS.registered)
    yield
    ARMS.registered.clear()
    ARMS.registered.update(before)


def hash_of(pixels: np.ndarray) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


@pytest.fixture
def hashes_of(tmp_path: Path) -> Callable[[Path, list[dict[str, str]]], set[str]]:
    """Hashes of the pixels that backends would be handed of some files of a data folder."""

    def hashes(data: Path, files: list[dict[str, str]]) -> set[str]:
        prepared = prepare_folder(data, Preprocessing(size=32), tmp_path / "cache of hashes")
        at = {record.file: place for place, record in enumerate(prepared.source.records)}
        return {hash_of(prepared.images[at[file["file"]]].numpy()) for file in files}

    return hashes


def write_heads(folder: Path, patients: int, slices: int, seed: int) -> Path:
    """Bright and less bright squares in noise, and whose they are; two classes a patient."""
    random, rows = np.random.default_rng(seed), []
    for patient in range(patients):
        for label in ("no_tumor", "tumor"):
            for number in range(slices):
                pixels = random.integers(40, 120, (40, 40))
                pixels[10:20, 8 + patient : 20 + patient] += 100 if label == "tumor" else 20
                file = folder / label / f"P{patient:02d}_{number}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels.astype(np.uint8)).save(file)
                rows.append([f"{label}/{file.name}", label, f"{folder.name}-P{patient:02d}"])
    with (folder / "metadata.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["file_name", "label", "patient"], *rows])
    return folder


@dataclass(frozen=True)
class Study:
    """A finished benchmark: two folds dealt twice, two seeds, two ratios, a limit, and another site's images.

    Attributes:
        out: its folder. Not to be written to.
        result: what it found.
        data: its images.
        external: the other site's.
    """

    out: Path
    result: BenchmarkResult
    data: Path
    external: Path

    def rows(self, name: str = "predictions.csv") -> list[dict[str, str]]:
        """Of a file of predictions."""
        return list(csv.DictReader((self.out / name).read_text().splitlines()))

    def cells(self) -> dict[str, dict[str, Any]]:
        """What the files of the cells say, by their names."""
        return {path.stem: json.loads(path.read_text()) for path in (self.out / "cells").iterdir()}

    def prepared(self) -> PreparedSet:
        """The images as classifiers see them."""
        return prepare_folder(self.data, Preprocessing(size=32), self.out / "cache")


ARMS_OF_STUDY = (
    "real", "real+classic", "combined", "combined+classic", "shuffled", "duplicates", "oracle-same-patients",
)  # fmt: skip


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Made once."""
    base = tmp_path_factory.mktemp("study")
    (base / "study_models.py").write_text(
        "from torch import nn\n\n\ndef tiny(num_classes, in_chans):\n"
        "    return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(64 * in_chans, num_classes))\n"
    )
    data, external = write_heads(base / "data", 10, 2, seed=0), write_heads(base / "elsewhere", 2, 2, seed=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        result = braingan.benchmark(
            data, base / "out", **SMALL, model="study_models:tiny", classifier_steps=4, folds=2, repeats=2, seeds=2,
            generators=1, ratio=[0.5, 1], arms=ARMS_OF_STUDY, limit={"tumor": 5}, external=external,
            precision="float32", classifier_precision="float32",
        )  # fmt: skip
    return Study(base / "out", result, data, external)
