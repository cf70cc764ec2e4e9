import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from braingan.experiment.result import BenchmarkResult, summarise

LEVELS = {"real": 0.78, "synthetic": 0.55, "combined": 0.81}
Maker = Callable[..., BenchmarkResult]


def per_class(classes: Sequence[str], level: float, draw: random.Random) -> dict[str, dict[str, Any]]:
    measures = ("precision", "recall", "f1")
    return {name: {key: level + draw.uniform(-0.05, 0.05) for key in measures} | {"support": 8} for name in classes}


def runs_of(classes: Sequence[str], seeds: int) -> list[dict[str, Any]]:
    draw, runs = random.Random(0), []
    for seed in range(seeds):
        for arm, level in LEVELS.items():
            by_class = per_class(classes, level, draw)
            macro = {key: sum(by_class[name][key] for name in classes) / len(classes) for key in by_class[classes[0]]}
            macro.pop("support")
            images = {"n_real": 0 if arm == "synthetic" else 48, "n_synthetic": 0 if arm == "real" else 24}
            scores = {"per_class": by_class, "macro": macro, "accuracy": level, "seconds": 1.5}
            runs.append({"arm": arm, "fold": 0, "seed": seed} | images | scores)
    return runs


def files_of(part: str, classes: Sequence[str], patients: int) -> list[dict[str, str]]:
    return [
        {"file": f"{name}/{part}{patient}_{number}.png", "sha256": "0" * 64, "label": name, "group": f"{part}{patient}"}
        for patient in range(patients)
        for name in classes
        for number in range(2)
    ]


@pytest.fixture(scope="session")
def make_result() -> Maker:
    """A benchmark result, written by hand."""

    def make(classes: Sequence[str] = ("healthy", "tumor"), seeds: int = 3, **changed: Any) -> BenchmarkResult:
        runs = runs_of(classes, seeds)
        losses = [{"step": step, "d_loss": 1 / step, "g_loss": step / 9} for step in (1, 2, 3)]
        values: dict[str, Any] = {
            "settings": {"data": "scans", "test": None, "generator": None, "backend": "dcgan", "size": 64, "ratio": 0.5,
                         "model": "resnet10t", "weights": None, "hyperparameters": {}, "seeds": seeds},
            "versions": {"python": "3.12", "braingan": "0.1.0"},
            "split": {"train": files_of("train", classes, 6), "val": files_of("val", classes, 2),
                      "test": files_of("test", classes, 4), "grouped_by": "patient", "seed": 0},
            "classes": list(classes),
            "preprocessing": {"size": 64, "crop": True},
            "runs": runs,
            "summary": summarise(runs),
            "generators": [{"seed": seed, "sha256": "ab" * 32, "seconds": 60.0, "losses": losses}
                           for seed in range(seeds)],
            "intensity": {"real": [1 / 64] * 64, "synthetic": [0.5] + [0.5 / 63] * 63},
            "bad_files": [],
            "notes": ["Four test patients are few.", "The scanner changed half-way."],
            "seconds": 200.0,
        }  # fmt: skip
        return BenchmarkResult(**(values | changed))

    return make
