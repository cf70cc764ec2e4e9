"""Finished cells -> a result: scores of the images of all folds together, choices, comparisons, verdict."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braingan.augmentation.synthesis import UNGROUPED
from braingan.data.files import read_json, replacing, sha256_of
from braingan.data.folds import Folds
from braingan.data.split import UNITS
from braingan.errors import OutputError
from braingan.evaluation.prediction_files import PICTURE
from braingan.experiment.analysis import analyse
from braingan.experiment.arms import ARMS
from braingan.experiment.cells import OWN, ClassifierCell, classifiers, expected_cells
from braingan.experiment.curve import curve_label
from braingan.experiment.plan import PLAN, Plan
from braingan.experiment.pooling import batch_of
from braingan.experiment.result import RESULT, BenchmarkResult
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.samples import edits_real_slices, labels_made
from braingan.generation.storage import MODEL, load_run
from braingan.versions import versions

Json = dict[str, Any]


def finished_cells(plan: Plan) -> dict[ClassifierCell, Json]:
    """What the classifiers that are finished say, in the order of folds, arms, ratios and seeds."""
    return {cell: said for cell in classifiers(plan.bench) if (said := cell.read(plan.bench)) is not None}


def result_so_far(out: Path) -> BenchmarkResult:
    """The result in a benchmark's folder, or what is finished of it; then `predictions.csv` is written for just that.

    Raises:
        OutputError: the folder is no benchmark's, or nothing is finished.
    """
    path = out / RESULT
    if path.exists() and not (out / PLAN).exists():  # of an earlier version
        return BenchmarkResult.load(path)
    plan = Plan.load(out)
    unknown = [name for name in plan.bench.settings.arms if name not in ARMS.names()]
    if unknown and path.exists():  # an arm that a script registers
        return BenchmarkResult.load(path)
    cells = finished_cells(plan)
    whole = len(cells) == len(expected_cells(plan.bench.settings, len(plan.splits)))
    if whole and path.exists():
        return BenchmarkResult.load(path)
    try:
        result = assemble(plan, cells)
    except OutputError:
        if path.exists():  # of fewer seeds, say
            return BenchmarkResult.load(path)
        raise
    counted = {(own["fold"], own["seed"]) for own in result.runs}
    write_predictions(plan, {cell: said for cell, said in cells.items() if (cell.fold, cell.seed) in counted})
    return result


def write_predictions(plan: Plan, cells: Mapping[ClassifierCell, Mapping[str, Any]]) -> None:
    """Write `predictions.csv` and, where there are external images, `external.csv`.

    A row for each arm, repeat, fold, seed and image: `docs/benchmark.md` names the columns.
    """
    settings, classes, folds = plan.bench.settings, plan.classes, len({cell.fold for cell in cells})
    for part, name in (("test", "predictions.csv"), ("external", "external.csv")):
        if part == "external" and not plan.external:
            continue
        with replacing(plan.bench.out / name) as beside, beside.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            unit = plan.units[part]
            group = [PICTURE] if unit == UNITS["twins"] else []
            columns = ["arm", "run", "fold", "seed", "batch", "file", "patient", *group, "target"]
            writer.writerow([*columns, *(f"p_{label}" for label in classes)])
            for cell, said in cells.items():
                files = plan.external if part == "external" else plan.splits[cell.fold].split.test
                run, batch = cell.fold // settings.folds, batch_of(cell.seed, settings.generators_of(cell.arm))
                if part == "external":  # which every fold tests: each is a run of its own
                    run, batch = cell.fold, 0 if folds > 1 else batch
                named = [label_of(cell, settings), run, cell.fold, cell.seed, batch]
                for file, row in zip(files, said["predictions"][part], strict=True):
                    patient = file.group if unit == UNITS["patient"] else ""
                    writer.writerow([*named, file.file, patient, *([file.group] if group else []), file.label, *row])


def assemble(plan: Plan, cells: Mapping[ClassifierCell, Json]) -> BenchmarkResult:
    """Put finished cells together, whoever ran them and when.

    While some are missing, only the first folds count, up to one that is not complete: of whole repeats, or else of the
    first one.

    Args:
        plan: of the benchmark.
        cells: those that are finished.

    Raises:
        OutputError: no fold is complete.
    """
    bench, settings = plan.bench, plan.bench.settings
    folds = len(plan.splits)
    expected = np.bincount([cell.fold for cell in expected_cells(settings, folds)], minlength=folds).tolist()
    complete = _complete(cells, expected, settings)
    if not complete:
        raise OutputError(
            f"{len(cells)} of {sum(expected)} classifiers of {bench.out} are finished, and no fold is complete; "
            "there is nothing to report yet"
        )
    partial = len(complete) < len(expected)
    repeats = 1 if partial and len(complete) < settings.folds else len(complete) // settings.folds
    names = {cell: label_of(cell, settings) for cell in cells if cell.fold in complete}
    labels = {name: (cell.arm, cell.ratio) for cell, name in names.items()}
    labelled = {(name, cell.fold, cell.seed): cells[cell] | {"arm": name} for cell, name in names.items()}
    splits = Folds(tuple(plan.splits[fold] for fold in complete))
    found, failed = analyse(
        splits, plan.classes, settings, labelled, labels, repeats=repeats,
        unit=plan.units["test"], external=plan.external, external_unit=plan.units.get("external", UNITS["patient"]),
        columns=plan.columns,
    )  # fmt: skip
    generators = [_generator(bench.generator_folder(fold, seed), fold, seed) for fold, seed in _used(names)]
    runs = [{key: value for key, value in own.items() if key not in OWN} for own in labelled.values()]
    trained = 0.0 if bench.generator else sum(own["seconds"] for own in generators)
    said = [f"PARTIAL: {len(cells)} of {sum(expected)} classifiers are finished; this is about {len(complete)} of "
            f"{len(expected)} folds."] if partial else []  # fmt: skip
    return BenchmarkResult(
        settings=settings.to_json() | plan.places,
        versions=versions(),
        splits=splits.to_json(),
        classes=plan.classes,
        preprocessing=plan.preprocessing,
        runs=runs,
        generators=generators,
        intensity={},
        bad_files=plan.bad_files,
        units=plan.units,
        notes=[*said, *plan.notes, *_notes_of_generator(plan, names), *failed],
        leakage=list(bench.leakage),
        seconds=round(trained + sum(run["seconds"] for run in runs), 1),
        **found,
    )


def label_of(cell: ClassifierCell, settings: BenchmarkSettings) -> str:
    """How results call an arm; of several ratios, and of parts of the patients, each is an arm of its own."""
    if cell.patients < 1:
        return curve_label(cell.arm, cell.patients)
    several = len(settings.ratio) > 1 and settings.registered_arms()[cell.arm].by_ratio
    return f"{cell.arm}@{cell.ratio:g}" if several else cell.arm


def _complete(cells: Iterable[ClassifierCell], expected: Sequence[int], settings: BenchmarkSettings) -> list[int]:
    """The first folds that are whole: of whole repeats, or else of the first one."""
    found = np.bincount([cell.fold for cell in cells], minlength=len(expected))
    missing = next((fold for fold, count in enumerate(expected) if found[fold] < count), len(expected))
    repeats = missing // settings.folds
    return list(range(repeats * settings.folds if repeats else missing))


def _used(cells: Iterable[ClassifierCell]) -> dict[tuple[int, int], None]:
    """Fold and seed of the generators."""
    return dict.fromkeys((cell.fold, cell.generator_seed) for cell in cells if cell.generator_seed is not None)


def _notes_of_generator(plan: Plan, cells: Iterable[ClassifierCell]) -> list[str]:
    """What a reader must know of the synthetic images."""
    used, notes = next(iter(_used(cells)), None), []
    if used is None:
        return []
    generator = load_run(plan.bench.generator_folder(*used)).generator
    if edits_real_slices(generator):
        notes.append(
            "The synthetic images are slices of training patients with synthetic tumours, and the generator keeps such "
            "slices: neither may be handed out as anonymous."
        )
        if plan.splits[0].split.grouped_by != "patient":
            notes.append(f"Edited slices: {UNGROUPED}.")
    real = [name for label, name in enumerate(plan.classes) if label not in labels_made(generator)]
    if real:
        alone = any(cell.arm == "synthetic" for cell in cells)
        where = (
            ": in the arm 'synthetic', images of that class are real"
            if alone
            else ": images of that class are all real"
        )
        notes.append(f"The generator cannot make {', '.join(real)}{where}.")
    return notes


def _generator(folder: Path, fold: int, seed: int) -> Json:
    """What a result tells of a generator."""
    stats = folder / "stats.jsonl"
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()] if stats.exists() else []
    kept = ("step", "d_loss", "g_loss")
    config = read_json(folder / "config.json")
    return {
        "fold": fold,
        "seed": seed,
        "sha256": sha256_of(folder / MODEL),
        "seconds": config["seconds"],
        "chosen_on_validation": bool(config.get("chosen_on_validation")),
        "losses": [{key: line[key] for key in kept} for line in lines if all(key in line for key in kept)],
    }
