"""What "auto" comes to for all cells of a benchmark: timed once, and kept in its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from braingan.data.files import read_json, write_json
from braingan.engine.devices import resolve_device
from braingan.engine.team import Team
from braingan.evaluation.classifier import choose_classifier_precision
from braingan.experiment.inputs import FoldInputs
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.protocol import TrainingData
from braingan.generation.registry import create_backend
from braingan.generation.train import RESOLVED, How, resolve_precision

TRIAL_FROM = 50  # classifier steps; in fewer, trying precisions would take longer than the best one saves


def settle_precision(out: Path, settings: BenchmarkSettings, inputs: FoldInputs, *, trains: bool) -> BenchmarkSettings:
    """The settings with both precisions spelled out.

    Args:
        out: folder of the benchmark; what was found is kept in it, so that all cells are computed alike.
        settings: as asked.
        inputs: images to try with.
        trains: whether generators are trained.
    """
    known = read_json(out / RESOLVED) if (out / RESOLVED).exists() else {}
    found = dict(known)
    if trains and settings.precision == "auto" and "precision" not in found:
        found["precision"] = _of_generators(settings, inputs)
    if settings.classifier_precision == "auto" and "classifier_precision" not in found:
        found["classifier_precision"] = _of_classifiers(settings, inputs)
    if found != known:
        write_json(out / RESOLVED, found)
    asked = {"precision": settings.precision, "classifier_precision": settings.classifier_precision}
    found.setdefault("precision", "float32")  # where nothing is trained; it is not kept, as generators may come later
    return replace(settings, **{name: found[name] for name, value in asked.items() if value == "auto"})


def _of_generators(settings: BenchmarkSettings, inputs: FoldInputs) -> str:
    training, train = settings.training(0), inputs.train
    backend = create_backend(training.backend, **training.hyperparameters)
    data = TrainingData(train.images, train.labels, train.spec, masks=train.masks)
    return resolve_precision(backend, data, training, How(Team(resolve_device(settings.device))))[0]


def _of_classifiers(settings: BenchmarkSettings, inputs: FoldInputs) -> str:
    if settings.classifier_steps < TRIAL_FROM:
        return "float32"
    real, device = inputs.real, resolve_device(settings.device)
    return choose_classifier_precision(real.images, real.labels, inputs.train.spec, settings.classifier, device)
