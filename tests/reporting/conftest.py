"""A result made of drawn predictions, put together by the benchmark's own analysis, and a folder that holds it."""

import csv
import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from braingan.data.folds import Fold, Folds
from braingan.data.split import Split, SplitFile
from braingan.evaluation.scores import score
from braingan.experiment.analysis import analyse
from braingan.experiment.result import BenchmarkResult
from braingan.experiment.settings import BenchmarkSettings

RIGHT = {"real": 0.78, "synthetic": 0.55, "combined": 0.81}  # share of the images that an arm gets right
PARTS = {"train": 6, "val": 2, "test": 4}  # patients
Maker = Callable[..., BenchmarkResult]


def files_of(part: str, classes: Sequence[str], patients: int) -> tuple[SplitFile, ...]:
    return tuple(
        SplitFile(f"{name}/{part}{patient}_{number}.png", f"{patient}{number}".ljust(64, "0"), name, f"{part}{patient}")
        for patient in range(patients)
        for name in classes
        for number in range(2)
    )


def folds_of(classes: Sequence[str], count: int) -> Folds:
    """As many folds as are asked for: training and test change places."""
    parts = {name: files_of(name, classes, patients) for name, patients in PARTS.items()}
    turned = parts | {"train": parts["test"], "test": parts["train"]}
    splits = [Split(**own, grouped_by="patient", seed=0) for own in (parts, turned)]
    return Folds(tuple(Fold(splits[number % 2]) for number in range(count)))


def said_of(files: Sequence[SplitFile], classes: Sequence[str], arm: str, seed: int) -> list[list[float]]:
    """Probabilities of a classifier. The first test image is fixed by synthetic images, the second one is broken."""
    draw, rows = random.Random(f"{arm} {seed}"), []
    for file in files:
        right = draw.random() < RIGHT[arm]
        if file.file.endswith("/test0_0.png") and file.label == classes[0]:
            right = arm == "combined"
        if file.file.endswith("/test0_1.png") and file.label == classes[0]:
            right = arm == "real"
        sure = draw.uniform(0.55, 0.95)
        label = classes.index(file.label)
        told = label if right else (label + 1) % len(classes)
        rows.append([sure if number == told else (1 - sure) / (len(classes) - 1) for number in range(len(classes))])
    return rows


def cell_of(fold: Split, number: int, classes: Sequence[str], arm: str, seed: int) -> dict[str, Any]:
    said = {part: said_of(getattr(fold, part), classes, arm, seed) for part in ("test", "val")}
    scores = score(np.array([classes.index(file.label) for file in fold.test]), np.array(said["test"]))
    real, synthetic = 0 if arm == "synthetic" else 48, 0 if arm == "real" else 24
    seen = {"real": [80 if real else 0] * len(classes), "synthetic": [40 if synthetic else 0] * len(classes)}
    return {
        "arm": arm, "ratio": 0.5 if synthetic else 0.0, "fold": number, "seed": seed,
        "generator": 0 if synthetic else None, "n_real": real, "n_synthetic": synthetic, "seen": seen,
        "per_class": scores.per_class(classes), "macro": scores.macro(), "accuracy": scores.accuracy, "seconds": 1.5,
        "predictions": said,
    }  # fmt: skip


@functools.cache
def drawn(classes: tuple[str, ...], seeds: int, folds: int) -> BenchmarkResult:
    settings = BenchmarkSettings(arms=tuple(RIGHT), ratio=(0.5,), folds=folds, seeds=seeds)
    splits = folds_of(classes, folds)
    cells = {
        (arm, number, seed): cell_of(fold.split, number, classes, arm, seed)
        for number, fold in enumerate(splits.folds)
        for arm in RIGHT
        for seed in range(seeds)
    }
    labels = {"real": ("real", 0.0), "synthetic": ("synthetic", 0.5), "combined": ("combined", 0.5)}
    found, failed = analyse(splits, list(classes), settings, cells, labels, repeats=1)
    losses = [{"step": step, "d_loss": 1 / step, "g_loss": step / 9} for step in (1, 2, 3)]
    return BenchmarkResult(
        settings=settings.to_json() | {"data": "scans", "test": None, "external": None, "generator": None},
        versions={"python": "3.12", "braingan": "0.2.0", "machine": "Linux"},
        splits=splits.to_json(),
        classes=list(classes),
        preprocessing={"size": 64, "crop": True, "percentiles": [1.0, 99.0]},
        runs=[{key: value for key, value in cell.items() if key != "predictions"} for cell in cells.values()],
        generators=[{"fold": fold, "seed": 0, "sha256": "ab" * 32, "seconds": 60.0, "losses": losses}
                    for fold in range(folds)],
        intensity={"real": [1 / 64] * 64, "synthetic": [0.5] + [0.5 / 63] * 63},
        bad_files=[],
        notes=["Four test patients are few.", "The scanner changed half-way.", *failed],
        seconds=200.0,
        **found,
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_result() -> Maker:
    """Makes a result; fields may be replaced."""

    def make(
        classes: Sequence[str] = ("healthy", "tumor"), seeds: int = 3, folds: int = 1, **changed: Any
    ) -> BenchmarkResult:
        return replace(drawn(tuple(classes), seeds, folds), **changed)

    return make


@pytest.fixture(scope="session")
def alike_result(make_result: Maker) -> BenchmarkResult:
    """One in which the chosen side is compared with the arm that has the same augmentation, too."""
    primary, *others = make_result().comparisons
    alike = primary | {"family": "exploratory", "primary": False, "baseline": "real+classic", "difference": -0.0123,
                       "low": -0.031, "high": 0.0, "verdict": "exploratory"}  # fmt: skip
    return make_result(comparisons=[primary, alike, *others])


@pytest.fixture(scope="session")
def make_out() -> Callable[[BenchmarkResult, Path], Path]:
    """Writes a result into a folder, with the predictions that it came from and pictures."""

    def write(result: BenchmarkResult, out: Path) -> Path:
        out.mkdir(parents=True, exist_ok=True)
        result.save(out / "result.json")
        splits = Folds.from_json(result.splits)
        with (out / "predictions.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            names = [f"p_{name}" for name in result.classes]
            writer.writerow(["arm", "run", "fold", "seed", "file", "patient", "target", *names])
            for run in result.runs:
                files = splits[run["fold"]].split.test
                said = said_of(files, result.classes, run["arm"], run["seed"])
                for own, row in zip(files, said, strict=True):
                    named = [run["arm"], 0, run["fold"], run["seed"], own.file, own.group, own.label]
                    writer.writerow([*named, *row])
        for shade, name in enumerate(("real", "synthetic")):
            (out / "pictures").mkdir(exist_ok=True)
            Image.new("L", (16, 8), 90 * shade).save(out / "pictures" / f"{name}.png")
        return out

    return write
