"""The experiment: for each seed a generator, for each arm a classifier, and a score on real test images."""

from __future__ import annotations

import itertools
import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from braingan.augmentation.counts import synthetic_counts
from braingan.augmentation.leaks import check_classes, check_generator
from braingan.augmentation.synthesis import CONFIG, check_can_write, write_synthetic
from braingan.augmentation.synthetic import SyntheticSet, load_synthetic
from braingan.data.decoding import read_pixels
from braingan.data.files import read_json, replacing_folder, write_json
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import Split
from braingan.data.workplace import CACHE, check_place, claim
from braingan.engine.devices import resolve_device
from braingan.errors import SettingsError
from braingan.evaluation.classifier import build_classifier, predict, train_classifier
from braingan.evaluation.scores import score
from braingan.experiment.arms import ARMS, Arm, LabelledImages
from braingan.experiment.data import BenchmarkData, load_data
from braingan.experiment.outputs import histogram, write_pictures, write_predictions
from braingan.experiment.result import BenchmarkResult, summarise
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.storage import StoredGenerator, load_run
from braingan.generation.train import check_settings, train_generator
from braingan.progress import readable_seconds
from braingan.versions import versions

log = logging.getLogger("braingan")

FOLD = 0  # there is one split so far; results name it, so that cross-validation will not change their schema
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
    leakage = [*loaded.leakage, *_check_generator(stored, loaded, allow_leakage=settings.allow_leakage)]
    claim(out, _asked(settings, loaded, stored), may_change=MAY_CHANGE)
    loaded.split.save(out / "split.json")
    work = _Workplace(out, loaded, settings, leakage)
    work.announce()
    for seed in range(settings.seeds):
        used = stored or train_generator(
            loaded.train, loaded.learning, settings.training(seed), out / "generators" / f"seed{seed}"
        )
        work.run_seed(used, seed)
    sets = {"real": loaded.real, "synthetic": work.synthetic}
    write_pictures(out / "pictures", sets, loaded.train.source.classes)
    write_predictions(out / "predictions.csv", loaded, work.cells)
    result = _collect(data, test, generator, preprocessing, work)
    result.save(out / "result.json")
    return result


class _Workplace:
    """An output folder: the finished cells in it, and those still to do."""

    def __init__(self, out: Path, loaded: BenchmarkData, settings: BenchmarkSettings, leakage: Sequence[str]) -> None:
        self.out, self.loaded, self.settings, self.leakage = out, loaded, settings, leakage
        self.device = resolve_device(settings.device)
        self.cells: list[dict[str, Any]] = []
        self.generators: list[dict[str, Any]] = []
        self.synthetic = LabelledImages(loaded.train.images[:0], loaded.train.labels[:0])  # of the first seed

    def announce(self) -> None:
        """Say how long the classifiers that are still to be trained will take, from a few measured steps."""
        seeds, steps = range(self.settings.seeds), self.settings.classifier_steps
        count = sum(not self._cell_file(arm, seed).exists() for arm in ARMS for seed in seeds)
        if not count:
            return
        real, spec, seconds = self.loaded.real, self.loaded.train.spec, {}
        for trial in (1, 1, 1 + TRIAL_STEPS):  # the first warms up; what building takes cancels out
            few = replace(self.settings.classifier, steps=trial)
            started = time.monotonic()
            train_classifier(real.images, real.labels, spec, few, seed=0, device=self.device, title="trial")
            seconds[trial] = time.monotonic() - started
        per_step = max(0.0, seconds[1 + TRIAL_STEPS] - seconds[1]) / TRIAL_STEPS
        expected = readable_seconds(per_step * steps * count)
        log.info("%d classifiers of %d steps will take about %s, generators apart", count, steps, expected)

    def run_seed(self, stored: StoredGenerator, seed: int) -> None:
        """Draw a seed's synthetic images and train a classifier on each arm."""
        synthetic = self._draw(stored, seed)
        self.generators.append(_describe(stored, seed))
        if not len(self.synthetic):
            self.synthetic = synthetic
        self.cells += [self._cell(arm, synthetic, stored, seed) for arm in ARMS]

    def _draw(self, stored: StoredGenerator, seed: int) -> LabelledImages:
        """The synthetic images of a seed: on disk, so that all arms and a later look share them."""
        folder = self.out / "synthetic" / f"seed{seed}"
        if folder.exists() and read_json(folder / CONFIG)["generator"] != stored.sha256:
            shutil.rmtree(folder)  # drawn from a generator that has been trained anew since
        if not folder.exists():
            counts = synthetic_counts(self.loaded.train.source.targets, self.settings.ratio)
            with replacing_folder(folder) as beside:
                write_synthetic(stored, counts, beside, seed=seed, leakage=self.leakage)
        return _in_memory(load_synthetic(folder), stored)

    def _cell(self, arm: Arm, synthetic: LabelledImages, stored: StoredGenerator, seed: int) -> dict[str, Any]:
        """One classifier's scores and predictions, taken up where they are there already."""
        path = self._cell_file(arm, seed)
        learned_from = {"generator": stored.sha256} if arm.uses_synthetic else {}
        if path.exists():
            cell: dict[str, Any] = read_json(path)
            if learned_from.items() <= cell.items():
                return cell
        cell = self._run(arm, synthetic, seed) | learned_from
        write_json(path, cell)
        log.info("%s, seed %d: macro-F1 %.3f", arm.name, seed, cell["macro"]["f1"])
        return cell

    def _cell_file(self, arm: Arm, seed: int) -> Path:
        return self.out / "cells" / f"{arm.name}-fold{FOLD}-seed{seed}.json"

    def _run(self, arm: Arm, synthetic: LabelledImages, seed: int) -> dict[str, Any]:
        train, test, spec = arm.build(self.loaded.real, synthetic), self.loaded.test, self.loaded.train.spec
        started = time.monotonic()
        model = train_classifier(
            train.images, train.labels, spec, self.settings.classifier,
            seed=seed, device=self.device, title=f"{arm.name}, seed {seed}",
        )  # fmt: skip
        probabilities = predict(model, test.images, device=self.device)
        scores = score(test.labels.numpy(), probabilities.numpy())
        return {
            "arm": arm.name,
            "fold": FOLD,
            "seed": seed,
            "n_real": len(self.loaded.real) if arm.uses_real else 0,
            "n_synthetic": len(synthetic) if arm.uses_synthetic else 0,
            "per_class": scores.per_class(spec.classes),
            "macro": scores.macro(),
            "accuracy": scores.accuracy,
            "seconds": round(time.monotonic() - started, 1),
            "probabilities": [[round(value, 6) for value in row] for row in probabilities.tolist()],
        }


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
    return list(itertools.chain(*checked))


