"""What a benchmark writes: its result, pictures, predictions, distributions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from braingan.augmentation.synthesis import UNGROUPED
from braingan.data.files import read_json, replacing
from braingan.data.pictures import grid, write_png
from braingan.errors import OutputError
from braingan.evaluation.scores import measures
from braingan.experiment.cells import OWN, Bench, ClassifierCell, synthetic_images
from braingan.experiment.contrasts import choose, compare_arms, recommended_ratio
from braingan.experiment.data import BenchmarkData
from braingan.experiment.images import LabelledImages
from braingan.experiment.pooling import Cells, pool, tested_images
from braingan.experiment.result import BenchmarkResult, summarise
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.samples import SHOWS_PATIENTS, edits_real_slices, labels_made
from braingan.generation.storage import StoredGenerator, load_run
from braingan.versions import versions

BINS = 64
PER_CLASS = 12  # images of a class in a sample grid


def describe_generator(stored: StoredGenerator, fold: int, seed: int) -> dict[str, Any]:
    """What a result tells of a generator."""
    stats = stored.folder / "stats.jsonl"
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()] if stats.exists() else []
    kept = ("step", "d_loss", "g_loss")
    return {
        "fold": fold,
        "seed": seed,
        "sha256": stored.sha256,
        "seconds": read_json(stored.folder / "config.json")["seconds"],
        "losses": [{key: line[key] for key in kept} for line in lines if all(key in line for key in kept)],
    }


def write_result(
    bench: Bench,
    loaded: BenchmarkData,
    settings: BenchmarkSettings,
    order: Sequence[ClassifierCell],
    places: Mapping[str, Path | None],
) -> BenchmarkResult:
    """Put finished cells together, in the order given, whoever ran them and when.

    Args:
        bench: where the cells lie.
        loaded: images and splits.
        settings: of the benchmark.
        order: the cells; all are finished.
        places: folders that were given, by option.
    """
    inputs, labels = loaded.inputs, {cell: _label(cell, settings) for cell in order}
    cells: dict[tuple[str, int, int], dict[str, Any]] = {}
    for cell in order:
        read = cell.read(bench, inputs)
        if read is None:
            raise OutputError(f"{bench.out} lacks {cell.title}, which another command may have replaced; give it again")
        cells[labels[cell], cell.fold, cell.seed] = read | {"arm": labels[cell]}
    generators = _generators(bench, order)
    found = _analysed(loaded, settings, cells, {labels[cell]: (cell.arm, cell.ratio) for cell in order})
    intensity, said = _looks(bench, loaded, order)
    write_predictions(bench.out / "predictions.csv", loaded, cells, "test")
    if inputs.external is not None:
        write_predictions(bench.out / "external.csv", loaded, cells, "external")
    runs = [{key: value for key, value in cell.items() if key not in OWN} for cell in cells.values()]
    trained = 0.0 if bench.generator else sum(entry["seconds"] for entry in generators)
    result = BenchmarkResult(
        settings=settings.to_json() | {name: place.resolve().name if place else None for name, place in places.items()},
        versions=versions(),
        splits=loaded.splits.to_json(),
        classes=loaded.classes,
        preprocessing=inputs.everything.preprocessing.to_json(),
        runs=runs,
        generators=generators,
        intensity=intensity,
        bad_files=[asdict(bad) for bad in loaded.bad_files],
        notes=[*loaded.notes(), *said, *found.pop("notes")],
        leakage=list(bench.leakage),
        seconds=round(trained + sum(run["seconds"] for run in runs), 1),
        **found,
    )
    result.save(bench.out / "result.json")
    return result


def _label(cell: ClassifierCell, settings: BenchmarkSettings) -> str:
    """How results call an arm; of several ratios, each is an arm of its own."""
    several = len(settings.ratio) > 1 and settings.registered_arms()[cell.arm].by_ratio
    return f"{cell.arm}@{cell.ratio:g}" if several else cell.arm


def _analysed(
    loaded: BenchmarkData, settings: BenchmarkSettings, cells: Cells, labels: Mapping[str, tuple[str, float]]
) -> dict[str, Any]:
    """What follows from the predictions: scores, choices, comparisons."""
    inputs, arms = loaded.inputs, settings.registered_arms()
    tested = tested_images(inputs, settings.repeats)
    pooled = {label: pool(label, cells, tested, range(settings.seeds)) for label in labels}
    targets = {fold: inputs.fold(fold).val.labels.numpy() for fold in range(len(loaded.splits))}
    choice = choose(labels, arms, pooled, targets)
    comparisons, failed = compare_arms(labels, pooled, tested, choice, margin=settings.margin)
    scores = [
        {"arm": label, "repeat": repeat, "seed": seed}
        | measures(tested.targets, own.probabilities[run], loaded.classes, folds=own.folds[run])
        for label, own in pooled.items()
        for run, (repeat, seed) in enumerate(own.runs)
    ]
    return {
        "scores": scores,
        "summary": summarise(scores),
        "choice": choice.to_json() if choice else None,
        "comparisons": comparisons,
        "recommended_ratio": recommended_ratio(labels, choice, comparisons),
        "notes": failed,
    }


def _generators(bench: Bench, order: Sequence[ClassifierCell]) -> list[dict[str, Any]]:
    """What a result tells of the generators that its cells used."""
    used = dict.fromkeys((cell.fold, cell.generator_seed) for cell in order if cell.generator_seed is not None)
    return [describe_generator(load_run(bench.generator_folder(fold, seed)), fold, seed) for fold, seed in used]


def _looks(
    bench: Bench, loaded: BenchmarkData, order: Sequence[ClassifierCell]
) -> tuple[dict[str, list[float]], list[str]]:
    """Write sample pictures; gives histograms, and what a reader must know of the synthetic images."""
    cell = next((cell for cell in order if cell.generator_seed is not None), None)
    inputs = loaded.inputs.fold(0 if cell is None else cell.fold)
    sets, comments, notes = {"real": inputs.real}, {}, []
    if cell is not None and cell.generator_seed is not None:
        sha = cell.generator_sha256
        sets["synthetic"] = synthetic_images(bench, inputs, cell.fold, cell.generator_seed, sha)
        stored = load_run(bench.generator_folder(cell.fold, cell.generator_seed))
        comments = {"synthetic": SHOWS_PATIENTS} if edits_real_slices(stored.generator) else {}
        notes = _notes_of(stored, loaded)
    write_pictures(bench.out / "pictures", sets, loaded.classes, comments)
    return {name: histogram(own.images) for name, own in sets.items()}, notes


def _notes_of(stored: StoredGenerator, loaded: BenchmarkData) -> list[str]:
    """What a reader must know of the synthetic images."""
    notes, classes = [], loaded.classes
    if edits_real_slices(stored.generator):
        notes.append(
            "The synthetic images are slices of training patients with synthetic tumours, and the generator keeps such "
            "slices: neither may be handed out as anonymous."
        )
        if loaded.splits[0].split.grouped_by != "patient":
            notes.append(f"Edited slices: {UNGROUPED}.")
    real = [name for label, name in enumerate(classes) if label not in labels_made(stored.generator)]
    if real:
        notes.append(
            f"The generator cannot make {', '.join(real)}: in the arm `synthetic`, images of that class are real."
        )
    return notes


def histogram(images: Tensor) -> list[float]:
    """Shares of the pixels in 64 bins from black to white."""
    counts = torch.bincount(images.flatten().long() * BINS // 256, minlength=BINS)
    return [round(share, 6) for share in (counts / counts.sum()).tolist()]


def write_pictures(
    folder: Path, sets: Mapping[str, LabelledImages], classes: Sequence[str], comments: Mapping[str, str]
) -> None:
    """`NAME.png` for each set: some images of each class, a row each; `comments` of a set go into its text."""
    for name, shown in sets.items():
        text = {"Software": "braingan", "Synthetic": str(name == "synthetic").lower(), "Rows": ", ".join(classes)}
        if name in comments:
            text["Comment"] = comments[name]
        write_png(folder / f"{name}.png", _sample_grid(shown, len(classes)), text)


def _sample_grid(shown: LabelledImages, classes: int) -> Tensor:
    """Evenly spaced images, as many of each class; a class with too few leaves black places."""
    rows = []
    for label in range(classes):
        own = shown.images[shown.labels == label]
        chosen = own[torch.linspace(0, len(own) - 1, min(PER_CLASS, len(own))).long()]
        rows.append(torch.cat([chosen, own.new_zeros(PER_CLASS - len(chosen), *own.shape[1:])]))
    return grid(torch.cat(rows), PER_CLASS)


def write_predictions(path: Path, loaded: BenchmarkData, cells: Cells, part: Literal["test", "external"]) -> None:
    """A row for each arm, fold, seed and image: `docs/benchmark.md` names the columns."""
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [f"p_{name}" for name in loaded.classes]
        writer.writerow(["arm", "fold", "seed", "file", "patient", "target", *names])
        for (arm, fold, seed), cell in cells.items():
            source = getattr(loaded.inputs.fold(fold), part).source
            for record, row in zip(source.records, cell["predictions"][part], strict=True):
                patient = record.group if source.has_patients else ""
                writer.writerow([arm, fold, seed, record.file, patient, loaded.classes[record.label], *row])
