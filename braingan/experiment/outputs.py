"""What a benchmark writes beside its result: pictures, predictions, distributions."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braingan.data.files import replacing
from braingan.data.pictures import grid, write_png
from braingan.experiment.arms import LabelledImages
from braingan.experiment.data import BenchmarkData

BINS = 64
PER_CLASS = 12  # images of a class in a sample grid


def histogram(images: Tensor) -> list[float]:
    """Shares of the pixels in 64 bins from black to white."""
    counts = torch.bincount(images.flatten().long() * BINS // 256, minlength=BINS)
    return [round(share, 6) for share in (counts / counts.sum()).tolist()]


def write_pictures(folder: Path, sets: Mapping[str, LabelledImages], classes: Sequence[str]) -> None:
    """`NAME.png` for each set: some images of each class, a row each."""
    for name, shown in sets.items():
        text = {"Software": "braingan", "Synthetic": str(name == "synthetic").lower(), "Rows": ", ".join(classes)}
        write_png(folder / f"{name}.png", _sample_grid(shown, len(classes)), text)


def _sample_grid(shown: LabelledImages, classes: int) -> Tensor:
    """Evenly spaced images, as many of each class; a class with too few leaves black places."""
    rows = []
    for label in range(classes):
        own = shown.images[shown.labels == label]
        chosen = own[torch.linspace(0, len(own) - 1, min(PER_CLASS, len(own))).long()]
        rows.append(torch.cat([chosen, own.new_zeros(PER_CLASS - len(chosen), *own.shape[1:])]))
    return grid(torch.cat(rows), PER_CLASS)


def write_predictions(path: Path, loaded: BenchmarkData, cells: Sequence[Mapping[str, Any]]) -> None:
    """A row for each arm, fold, seed and test image: `docs/benchmark.md` names the columns."""
    classes, source = loaded.test.source.classes, loaded.test.source
    with replacing(path) as beside, beside.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["arm", "fold", "seed", "file", "patient", "target", *(f"p_{name}" for name in classes)])
        for cell in cells:
            for record, row in zip(source.records, cell["probabilities"], strict=True):
                patient = record.group if source.has_patients else ""
                writer.writerow(
                    [cell["arm"], cell["fold"], cell["seed"], record.file, patient, classes[record.label], *row]
                )
