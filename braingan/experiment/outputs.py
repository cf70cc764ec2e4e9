"""What a benchmark writes: its result, pictures, predictions, distributions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from braingan.augmentation.synthesis import UNGROUPED
from braingan.data.files import replacing
from braingan.data.pictures import grid, write_png
from braingan.errors import OutputError
from braingan.experiment.assembly import assemble, finished_cells, label_of
from braingan.experiment.cells import Bench, ClassifierCell, classifiers, synthetic_images
from braingan.experiment.data import BenchmarkData
from braingan.experiment.images import LabelledImages
from braingan.experiment.plan import Plan
from braingan.experiment.result import BenchmarkResult
from braingan.generation.samples import SHOWS_PATIENTS, edits_real_slices, labels_made
from braingan.generation.storage import StoredGenerator, load_run

BINS = 64
PER_CLASS = 12  # images of a class in a sample grid


def write_result(plan: Plan, loaded: BenchmarkData) -> BenchmarkResult:
    """Write what a finished benchmark found, and pictures of what it worked with.

    Args:
        plan: of the benchmark.
        loaded: its images.

    Raises:
        OutputError: a classifier is missing.
    """
    bench, cells = plan.bench, finished_cells(plan)
    missing = [cell.title for cell in classifiers(bench) if cell not in cells]
    if missing:
        raise OutputError(f"{bench.out} lacks {missing[0]}, which another command may have replaced; give it again")
    intensity, said = _looks(bench, loaded, list(cells))
    write_predictions(bench.out / "predictions.csv", plan, loaded, cells, "test")
    if loaded.inputs.external is not None:
        write_predictions(bench.out / "external.csv", plan, loaded, cells, "external")
    result = replace(assemble(plan, cells, notes=said), intensity=intensity)
    result.save(bench.out / "result.json")
    return result


def _looks(
    bench: Bench, loaded: BenchmarkData, cells: Sequence[ClassifierCell]
) -> tuple[dict[str, list[float]], list[str]]:
    """Write sample pictures; gives histograms, and what a reader must know of the synthetic images."""
    cell = next((cell for cell in cells if cell.generator_seed is not None), None)
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


def write_predictions(
    path: Path, plan: Plan, loaded: BenchmarkData, cells: Mapping[ClassifierCell, Mapping[str, Any]],
    part: Literal["test", "external"],
) -> None:  # fmt: skip
    """A row for each arm, repeat, fold, seed and image: `docs/benchmark.md` names the columns."""
    settings, classes = plan.bench.settings, plan.classes
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "run", "fold", "seed", "file", "patient", "target", *(f"p_{name}" for name in classes)])
        for cell, said in cells.items():
            arm, run = label_of(cell, settings), cell.fold // settings.folds
            source = getattr(loaded.inputs.fold(cell.fold), part).source
            for record, row in zip(source.records, said["predictions"][part], strict=True):
                patient = record.group if source.has_patients else ""
                named = [record.file, patient, classes[record.label]]
                writer.writerow([arm, run, cell.fold, cell.seed, *named, *row])
