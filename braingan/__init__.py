"""Will synthetic images help MY classifier?

Generators that learn from your training patients only, a drop-in dataset that mixes their images in,
and a benchmark that says what they did to a classifier. Research software, not a medical device.

Names are imported on first use, so that `import braingan` is quick and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from braingan.api import (
        augment,
        benchmark,
        compare_files,
        datasets,
        inspect,
        phantom,
        prepare,
        report,
        runs,
        sample,
        train,
    )
    from braingan.augmentation.counts import synthetic_counts
    from braingan.augmentation.mixing import AugmentedDataset
    from braingan.augmentation.synthetic import SyntheticSet, load_synthetic
    from braingan.data.preprocessing import Preprocessing
    from braingan.data.reading import read_images
    from braingan.data.records import ImageRecord, ImageSet, ImageSpec
    from braingan.data.split import Split
    from braingan.errors import (
        BackendError,
        BrainganError,
        CellsFailedError,
        DataError,
        LeakageError,
        OutputError,
        SettingsError,
        SplitError,
        StoppedError,
        TrainingDivergedError,
    )
    from braingan.evaluation.comparison import Comparison, compare
    from braingan.evaluation.file_comparison import FileComparison
    from braingan.evaluation.scores import Scores
    from braingan.experiment.result import BenchmarkResult
    from braingan.generation.callbacks import Callback, register_logger
    from braingan.generation.gan import GAN
    from braingan.generation.listing import RunSummary
    from braingan.generation.protocol import Generator, GeneratorBackend, TrainingData, TrainingRun
    from braingan.generation.registry import BackendInfo, create_backend, list_backends, register_backend
    from braingan.generation.storage import load_generator
    from braingan.inspection.result import Inspection

_HOMES = {
    "braingan.api": (
        "augment", "benchmark", "compare_files", "datasets", "inspect", "phantom", "prepare", "report", "runs",
        "sample", "train",
    ),
    "braingan.augmentation.counts": ("synthetic_counts",),
    "braingan.augmentation.mixing": ("AugmentedDataset",),
    "braingan.augmentation.synthetic": ("SyntheticSet", "load_synthetic"),
    "braingan.experiment.result": ("BenchmarkResult",),
    "braingan.data.reading": ("read_images",),
    "braingan.data.preprocessing": ("Preprocessing",),
    "braingan.data.records": ("ImageRecord", "ImageSet", "ImageSpec"),
    "braingan.data.split": ("Split",),
    "braingan.errors": (
        "BackendError", "BrainganError", "CellsFailedError", "DataError", "LeakageError", "OutputError",
        "SettingsError",
        "SplitError", "StoppedError", "TrainingDivergedError",
    ),
    "braingan.evaluation.comparison": ("Comparison", "compare"),
    "braingan.evaluation.file_comparison": ("FileComparison",),
    "braingan.evaluation.scores": ("Scores",),
    "braingan.generation.gan": ("GAN",),
    "braingan.generation.callbacks": ("Callback", "register_logger"),
    "braingan.generation.listing": ("RunSummary",),
    "braingan.generation.protocol": ("Generator", "GeneratorBackend", "TrainingData", "TrainingRun"),
    "braingan.generation.registry": ("BackendInfo", "create_backend", "list_backends", "register_backend"),
    "braingan.generation.storage": ("load_generator",),
    "braingan.inspection.result": ("Inspection",),
}  # fmt: skip
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "GAN",
    "AugmentedDataset",
    "BackendError",
    "BackendInfo",
    "BenchmarkResult",
    "BrainganError",
    "Callback",
    "CellsFailedError",
    "Comparison",
    "DataError",
    "FileComparison",
    "Generator",
    "GeneratorBackend",
    "ImageRecord",
    "ImageSet",
    "ImageSpec",
    "Inspection",
    "LeakageError",
    "OutputError",
    "Preprocessing",
    "RunSummary",
    "Scores",
    "SettingsError",
    "Split",
    "SplitError",
    "StoppedError",
    "SyntheticSet",
    "TrainingData",
    "TrainingDivergedError",
    "TrainingRun",
    "augment",
    "benchmark",
    "compare",
    "compare_files",
    "create_backend",
    "datasets",
    "inspect",
    "list_backends",
    "load_generator",
    "load_synthetic",
    "phantom",
    "prepare",
    "read_images",
    "register_backend",
    "register_logger",
    "report",
    "runs",
    "sample",
    "synthetic_counts",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "testing":
        return importlib.import_module("braingan.testing")
    if name not in _HOME_OF:
        raise AttributeError(f"module 'braingan' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(_HOME_OF)
