"""Training images -> a run folder."""

from __future__ import annotations

import hashlib
import logging
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braingan.data.files import read_json, write_json
from braingan.data.locking import TakenError, locked
from braingan.data.preparation import PreparedSet
from braingan.data.records import ImageSpec
from braingan.data.split import Split
from braingan.data.workplace import CACHE, claim
from braingan.engine.devices import resolve_device
from braingan.engine.precision import check_precision
from braingan.engine.team import Team
from braingan.errors import OutputError, SettingsError, SplitError
from braingan.generation.callbacks import Callback, Callbacks
from braingan.generation.journal import JOURNAL
from braingan.generation.protocol import Generator, GeneratorBackend, TrainingData, TrainingRun
from braingan.generation.registry import create_backend
from braingan.generation.samples import check_learnable, edits_real_slices, labels_made
from braingan.generation.settings import EARLIER, TrainingSettings
from braingan.generation.storage import CONFIG, StoredGenerator, is_finished, load_run, save_run, steps_of
from braingan.generation.watchdog import FEWEST_HELD_OUT
from braingan.progress import readable_seconds

log = logging.getLogger("braingan")

RESOLVED = "resolved.json"  # what "auto" came to

LEFTOVERS = {"stats.jsonl", "samples", "checkpoints", "split.json", "config.json", "seen.safetensors", "run.json",
             RESOLVED}  # fmt: skip
MAY_CHANGE = {"device", "steps", "patience"}  # between two calls on one folder


@dataclass(frozen=True)
class How:
    """What does not decide the weights of a training.

    Attributes:
        team: the processes that share it.
        checkpoint_every: steps between two checkpoints; None for one a minute.
        callbacks: told what happens.
    """

    team: Team
    checkpoint_every: int | None = None
    callbacks: tuple[Callback, ...] = ()


def check_settings(settings: TrainingSettings, spec: ImageSpec, how: How | None = None) -> None:
    """Refuse what cannot work before any training starts.

    Raises:
        BackendError: no such backend.
        SettingsError: see `TrainingRun`, `GeneratorBackend.check`.
    """
    backend = create_backend(settings.backend, **settings.hyperparameters)
    backend.check(spec)
    check_precision(settings.precision)
    if how and how.team.size > 1 and not getattr(backend, "works_in_teams", False):
        raise SettingsError(f"backend {settings.backend!r} cannot share a training between devices; --devices 1 works")
    _training_run(settings, Path(), how or How(Team(resolve_device(settings.device))))


def check_data(settings: TrainingSettings, train: PreparedSet) -> tuple[int, ...]:
    """The labels that a backend can make after learning from these images.

    Raises:
        BackendError: no such backend.
        SettingsError: it cannot learn from these: it needs masks that there are not, say.
    """
    backend = create_backend(settings.backend, **settings.hyperparameters)
    return check_learnable(backend, settings.backend, _data_of(train))


def train_generator(
    train: PreparedSet,
    split: Split,
    settings: TrainingSettings,
    run: Path,
    *,
    reference: PreparedSet | None = None,
    resume: bool = True,
    how: How | None = None,
) -> StoredGenerator:
    """Train on the images given, go on with what was stopped, or take up what is finished.

    Args:
        train: the training images; the backend learns from these and nothing else.
        split: says so in the run folder; `split.train` are the same images.
        settings: what decides the weights.
        run: the folder; one that holds a finished training of the same images with the same settings is loaded.
        reference: held-out images with which samples are compared to choose a checkpoint: those of `split.val`.
        resume: whether to go on with an unfinished training in the folder; without, it is refused.
        how: what does not decide the weights.

    Raises:
        OutputError: the folder holds something else, or another training.
        SplitError: a class without training images.
        StoppedError: SIGTERM or Ctrl-C came.
    """
    how = how or How(Team(resolve_device(settings.device)))
    settings = settings.resolved()
    check_settings(settings, train.spec, how)
    _check_classes(train)
    check_data(settings, train)
    if how.team.writes:
        asked = settings.to_json() | {"training images": split.train_hash[:12]} | _masks_asked(settings, train)
        claim(run, asked, may_change=MAY_CHANGE, earlier=EARLIER)
    how.team.wait()
    _refuse_fewer_steps(run, settings.steps)
    if not is_finished(run, settings.steps, settings.patience):
        with _alone_in(run, how):
            if how.team.writes:
                _check_unfinished(run, settings, resume=resume)
                if not (split.val or split.test):
                    log.info("all %d images are learned from: those of test patients belong elsewhere", len(train))
            how.team.wait()
            _train(train, split, settings, run, reference, how)
    else:
        log.info("taking the finished generator in %s", run)
    return load_run(run)


@contextmanager
def _alone_in(run: Path, how: How) -> Iterator[None]:
    """Refuse to work on a folder that another process trains in."""
    if not how.team.writes:
        yield
        return
    with ExitStack() as held:
        try:
            held.enter_context(locked(run / CACHE / "training.lock", wait=False))
        except TakenError:
            raise OutputError(f"another process trains in {run}; wait for it, or give another folder") from None
        except OutputError as error:  # one process alone needs no locks
            log.warning("%s, or start one training there at a time", error)
        yield


