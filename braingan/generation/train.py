"""Training images -> a run folder."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

from braingan.data.preparation import PreparedSet
from braingan.data.records import ImageSpec
from braingan.data.split import Split
from braingan.data.workplace import claim
from braingan.engine.devices import resolve_device
from braingan.errors import SplitError
from braingan.generation.protocol import TrainingData, TrainingRun
from braingan.generation.registry import create_backend
from braingan.generation.settings import TrainingSettings
from braingan.generation.storage import StoredGenerator, is_finished, load_run, save_run
from braingan.progress import readable_seconds

log = logging.getLogger("braingan")

LEFTOVERS = {"stats.jsonl", "samples", "checkpoints", "split.json", "config.json", "seen.safetensors"}


def check_settings(settings: TrainingSettings, spec: ImageSpec) -> None:
    """Refuse what cannot work before any training starts.

    Raises:
        BackendError: no such backend.
        SettingsError: see `TrainingRun`, `GeneratorBackend.check`.
    """
    create_backend(settings.backend, **settings.hyperparameters).check(spec)
    _training_run(settings, Path())


def train_generator(train: PreparedSet, split: Split, settings: TrainingSettings, run: Path) -> StoredGenerator:
    """Train on the images given, or take up what is finished.

    Args:
        train: the training images; the backend sees these and nothing else.
        split: says so in the run folder; `split.train` are the same images.
        settings: how.
        run: the folder; one that holds an unfinished training is started anew, one that holds a
            finished training of the same images with the same settings is loaded.

    Raises:
        OutputError: the folder holds something else, or another training.
        SplitError: a class without training images.
    """
    settings = settings.resolved()
    check_settings(settings, train.spec)
    _check_classes(train)
    claim(run, settings.to_json() | {"training images": split.train_hash[:12]}, may_change={"device"})
    if is_finished(run):
        log.info("taking the finished generator in %s", run)
        return load_run(run)
    _clear(run)
    backend = create_backend(settings.backend, **settings.hyperparameters)
    started = time.monotonic()
    data = TrainingData(train.images, train.labels, train.spec)
    generator = backend.fit(data, _training_run(settings, run))
    seconds = time.monotonic() - started
    save_run(run, generator, settings, train, split, seconds)
    log.info("trained %s in %s: %s", settings.backend, readable_seconds(seconds), run)
    return load_run(run)


def _check_classes(train: PreparedSet) -> None:
    """A generator would make a class that it has never seen from nothing."""
    present = set(train.source.targets)
    missing = [name for label, name in enumerate(train.source.classes) if label not in present]
    if missing:
        raise SplitError(f"the training part has no image of class {missing[0]!r}; give a split that has")


def _training_run(settings: TrainingSettings, folder: Path) -> TrainingRun:
    return TrainingRun(
        folder=folder,
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=resolve_device(settings.device),
        class_sampling=settings.class_sampling,
    )


def _clear(run: Path) -> None:
    """Remove what an unfinished training left."""
    for name in LEFTOVERS:
        entry = run / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
