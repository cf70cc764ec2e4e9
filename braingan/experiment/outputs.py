"""What a benchmark writes: its result, pictures, predictions, distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from braingan.data.pictures import grid, write_png
from braingan.errors import OutputError
from braingan.experiment.assembly import assemble, finished_cells, write_predictions
from braingan.experiment.cells import ClassifierCell, classifiers, synthetic_images
from braingan.experiment.images import LabelledImages
from braingan.experiment.inputs import CellInputs
from braingan.experiment.plan import Plan
from braingan.experiment.result import RESULT, BenchmarkResult
from braingan.generation.samples import SHOWS_PATIENTS, edits_real_slices
from braingan.generation.storage import load_run

BINS = 64
PER_CLASS = 12  # images of a class in a sample grid


def write_result(plan: Plan, inputs: CellInputs) -> BenchmarkResult:
    """Write what a finished benchmark found, and pictures of what it worked with.

    Args:
        plan: of the benchmark.
        inputs: its images.

    Raises:
        OutputError: a classifier is missing.
    """
    bench, cells = plan.bench, finished_cells(plan)
    missing = [cell.title for cell in classifiers(bench) if cell not in cells]
    if missing:
        raise OutputError(f"{bench.out} lacks {missing[0]}, which another command may have replaced; give it again")
    intensity = _looks(plan, inputs, list(cells))
    write_predictions(plan, cells)
    result = replace(assemble(plan, cells), intensity=intensity)
    result.save(bench.out / RESULT)
    return result


def _looks(plan: Plan, inputs: CellInputs, cells: Sequence[ClassifierCell]) -> dict[str, list[float]]:
    """Write sample pictures; gives histograms."""
    bench, cell = plan.bench, next((cell for cell in cells if cell.generator_seed is not None), None)
    fold = inputs.fold(0 if cell is None else cell.fold)
    sets, comments = {"real": fold.real}, {}
    if cell is not None and cell.generator_seed is not None:
        sets["synthetic"] = synthetic_images(bench, fold, cell.fold, cell.generator_seed, cell.generator_sha256)
        stored = load_run(bench.generator_folder(cell.fold, cell.generator_seed))
        comments = {"synthetic": SHOWS_PATIENTS} if edits_real_slices(stored.generator) else {}
    write_pictures(bench.out / "pictures", sets, plan.classes, comments)
    return {name: histogram(own.images) for name, own in sets.items()}


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