def _train(
    train: PreparedSet,
    split: Split,
    settings: TrainingSettings,
    run: Path,
    reference: PreparedSet | None,
    how: How,
) -> None:
    """From wherever the folder is to a finished generator in it."""
    backend = create_backend(settings.backend, **settings.hyperparameters)
    data = _data_of(train, reference)
    started = time.monotonic()
    with _one_line_for_memory(settings):
        settings = replace(settings, precision=_settle_precision(backend, data, settings, run, how))
        generator = backend.fit(data, _training_run(settings, run, how))
    if how.team.writes:
        record = _record_of(run) or {"seconds": round(time.monotonic() - started, 1)}
        record["chosen_on_validation"] = getattr(backend, "keeps_best", True) and _judges(data, generator)
        save_run(run, generator, settings, train, split, record)
        log.info("trained %s in %s: %s", settings.backend, readable_seconds(time.monotonic() - started), run)
        if edits_real_slices(generator):
            log.warning("%s keeps slices of the training patients: it may not be handed out as anonymous", run)
    how.team.wait()


@contextmanager
def _one_line_for_memory(settings: TrainingSettings) -> Iterator[None]:
    """Running out of memory is no defect."""
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)):
            raise
        raise SettingsError(
            f"no memory for batches of {settings.batch_size} images of {settings.size} pixels; a smaller --batch-size "
            "works"
        ) from error


def _refuse_fewer_steps(run: Path, steps: int) -> None:
    trained = steps_of(run)
    if trained is not None and steps < min(trained, read_json(run / CONFIG).get("step") or trained):
        raise OutputError(
            f"{run} holds a generator of {trained} steps, {steps} were asked; give another folder, or as many steps"
        )


def _check_unfinished(run: Path, settings: TrainingSettings, *, resume: bool) -> None:
    """Refuse what would lose work; remove what a training left that never came to a checkpoint."""
    if any((run / "checkpoints").glob("step_*.safetensors")):
        if not resume:
            raise OutputError(f"{run} holds an unfinished training; --resume goes on with it, or give another folder")
    elif steps_of(run) is None:
        _clear(run)


def _data_of(train: PreparedSet, reference: PreparedSet | None = None) -> TrainingData:
    """What a backend is handed: the images of the training part, and held-out ones to compare with."""
    if reference is None or not len(reference):
        return TrainingData(train.images, train.labels, train.spec, masks=train.masks)
    return TrainingData(train.images, train.labels, train.spec, reference.images, reference.labels, train.masks)


def _judges(data: TrainingData, generator: Generator) -> bool:
    """Whether there are held-out images enough, of classes that it makes, for samples to be compared with."""
    if data.reference_labels is None:
        return False
    made = torch.isin(data.reference_labels, torch.tensor(labels_made(generator)))
    return int(made.sum()) >= FEWEST_HELD_OUT


def _masks_asked(settings: TrainingSettings, train: PreparedSet) -> dict[str, str]:
    """Which masks a training depends on; nothing for a backend that needs none."""
    backend = create_backend(settings.backend, **settings.hyperparameters)
    if train.masks is None or "masks" not in getattr(backend, "requires", ()):
        return {}
    return {"training masks": hashlib.sha256(np.packbits(train.masks.numpy()).tobytes()).hexdigest()[:12]}


def _settle_precision(
    backend: GeneratorBackend, data: TrainingData, settings: TrainingSettings, run: Path, how: How
) -> str:
    """What "auto" comes to: timed once, and kept for as long as the run is gone on with."""
    if settings.precision != "auto":
        return settings.precision
    path = run / RESOLVED
    if how.team.writes and not path.exists():
        precision, milliseconds = resolve_precision(backend, data, settings, how)
        write_json(path, {"precision": precision, "milliseconds a step": milliseconds})
    how.team.wait()
    settled: str = read_json(path)["precision"]
    return settled


def resolve_precision(
    backend: GeneratorBackend, data: TrainingData, settings: TrainingSettings, how: How
) -> tuple[str, dict[str, float]]:
    """The quickest precision for a training, and what was timed; float32 for a backend that does not choose.

    A backend chooses if it has a method `choose_precision(data, run)`, as those of `GAN` do.
    """
    choose = getattr(backend, "choose_precision", None)
    if choose is None:
        return "float32", {}
    alone = How(Team(how.team.device))
    share = replace(settings, precision="float32", batch_size=settings.batch_size // how.team.size)
    precision, milliseconds = choose(data, _training_run(share, Path(), alone))
    timed = ", ".join(f"{name} {value:.0f} ms" for name, value in milliseconds.items())
    log.info("precision %s%s", precision, f" (a step takes {timed})" if timed else "")
    return precision, milliseconds


def _record_of(run: Path) -> dict[str, Any]:
    """What the backend noted of its training, over all stops; nothing of one with a loop of its own."""
    if not (run / JOURNAL).exists():
        return {}
    noted = read_json(run / JOURNAL)
    return {name: noted.get(name) for name in ("step", "best_step", "best_distance", "seconds", "resumed", "machine")}


def _check_classes(train: PreparedSet) -> None:
    """A generator would make a class that it has never seen from nothing."""
    present = set(train.source.targets)
    missing = [name for label, name in enumerate(train.source.classes) if label not in present]
    if missing:
        raise SplitError(f"the training part has no image of class {missing[0]!r}; give a split that has")


def _training_run(settings: TrainingSettings, folder: Path, how: How) -> TrainingRun:
    precision = "float32" if settings.precision == "auto" else settings.precision
    return TrainingRun(
        folder=folder,
        steps=settings.steps,
        batch_size=settings.batch_size,
        seed=settings.seed,
        device=how.team.device,
        class_sampling=settings.class_sampling,
        precision=precision,
        compile=settings.compile,
        patience=settings.patience,
        checkpoint_every=how.checkpoint_every,
        callbacks=Callbacks(how.callbacks),
        settings=settings.to_json(),
        team=how.team,
    )


def _clear(run: Path) -> None:
    """Remove what an unfinished training left."""
    for name in LEFTOVERS:
        entry = run / name
        if entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