def _check(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> BenchmarkSettings:
    """Refuse before any training what cannot work; give the settings with all defaults spelled out."""
    spec, training = loaded.train.spec, settings.training(0)
    if stored:
        check_classes(stored, loaded.everything.source.classes)
        training = stored.settings
    else:
        check_settings(training, spec)
        training = training.resolved()
    check_can_write(spec.channels)
    counts = synthetic_counts(loaded.train.source.targets, settings.ratio)
    empty = [spec.classes[label] for label, count in counts.items() if not count]
    if empty:
        raise SettingsError(
            f"ratio {settings.ratio} leaves class {empty[0]!r} without synthetic images; a larger one works"
        )
    with torch.random.fork_rng(devices=[]):
        build_classifier(settings.classifier, spec)
    names = ("backend", "hyperparameters", "size", "channels", "steps", "batch_size", "class_sampling")
    return replace(settings, **{name: getattr(training, name) for name in names})


def _asked(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> dict[str, Any]:
    """What the folder is for, in so far as finished work depends on it."""
    return settings.to_json() | {
        "classes": loaded.train.source.classes,
        "training images": loaded.split.train_hash[:12],
        "test images": loaded.split.hash_of("test")[:12],
        "generator": stored.sha256[:12] if stored else None,
    }


def _in_memory(synthetic: SyntheticSet, stored: StoredGenerator) -> LabelledImages:
    spec = stored.generator.spec
    pixels = [torch.from_numpy(read_pixels(file.path, spec.channels)) for file in synthetic.files]
    images = torch.stack(pixels).movedim(-1, 1).to(torch.uint8)
    return LabelledImages(images.contiguous(), torch.tensor(synthetic.targets, dtype=torch.int64))


def _describe(stored: StoredGenerator, seed: int) -> dict[str, Any]:
    stats = stored.folder / "stats.jsonl"
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()] if stats.exists() else []
    kept = ("step", "d_loss", "g_loss")
    return {
        "seed": seed,
        "sha256": stored.sha256,
        "seconds": read_json(stored.folder / "config.json")["seconds"],
        "losses": [{key: line[key] for key in kept} for line in lines if all(key in line for key in kept)],
    }


def _collect(
    data: Path,
    test: Path | None,
    generator: Path | None,
    preprocessing: Preprocessing,
    work: _Workplace,
) -> BenchmarkResult:
    left_out = {"probabilities", "generator"}
    runs = [{key: value for key, value in cell.items() if key not in left_out} for cell in work.cells]
    places = {
        "data": data.resolve().name,
        "test": test.resolve().name if test else None,
        "generator": generator.resolve().name if generator else None,
    }
    trained = 0.0 if generator else sum(entry["seconds"] for entry in work.generators)
    return BenchmarkResult(
        settings=work.settings.to_json() | places,
        versions=versions(),
        split=work.loaded.split.to_json(),
        classes=list(work.loaded.train.source.classes),
        preprocessing=preprocessing.to_json(),
        runs=runs,
        summary=summarise(runs),
        generators=work.generators,
        intensity={
            "real": histogram(work.loaded.train.images),
            "synthetic": histogram(work.synthetic.images),
        },
        bad_files=[asdict(bad) for bad in work.loaded.bad_files],
        notes=work.loaded.notes(),
        leakage=list(work.leakage),
        seconds=round(trained + sum(run["seconds"] for run in runs), 1),
    )
