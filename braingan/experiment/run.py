"""The experiment: in each fold a generator, for each arm and seed a classifier, and a score on real test images."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from braingan.augmentation.counts import synthetic_counts
from braingan.augmentation.leaks import (
    check_choice,
    check_classes,
    check_generator,
    check_left_out,
    seen_and_shared,
)
from braingan.augmentation.synthesis import check_can_write
from braingan.data.files import fingerprint, read_json, sha256_of, write_json
from braingan.data.locking import locked
from braingan.data.split import grouping, split_files
from braingan.data.workplace import CACHE, check_place, claim
from braingan.entry_points import import_function, source_of
from braingan.errors import CellsFailedError, SettingsError
from braingan.evaluation.classifier import check_classifier
from braingan.evaluation.positive import positive_label
from braingan.experiment.arms import ARMS, BUILT_IN, Arm
from braingan.experiment.attempts import FAILED, Attempt, run_cells
from braingan.experiment.cells import Bench, Cell, GeneratorCell, claimed, classifiers, expected_cells, part_of_patients
from braingan.experiment.clock import running_clock
from braingan.experiment.contrasts import no_verdict
from braingan.experiment.curve import patients_in_part
from braingan.experiment.data import BenchmarkData, Sources, load_data
from braingan.experiment.engines import Engine
from braingan.experiment.inputs import CellInputs, FoldInputs
from braingan.experiment.outputs import write_result
from braingan.experiment.plan import Plan
from braingan.experiment.result import EXTENDED, RESULT, BenchmarkResult
from braingan.experiment.settings import EARLIER, OF_TRAINING, REPEATED, BenchmarkSettings, option_of
from braingan.experiment.settling import settle_precision
from braingan.experiment.subgroups import subgroup_columns
from braingan.generation.registry import BACKENDS
from braingan.generation.samples import labels_made
from braingan.generation.storage import StoredGenerator, is_finished, load_run
from braingan.generation.train import check_data, check_settings
from braingan.threads import limited

log = logging.getLogger("braingan")

# Between two calls on one folder; more seeds, generators, arms and points of a curve add to what is there.
MAY_CHANGE = {"device", "seeds", "generators", "arms", "curve", "margin", "positive"}
DECLARED = ("seeds", "generators", "arms", "margin")  # of these, those that a verdict depends on
DECLARATION = "declared.json"
# What a given generator brings with it.
OF_GIVEN = ("backend", "size", "channels", "steps", "batch_size", "class_sampling")


def run_benchmark(
    sources: Sources, out: Path, settings: BenchmarkSettings, *, generator: Path | None, engine: Engine,
    ready: Callable[[float], None] | None = None,
) -> BenchmarkResult:  # fmt: skip
    """Run what is not finished yet in `out`, and write `result.json`, `predictions.csv` and `pictures/`.

    See `braingan.benchmark` for the arguments and errors. `ready` is called when nothing is left to be refused and
    before anything is trained, with the share of the patients that is tested.
    """
    stored = load_run(generator) if generator else None
    preprocessing = stored.preprocessing if stored else settings.training(0).preprocessing
    settings = _fitting(settings, sources, stored)
    check_place(out, sources.data, sources.test, sources.external)
    loaded = load_data(sources, settings, preprocessing, out / CACHE)
    settings = _check(settings, loaded, stored)
    _check_engine(settings, stored, engine)
    leakage = [*loaded.leakage, *_check_generator(stored, loaded, allow_leakage=settings.allow_leakage)]
    asked = _asked(settings, loaded, stored)
    claim(out, asked, may_change=MAY_CHANGE, earlier=EARLIER)
    extended = _declare(out, settings)
    if settings.positive:
        log.info("the class that is looked for is %s (--positive)", settings.positive)
    divisible = not (sources.splits or sources.test or generator)
    for reason in (*no_verdict(settings), *loaded.no_comparison(divisible=divisible)):
        log.warning("warning: %s", reason)
    if ready:
        ready(loaded.splits.tested_share)
    inputs = loaded.inputs
    with locked(out / CACHE / "locks" / "precision.lock", wait=True), limited(engine.threads()):
        trains = stored is None and any(arm.uses_synthetic for arm in settings.registered_arms().values())
        settings = settle_precision(out, settings, inputs.fold(0), trains=trains)
    bench = _bench(out, asked, settings, inputs, generator, leakage)
    plan = _plan(bench, loaded, sources, [*extended, *_ahead(stored, loaded)])
    plan.save()
    _run_all(bench, inputs, engine)
    with claimed(bench.out, RESULT, wait=True):
        return write_result(plan, inputs)


def _plan(bench: Bench, loaded: BenchmarkData, sources: Sources, notes: Sequence[str]) -> Plan:
    """All that a result says apart from what cells found."""
    inputs = loaded.inputs
    tested, external = inputs.everything if inputs.held_out is None else inputs.held_out, inputs.external
    places = {"data": sources.data, "test": sources.test, "external": sources.external, "generator": bench.generator}
    named = {name: place.resolve().name if place else None for name, place in places.items()}
    if weights := bench.settings.weights:
        named |= {"weights": Path(weights).name, "weights_sha256": sha256_of(Path(weights))}
    return Plan(
        bench,
        loaded.splits,
        loaded.classes,
        places=named,
        preprocessing=inputs.everything.preprocessing.to_json(),
        bad_files=[asdict(bad) for bad in loaded.bad_files],
        notes=[*loaded.notes(), *notes],
        external=() if external is None else split_files(external, range(len(external))),
        columns=subgroup_columns(tested.source.records),
        units=loaded.units,
    )  # fmt: skip


def _declare(out: Path, settings: BenchmarkSettings) -> list[str]:
    """Keep what was declared first; gives a note where more is asked now, when results may be known."""
    asked = {name: settings.to_json()[name] for name in DECLARED} | {"arms": sorted(settings.arms)}
    if not (out / DECLARATION).exists():
        write_json(out / DECLARATION, asked)
    before = read_json(out / DECLARATION)
    before["arms"] = sorted(before.get("arms", []))
    changed = [f"{name} {before.get(name)}, now {asked[name]}" for name in DECLARED if before.get(name) != asked[name]]
    if not changed:
        return []
    return [
        f"{EXTENDED} ({'; '.join(changed)}): whoever extends it until the verdict pleases will find what is not there."
    ]


def _fitting(settings: BenchmarkSettings, sources: Sources, stored: StoredGenerator | None) -> BenchmarkSettings:
    """What follows from what was given: as many folds as splits, one generator where one is given."""
    if sources.splits and len(sources.splits) != settings.folds * settings.repeats:
        log.info("%d split%s given, and as many folds: %d x %d are left aside", len(sources.splits),
                 " was" if len(sources.splits) == 1 else "s were", settings.folds, settings.repeats)  # fmt: skip
        settings = replace(settings, folds=len(sources.splits), repeats=1)
    if stored is None:
        return settings
    asked, own, default = settings.to_json(), stored.settings.to_json(), BenchmarkSettings().to_json()
    for name in OF_GIVEN:
        if asked[name] not in (default[name], own[name]):
            raise SettingsError(
                f"--generator and {option_of(name)} {asked[name]} were both asked; the generator in {stored.folder} "
                f"has {own[name]}: leave one of them out"
            )
    return replace(settings, generators=1)


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
    depends_on: dict[str, Any] = {key: value for key, value in asked.items() if key not in MAY_CHANGE}
    if ":" in settings.model:  # a name says nothing of what stands behind it
        depends_on["source"] = source_of(import_function(settings.model, "model"), whole_file=True)
    return Bench(
        out=out.resolve(),
        settings=replace(settings, weights=str(weights) if weights else None),
        key=fingerprint([depends_on, settings.classifier_precision, sha256_of(weights) if weights else None]),
        images=tuple(inputs.fold(fold).key for fold in range(len(inputs.learning))),
        generator=generator.resolve() if generator else None,
        leakage=tuple(leakage),
    )


def _run_all(bench: Bench, inputs: CellInputs, engine: Engine) -> None:
    """Run the cells: generators and what needs none, then the rest.

    Raises:
        CellsFailedError: some failed; all others are done.
    """
    settings = bench.settings
    needed = any(arm.uses_synthetic for arm in settings.registered_arms().values())
    seeds = range(settings.generators if needed and not bench.generator else 0)
    folds = range(len(inputs.learning))
    own = [GeneratorCell(fold, seed) for fold in folds for seed in seeds]
    expected = expected_cells(settings, len(inputs.learning))
    with claimed(bench.out, "inputs", wait=True):  # for workers, and for pictures in reports
        bench = replace(bench, inputs=inputs.save(bench.out / CACHE))
    todo: list[Cell] = [cell for cell in own if not is_finished(bench.generator_folder(cell.fold, cell.seed))]
    begun = {path.stem for path in (bench.out / "cells").glob("*.json")}
    todo += [cell for cell in expected
             if cell.name not in begun or (cell.generator_seed is None and not cell.read(bench))]  # fmt: skip
    failed: list[Attempt] = []
    # One process ends a fold before it begins the next, so that there is something to report; several share all folds.
    parts = [[fold] for fold in folds] if engine.in_process else [list(folds)]
    with running_clock(bench, inputs.fold(0), engine, todo) as clock:
        for part in parts:
            plain = [cell for cell in expected if cell.fold in part and cell.generator_seed is None]
            longest = [cell for cell in own if cell.fold in part]
            failed += run_cells(engine, bench, inputs, [*longest, *plain], clock)
            mixed = [cell for cell in classifiers(bench) if cell.fold in part and cell.generator_seed is not None]
            failed += run_cells(engine, bench, inputs, mixed, clock)
    if failed:
        raise _failure(bench, failed, len(own) + len(expected))


def _failure(bench: Bench, failed: Sequence[Attempt], count: int) -> CellsFailedError:
    named = "; ".join(f"{each.cell.title} ({each.said})" for each in failed[:3])
    more = f"; and {len(failed) - 3} more" if len(failed) > 3 else ""
    return CellsFailedError(
        f"{len(failed)} of {count} trainings failed: {named}{more}; tracebacks are in {bench.out / FAILED}, and the "
        "same command redoes only what is not finished"
    )


def _check_engine(settings: BenchmarkSettings, stored: StoredGenerator | None, engine: Engine) -> None:
    """A backend or an arm that was registered by hand is known in this process and nowhere else."""
    backend = stored.settings.backend if stored else settings.backend
    by_hand = [f"backend {backend!r}"] if backend in BACKENDS.registered else []
    by_hand += [f"arm {name!r}" for name in settings.arms if name in ARMS.registered.keys() - BUILT_IN]
    if not engine.in_process and by_hand:
        raise SettingsError(
            f"{by_hand[0]} is registered in this process only, and cells were asked to run in others; "
            "declare it as an entry point of an installed package (see `docs/backend.md`), or leave --jobs and "
            "--engine out"
        )


def _check_generator(stored: StoredGenerator | None, loaded: BenchmarkData, *, allow_leakage: bool) -> list[str]:
    """Refuse a generator that has seen what it would be judged on, or say so."""
    if stored is None:
        return []
    if not loaded.splits.one:
        raise SettingsError(
            "--generator and more than one fold were both asked; a generator has learned from one training part: "
            "ask for --folds 1, or let each fold train its own"
        )
    fold, split = loaded.inputs.fold(0), loaded.splits[0].split
    apart = loaded.inputs.held_out
    scored = [(fold.test, split if apart is None else replace(split, grouped_by=grouping(apart)))]
    if fold.external is not None:
        scored.append((fold.external, replace(split, grouped_by=grouping(fold.external))))
    # With a test folder, all of the data folder may be learned from.
    held_out = [*scored, (fold.val, fold.learning)] if fold.learning.test else scored
    checked = [check_generator(stored, own, fold.train, part, allow_leakage=allow_leakage)
               for part, own in held_out if len(part)]  # fmt: skip
    checked += [check_choice(stored, own, part, allow_leakage=allow_leakage) for part, own in scored]
    if len(fold.left_out):
        checked.append(check_left_out(stored, split, fold.train, fold.left_out, allow_leakage=allow_leakage))
    return list(itertools.chain(*checked))


def _ahead(stored: StoredGenerator | None, loaded: BenchmarkData) -> list[str]:
    """A note where a given generator knows validation images: allowed with a test folder, and no fair start."""
    if stored is None or loaded.inputs.held_out is None:
        return []
    fold = loaded.inputs.fold(0)
    seen = seen_and_shared(stored, fold.learning, fold.train, fold.val)[0] if len(fold.val) else []
    if not seen:
        return []
    return [
        f"The generator has learned from {len(seen)} of the {len(fold.val)} validation images, or from others of their "
        "patients: it knows more than the arms without synthetic images, and the ratio is chosen on what it has seen. "
        "A gain may come from that; a generator that is trained here has no such start."
    ]


def _check(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> BenchmarkSettings:
    """Refuse before any training what cannot work; give the settings with all defaults spelled out."""
    first, training = loaded.inputs.fold(0).train, settings.training(0)
    arms = settings.registered_arms()
    needed = any(arm.uses_synthetic for arm in arms.values())
    _check_recipes(settings, arms)
    if stored:
        check_classes(stored, loaded.classes)
        training, made = stored.settings, labels_made(stored.generator)
    else:
        check_settings(training, first.spec)
        training = training.resolved()
        made = check_data(training, first) if needed else ()
    check_can_write(first.spec.channels)
    for number in range(len(loaded.splits) if needed else 0):
        train = loaded.inputs.fold(number).train
        if not stored:
            check_data(training, train)
        counts = synthetic_counts(train.source.targets, min(settings.ratio))
        empty = [first.spec.classes[label] for label, count in counts.items() if not count and label in made]
        if empty:
            raise SettingsError(
                f"ratio {min(settings.ratio):g} leaves class {empty[0]!r} without synthetic images; a larger one works"
            )
    for number in range(len(loaded.splits) if settings.curve else 0):
        _check_curve(settings, loaded.inputs.fold(number), settings.split_seed + number)
    check_classifier(settings.classifier, first.spec)
    label = positive_label(loaded.classes, settings.positive)
    positive = loaded.classes[label] if len(loaded.classes) == 2 else None
    return replace(settings, positive=positive, **{name: getattr(training, name) for name in OF_TRAINING})


def _check_curve(settings: BenchmarkSettings, fold: FoldInputs, seed: int) -> None:
    """Refuse parts of the training patients that lack a class, or are as large as another."""
    patients = len({record.group for record in fold.train.source.records})
    sizes = [patients_in_part(share, patients) for share in (*settings.curve, 1.0)]
    if len(set(sizes)) < len(sizes):
        raise SettingsError(
            f"a curve of {', '.join(f'{share:g}' for share in settings.curve)} was asked, which of {patients} training "
            f"patients are {', '.join(map(str, sizes[:-1]))}: parts with different numbers, fewer than all, work"
        )
    for share in settings.curve:
        part_of_patients(fold, share, seed)


def _check_recipes(settings: BenchmarkSettings, arms: Mapping[str, Arm]) -> None:
    """Refuse what a classifier's training would refuse after the generators are trained."""
    for name, arm in arms.items():
        if arm.recipe.mixing and settings.classifier_batch_size < 2:
            raise SettingsError(f"arm {name!r} mixes images, and batches of 1 were asked; 2 or more work")
        if arm.recipe.pretrain and not arm.uses_synthetic:
            raise SettingsError(f"arm {name!r} begins with synthetic images and uses none; set uses_synthetic")
        if arm.recipe.pretrain and arm.shares and settings.share is not None:
            raise SettingsError(
                f"arm {name!r} begins with synthetic images, so that --share says nothing; set shares=False"
            )


def _asked(settings: BenchmarkSettings, loaded: BenchmarkData, stored: StoredGenerator | None) -> dict[str, Any]:
    """What the folder is for, in so far as finished work depends on it."""
    splits, external = loaded.splits, loaded.inputs.external
    asked = settings.to_json() | {
        "classes": loaded.classes,
        "training images": _joined([fold.split.train_hash for fold in splits.folds]),
        "test images": _joined([fold.split.hash_of("test") for fold in splits.folds]),
        "external images": None if external is None else fingerprint(sorted(external.hashes))[:12],
        "generator": stored.sha256[:12] if stored else None,
    }
    # Earlier versions had the same seeds in all repeats.
    return asked | ({"seeds of a repeat": REPEATED} if settings.repeats > 1 else {})


def _joined(hashes: Sequence[str]) -> str:
    """One word for the parts of all folds; for a single one, its own."""
    return (hashes[0] if len(hashes) == 1 else fingerprint(list(hashes)))[:12]
