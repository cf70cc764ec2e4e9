"""Finished cells -> a result: scores of the images of all folds together, choices, comparisons, verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from braingan.data.files import read_json, sha256_of
from braingan.data.folds import Folds
from braingan.errors import OutputError
from braingan.experiment.analysis import analyse
from braingan.experiment.cells import OWN, ClassifierCell, classifiers, expected_cells
from braingan.experiment.curve import curve_label
from braingan.experiment.plan import Plan
from braingan.experiment.result import BenchmarkResult
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.storage import MODEL
from braingan.versions import versions

Json = dict[str, Any]


def finished_cells(plan: Plan) -> dict[ClassifierCell, Json]:
    """What the classifiers that are finished say, in the order of folds, arms, ratios and seeds."""
    return {cell: said for cell in classifiers(plan.bench) if (said := cell.read(plan.bench)) is not None}


def assemble(plan: Plan, cells: Mapping[ClassifierCell, Json], *, notes: Sequence[str] = ()) -> BenchmarkResult:
    """Put finished cells together, whoever ran them and when.

    While some are missing, only folds count that are complete: of all repeats that are, or else of the first.

    Args:
        plan: of the benchmark.
        cells: those that are finished.
        notes: what a reader must know besides what the plan says.

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
    names = {cell: label_of(cell, settings) for cell in cells}
    labels = {names[cell]: (cell.arm, cell.ratio) for cell in cells}
    labelled = {(names[cell], cell.fold, cell.seed): said | {"arm": names[cell]}
                for cell, said in cells.items() if cell.fold in complete}  # fmt: skip
    splits = Folds(tuple(plan.splits[fold] for fold in complete))
    numbered = {(label, complete.index(fold), seed): said for (label, fold, seed), said in labelled.items()}
    found, failed = analyse(
        splits, plan.classes, settings, numbered, labels, repeats=repeats, external=plan.external, columns=plan.columns
    )
    generators = [_generator(bench.generator_folder(fold, seed), fold, seed) for fold, seed in _used(cells)]
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
        notes=[*said, *plan.notes, *notes, *failed],
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
    """Folds that count: of every repeat that is whole, or else those of the first."""
    found = np.bincount([cell.fold for cell in cells], minlength=len(expected))
    whole = [fold for fold, count in enumerate(expected) if found[fold] == count]
    repeats = [range(start, start + settings.folds) for start in range(0, len(expected), settings.folds)]
    kept = [fold for repeat in repeats if set(repeat) <= set(whole) for fold in repeat]
    return kept or [fold for fold in whole if fold < settings.folds]


def _used(cells: Iterable[ClassifierCell]) -> dict[tuple[int, int], None]:
    return dict.fromkeys((cell.fold, cell.generator_seed) for cell in cells if cell.generator_seed is not None)


def _generator(folder: Path, fold: int, seed: int) -> Json:
    """What a result tells of a generator."""
    stats = folder / "stats.jsonl"
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()] if stats.exists() else []
    kept = ("step", "d_loss", "g_loss")
    return {
        "fold": fold,
        "seed": seed,
        "sha256": sha256_of(folder / MODEL),
        "seconds": read_json(folder / "config.json")["seconds"],
        "losses": [{key: line[key] for key in kept} for line in lines if all(key in line for key in kept)],
    }
