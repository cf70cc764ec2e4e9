"""The experiment: for each seed a generator, for each arm a classifier, and a score on real test images."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from braingan.augmentation.counts import synthetic_counts
from braingan.augmentation.leaks import check_choice, check_classes, check_generator
from braingan.augmentation.synthesis import check_can_write
from braingan.data.files import fingerprint, sha256_of
from braingan.data.locking import locked
from braingan.data.split import Split
from braingan.data.workplace import CACHE, check_place, claim
from braingan.engine.devices import resolve_device
from braingan.errors import CellsFailedError, SettingsError
from braingan.evaluation.classifier import build_classifier, train_classifier
from braingan.experiment.arms import ARMS
from braingan.experiment.attempts import FAILED, Attempt, run_cells
from braingan.experiment.cells import Bench, ClassifierCell, GeneratorCell, claimed
from braingan.experiment.data import BenchmarkData, load_data
from braingan.experiment.engines import Engine
from braingan.experiment.inputs import CellInputs
from braingan.experiment.outputs import describe_generator, write_result
from braingan.experiment.result import BenchmarkResult
from braingan.experiment.settings import EARLIER, OF_TRAINING, BenchmarkSettings
from braingan.experiment.settling import settle_precision
from braingan.generation.registry import BACKENDS
from braingan.generation.samples import labels_made
from braingan.generation.storage import StoredGenerator, is_finished, load_run
from braingan.generation.train import check_data, check_settings
from braingan.progress import readable_seconds
from braingan.threads import limited

log = logging.getLogger("braingan")

TRIAL_STEPS = 3
MAY_CHANGE = {"device", "seeds"}  # between two calls on one folder: more seeds add to what is there


def run_benchmark(
    data: Path,
    out: Path,
    settings: BenchmarkSettings,
    *,
    test: Path | None,
    split: Split | None,
    generator: Path | None,
    engine: Engine,
) -> BenchmarkResult:
    """Run what is not finished yet in `out`, and write `result.json`, `predictions.csv` and `pictures/`.

    See `braingan.benchmark` for the arguments and errors.
    """
    stored = load_run(generator) if generator else None
    preprocessing = stored.preprocessing if stored else settings.training(0).preprocessing
    check_place(out, data, test)
    loaded = load_data(
        data, preprocessing, out / CACHE,
        split_seed=settings.split_seed, split=split, test=test, skip_bad=settings.skip_bad,
        group_duplicates=settings.group_duplicates, drop_leaking=settings.drop_leaking,
        allow_leakage=settings.allow_leakage,
    )  # fmt: skip
    settings = _check(settings, loaded, stored)
    _check_engine(settings, stored, engine)
    leakage = [*loaded.leakage, *_check_generator(stored, loaded, allow_leakage=settings.allow_leakage)]
    asked = _asked(settings, loaded, stored)
    claim(out, asked, may_change=MAY_CHANGE, earlier=EARLIER)
    loaded.split.save(out / "split.json")
    inputs = CellInputs(loaded.train, loaded.val, loaded.test, loaded.learning)
    with locked(out / CACHE / "locks" / "precision.lock", wait=True), limited(engine.threads()):
        settings = settle_precision(out, settings, inputs, trains=stored is None)
    bench = _bench(out, asked, settings, inputs, generator, leakage)
    generators = _run_all(bench, inputs, engine)
    places = {"data": data, "test": test, "generator": generator}
    with claimed(bench, "result", wait=True):
        return write_result(bench, inputs, loaded, settings, generators, places)


def _bench(
    out: Path,
    asked: dict[str, Any],
    settings: BenchmarkSettings,
    inputs: CellInputs,
    generator: Path | None,
    leakage: Sequence[str],
) -> Bench:
    """What cells share; paths are absolute, as a worker may run in another folder."""
    weights = Path(settings.weights).resolve() if settings.weights else None
    depends_on = {key: value for key, value in asked.items() if key not in MAY_CHANGE}
    if depends_on.get("share") is None:
        depends_on.pop("share", None)  # as it was before there were shares, so that cells of that time stay valid
    return Bench(
        out=out.resolve(),
        settings=replace(settings, weights=str(weights) if weights else None),
        key=fingerprint(
            [
                depends_on,
                settings.classifier_precision,
                inputs.key("train", "test"),
                sha256_of(weights) if weights else None,
            ]
        ),
        generator=generator.resolve() if generator else None,
        leakage=tuple(leakage),
    )


def _run_all(bench: Bench, inputs: CellInputs, engine: Engine) -> list[dict[str, Any]]:
    """Run the cells in two rounds; gives what is told of the generators.

    Raises:
        CellsFailedError: some failed; all others are done.
    """
    seeds = range(bench.settings.seeds)
    own = [] if bench.generator else [GeneratorCell(seed) for seed in seeds]
    plain = [ClassifierCell(arm.name, seed) for seed in seeds for arm in ARMS if not arm.uses_synthetic]
    if not engine.in_process:
        with claimed(bench, "inputs", wait=True):
            bench = replace(bench, inputs=inputs.save(bench.out / CACHE))
    _announce(bench, inputs, engine)
    failed = run_cells(engine, bench, inputs, [*own, *plain])  # generators first: they take longest
    ready = [seed for seed in seeds if is_finished(bench.generator_folder(seed))]
    generators = [describe_generator(load_run(bench.generator_folder(seed)), seed) for seed in ready]
    mixed = [
        ClassifierCell(arm.name, entry["seed"], entry["sha256"])
        for entry in generators
        for arm in ARMS
        if arm.uses_synthetic
    ]
    failed += run_cells(engine, bench, inputs, mixed)
    if failed:
        raise _failure(bench, failed, len(own) + len(plain) + len(mixed))
    return generators


def _failure(bench: Bench, failed: Sequence[Attempt], count: int) -> CellsFailedError:
    named = "; ".join(f"{each.cell.title} ({each.said})" for each in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return CellsFailedError(
        f"{len(failed)} of {count} trainings failed: {named}{more}; tracebacks are in {bench.out / FAILED}, and the "
        "same command redoes only what is not finished"
    )


def _announce(bench: Bench, inputs: CellInputs, engine: Engine) -> None:
    """Say how long the classifiers that are still to be trained will take, from a few measured steps."""
    seeds, steps, device = range(bench.settings.seeds), bench.settings.classifier_steps, bench.settings.device
    names = [ClassifierCell(arm.name, seed).name for arm in ARMS for seed in seeds]
    count = sum(not (bench.out / "cells" / f"{name}.json").exists() for name in names)
    if not count or engine.name != "local":  # what other machines take cannot be measured here
        return
    real, spec, seconds = inputs.real, inputs.train.spec, {}
    with limited(engine.threads()):
        for trial in (1, 1, 1 + TRIAL_STEPS):  # the first warms up; what building takes cancels out
            few = replace(bench.settings.classifier, steps=trial)
            started = time.monotonic()
            train_classifier(
                real.images, real.labels, spec, few, seed=0, device=resolve_device(device), title="trial",
                precision=bench.settings.classifier_precision,
            )  # fmt: skip
            seconds[trial] = time.monotonic() - started
    per_step = max(0.0, seconds[1 + TRIAL_STEPS] - seconds[1]) / TRIAL_STEPS
    expected = readable_seconds(per_step * steps * count / min(count, engine.at_once))
    log.info("%d classifiers of %d steps will take about %s, generators apart", count, steps, expected)


def _check_engine(settings: BenchmarkSettings, stored: StoredGenerator | None, engine: Engine) -> None:
    """A backend that was registered by hand is known in this process and nowhere else."""
    backend = stored.settings.backend if stored else settings.backend
    if not engine.in_process and backend in BACKENDS.registered:
        raise SettingsError(
            f"backend {backend!r} is registered in this process only, and cells were asked to run in others; "
            "declare it as an entry point of an installed package (see `docs/backend.md`), or leave --jobs and "
            "--engine out"
        )


def _check_generator(stored: StoredGenerator | None, loaded: BenchmarkData, *, allow_leakage: bool) -> list[str]:
    """Refuse a generator that has seen what it would be judged on, or say so."""
    if stored is None:
        return []
    parts = [(loaded.test, loaded.split)]
    if (
        loaded.learning.test
    ):  # with a test folder all of the data folder may be learned from: nothing is chosen on val yet
        parts.append((loaded.val, loaded.learning))
    checked = [check_generator(stored, split, loaded.train, part, allow_leakage=allow_leakage)
               for part, split in parts if len(part)]  # fmt: skip
    checked.append(check_choice(stored, loaded.split, loaded.test, allow_leakage=allow_leakage))
    return list(itertools.chain(*checked))


def _check(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> BenchmarkSettings:
    """Refuse before any training what cannot work; give the settings with all defaults spelled out."""
    spec, training = loaded.train.spec, settings.training(0)
    if stored:
        check_classes(stored, loaded.everything.source.classes)
        training, made = stored.settings, labels_made(stored.generator)
    else:
        check_settings(training, spec)
        training = training.resolved()
        made = check_data(training, loaded.train)
    check_can_write(spec.channels)
    counts = synthetic_counts(loaded.train.source.targets, settings.ratio)
    empty = [spec.classes[label] for label, count in counts.items() if not count and label in made]
    if empty:
        raise SettingsError(
            f"ratio {settings.ratio} leaves class {empty[0]!r} without synthetic images; a larger one works"
        )
    with torch.random.fork_rng(devices=[]):
        build_classifier(settings.classifier, spec)
    return replace(settings, **{name: getattr(training, name) for name in OF_TRAINING})


def _asked(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> dict[str, Any]:
    """What the folder is for, in so far as finished work depends on it."""
    return settings.to_json() | {
        "classes": loaded.train.source.classes,
        "training images": loaded.split.train_hash[:12],
        "test images": loaded.split.hash_of("test")[:12],
        "generator": stored.sha256[:12] if stored else None,
    }
