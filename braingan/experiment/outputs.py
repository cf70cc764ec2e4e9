"""What a benchmark writes: its result, pictures, predictions, distributions."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from braingan.augmentation.synthesis import UNGROUPED
from braingan.data.files import read_json, replacing
from braingan.data.pictures import grid, write_png
from braingan.errors import OutputError
from braingan.experiment.arms import ARMS, LabelledImages
from braingan.experiment.cells import OWN, Bench, ClassifierCell, synthetic_images
from braingan.experiment.data import BenchmarkData
from braingan.experiment.inputs import CellInputs
from braingan.experiment.result import BenchmarkResult, summarise
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.samples import SHOWS_PATIENTS, edits_real_slices, labels_made
from braingan.generation.storage import StoredGenerator, load_run
from braingan.versions import versions

BINS = 64
PER_CLASS = 12  # images of a class in a sample grid


def describe_generator(stored: StoredGenerator, seed: int) -> dict[str, Any]:
    """What a result tells of the generator of a seed."""
    stats = stored.folder / "stats.jsonl"
    lines = [json.loads(line) for line in stats.read_text(encoding="utf-8").splitlines()] if stats.exists() else []
    kept = ("step", "d_loss", "g_loss")
    return {
        "seed": seed,
        "sha256": stored.sha256,
        "seconds": read_json(stored.folder / "config.json")["seconds"],
        "losses": [{key: line[key] for key in kept} for line in lines if all(key in line for key in kept)],
    }


def write_result(
    bench: Bench,
    inputs: CellInputs,
    loaded: BenchmarkData,
    settings: BenchmarkSettings,
    generators: list[dict[str, Any]],
    places: Mapping[str, Path | None],
) -> BenchmarkResult:
    """Put finished cells together, in the order of seeds and arms, whoever ran them and when."""
    drawn = {entry["seed"]: entry["sha256"] for entry in generators}
    order = [
        ClassifierCell(arm.name, seed, sha if arm.uses_synthetic else None)
        for seed, sha in drawn.items()
        for arm in ARMS
    ]
    found = [(cell, cell.read(bench)) for cell in order]
    if missing := [cell.title for cell, read in found if read is None]:
        raise OutputError(f"{bench.out} lacks {missing[0]}, which another command may have replaced; give it again")
    cells = [read for _, read in found if read is not None]
    first = next(iter(drawn))
    synthetic = synthetic_images(bench, first, inputs, drawn[first])
    sets = {"real": inputs.real, "synthetic": synthetic}
    stored = load_run(bench.generator_folder(first))
    comments = {"synthetic": SHOWS_PATIENTS} if edits_real_slices(stored.generator) else {}
    write_pictures(bench.out / "pictures", sets, loaded.train.source.classes, comments)
    write_predictions(bench.out / "predictions.csv", loaded, cells)
    runs = [{key: value for key, value in cell.items() if key not in OWN} for cell in cells]
    trained = 0.0 if bench.generator else sum(entry["seconds"] for entry in generators)
    result = BenchmarkResult(
        settings=settings.to_json() | {name: place.resolve().name if place else None for name, place in places.items()},
        versions=versions(),
        split=loaded.split.to_json(),
        classes=list(loaded.train.source.classes),
        preprocessing=loaded.train.preprocessing.to_json(),
        runs=runs,
        summary=summarise(runs),
        generators=generators,
        intensity={name: histogram(own.images) for name, own in sets.items()},
        bad_files=[asdict(bad) for bad in loaded.bad_files],
        notes=loaded.notes() + _notes_of(stored, loaded),
        leakage=list(bench.leakage),
        seconds=round(trained + sum(run["seconds"] for run in runs), 1),
    )
    result.save(bench.out / "result.json")
    return result


def _notes_of(stored: StoredGenerator, loaded: BenchmarkData) -> list[str]:
    """What a reader must know of the synthetic images."""
    notes, classes = [], loaded.train.source.classes
    if edits_real_slices(stored.generator):
        notes.append(
            "The synthetic images are slices of training patients with synthetic tumours, and the generator keeps such "
            "slices: neither may be handed out as anonymous."
        )
        if loaded.split.grouped_by != "patient":
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
