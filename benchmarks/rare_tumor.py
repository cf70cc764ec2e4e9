"""Few tumour slices, many healthy ones: what do pasted and learnt tumours give, and what would more real ones give?

Five folds of patients. Training: every healthy slice of the other patients and N of their tumour slices, chosen at
random (those of a smaller N are among those of a larger one). Each arm adds 800 synthetic tumour slices, made from
these training images alone; the tumour class is then drawn half from real and half from synthetic slices. All
classifiers take equally many steps of batches in which both classes are equally frequent, with the same classic
augmentation. The oracle has all real tumour slices of the training patients. Scored on all slices of the fold's
patients; intervals are `braingan.compare`'s, over resampled patients of all folds and seeds. A seed is that of the
classifier and of the drawn images; a generator is trained once a fold. The ablation leaves one part of `insert` out
at a time, in the first two folds.

Usage: python benchmarks/rare_tumor.py DATA OUT [--slices 60 20 200] [--folds 0 1 2 3 4] [--arms real ...] [--ablation]
       python benchmarks/rare_tumor_results.py DATA OUT

DATA holds class folders `tumor/` and `no_tumor/`, masks and a `metadata.csv` with patients. A stopped run goes on, and
several processes may share OUT, each with folds, or generators, of its own. What classifiers of these very images,
folds and arms said is published in `results/rare-tumor-cells.jsonl`, and is not done again while it lies there. The
second command writes `results/rare-tumor*`.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from braingan.data.files import fingerprint, read_json, write_json
from braingan.data.pictures import to_uint8
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import Split, split_files
from braingan.evaluation.classifier import ClassifierSettings, predict, train_classifier
from braingan.evaluation.recipes import SHOWN_AS
from braingan.generation.samples import draw_samples
from braingan.generation.settings import TrainingSettings
from braingan.generation.storage import StoredGenerator
from braingan.generation.train import train_generator
from braingan.versions import versions

log = logging.getLogger("braingan")

RESULTS = Path(__file__).parent / "results"
PUBLISHED = RESULTS / "rare-tumor-cells.jsonl"  # what all have in common, then a line for each classifier
FOLDS, SEEDS, SLICES, SIZE, COUNT = 5, 3, (20, 60, 200), 64, 800
CLASSIFIER = ClassifierSettings(steps=350)
MAIN = 60  # tumour slices at which all arms and the ablation are run
ABLATION_FOLDS = (0, 1)


@dataclass(frozen=True)
class Arm:
    """What is added to the real images.

    Attributes:
        backend: of the synthetic images; None for none.
        share: of the draws of the tumour class that are synthetic; None for none of them, or all as one pool.
        options: hyper-parameters.
        training: steps and batch size.
    """

    backend: str | None = None
    share: float | None = 0.5
    options: Mapping[str, Any] = field(default_factory=dict)
    training: tuple[int, int] = (1000, 24)

    def to_json(self) -> dict[str, Any]:
        """All that it is."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @property
    def generator(self) -> str:
        """The name of its generator."""
        told = "".join(f"-{name}={value}" for name, value in self.options.items())
        return f"{self.backend}{told}"


ARMS = {
    "real": Arm(),
    "oracle": Arm(),
    "paste": Arm("paste"),
    "insert": Arm("insert"),
    "dcgan": Arm("dcgan", training=(1000, 64)),
}
ABLATION = {
    "insert, share 0.25": Arm("insert", 0.25),
    "insert, share 0.75": Arm("insert", 0.75),
    "insert, one pool": Arm("insert", None),
    "no blanking": Arm("insert", options={"blanks": False}),
    "healthy slices not shown to the critic": Arm("insert", options={"healthy_as_fake": False}),
    "no refilling": Arm("insert", options={"refill_weight": 0.0}),
    "outlines and places not varied": Arm("insert", options={"variation": 0.0}),
    "any level of the head": Arm("insert", options={"match_level": False}),
}


@dataclass(frozen=True)
class Cell:
    """One classifier."""

    arm: str
    slices: int | None  # None: all of them
    fold: int
    seed: int

    def path(self, out: Path) -> Path:
        """Where its predictions lie."""
        name = f"{self.arm}-{self.slices or 'all'}-fold{self.fold}-seed{self.seed}.json"
        return out / "cells" / name.replace(",", "").replace(" ", "_")


def cells_of(slices: Sequence[int], *, ablation: bool) -> Iterator[tuple[str, int | None]]:
    """Arms and numbers of tumour slices, the most telling first."""
    yield "oracle", None
    yield from ((arm, count) for count in slices for arm in ("real", "insert", "paste"))
    yield "dcgan", MAIN
    if ablation:
        yield from ((arm, MAIN) for arm in ABLATION)


def folds_of(arm: str) -> Sequence[int]:
    """In which folds an arm is run."""
    return ABLATION_FOLDS if arm in ABLATION else range(FOLDS)


class Study:
    """Images and folds of a data folder."""

    def __init__(self, data: Path, out: Path) -> None:
        self.out = out
        self.images = prepare_folder(data, Preprocessing(size=SIZE), out / "cache")
        self.tumor = self.images.source.classes.index("tumor")
        self.patients = np.asarray([record.group for record in self.images.source.records])
        self.labels = np.asarray(self.images.source.targets)
        order = np.random.default_rng(0).permutation(np.unique(self.patients))
        self.fold_of = {patient: number % FOLDS for number, patient in enumerate(order)}
        self.folds = np.asarray([self.fold_of[patient] for patient in self.patients])
        self._latest: tuple[str, StoredGenerator] | None = None
        if not self.images.source.has_patients or sorted(self.images.source.classes) != ["no_tumor", "tumor"]:
            raise SystemExit(f"{data} needs the classes no_tumor and tumor, and a metadata.csv with patients")

    @property
    def fingerprint(self) -> str:
        """Of all that arms have in common: images, patients and masks, folds, and how classifiers are trained."""
        files = split_files(self.images, range(len(self.images)))
        masks = None if self.images.masks is None else sha256(self.images.masks.numpy().tobytes()).hexdigest()
        shared = [SIZE, COUNT, FOLDS, SHOWN_AS, asdict(CLASSIFIER), masks]
        return fingerprint([*shared, [[own.file, own.sha256, own.label, own.group] for own in files]])

    def take_published(self) -> None:
        """Write the cells that are published and not there.

        Raises:
            SystemExit: what is published is of other images or settings, and would be mixed with these.
        """
        lines = PUBLISHED.read_text(encoding="utf-8").splitlines() if PUBLISHED.exists() else []
        if lines and json.loads(lines[0])["study"] != self.fingerprint:
            raise SystemExit(f"{PUBLISHED} is of other images or settings; move it away to start anew")
        for line in lines[1:]:
            own = json.loads(line)
            cell = Cell(*own.pop("cell"))
            if not cell.path(self.out).exists() and own["how"] == (ARMS | ABLATION)[cell.arm].to_json():
                write_json(cell.path(self.out), own)

    def training(self, fold: int, slices: int | None) -> list[int]:
        """Images that an arm may learn from: all healthy ones, and some with tumours."""
        healthy = np.flatnonzero((self.folds != fold) & (self.labels != self.tumor))
        tumors = np.random.default_rng([0, fold]).permutation(
            np.flatnonzero((self.folds != fold) & (self.labels == self.tumor))
        )
        return [*healthy.tolist(), *tumors[:slices].tolist()]

    def test(self, fold: int) -> list[int]:
        """Images that it is scored on."""
        found: list[int] = np.flatnonzero(self.folds == fold).tolist()
        return found

    def synthetic(self, arm: Arm, cell: Cell) -> tuple[torch.Tensor, float]:
        """(COUNT, C, H, W) uint8 tumour slices, drawn with the cell's seed, and the seconds of the training."""
        stored = self._generator(arm, cell.fold, cell.slices)
        drawn = draw_samples(stored.generator, torch.full((COUNT,), self.tumor), seed=cell.seed)
        return to_uint8(drawn.images), read_json(stored.folder / "config.json")["seconds"]

    def _generator(self, arm: Arm, fold: int, slices: int | None) -> StoredGenerator:
        """One training for all seeds of a fold."""
        name = f"{arm.generator}-{slices or 'all'}-fold{fold}"
        if self._latest is None or self._latest[0] != name:
            chosen, held_out = self.training(fold, slices), self.test(fold)
            split = Split(split_files(self.images, chosen), (), split_files(self.images, held_out), "patient")
            steps, batch = arm.training
            settings = TrainingSettings(
                str(arm.backend), arm.options, size=SIZE, steps=steps, batch_size=batch, device="cpu",
                precision="bfloat16",
            )  # fmt: skip
            folder = self.out / "generators" / name
            self._latest = name, train_generator(self.images.select(chosen), split, settings, folder)
        return self._latest[1]


def run(study: Study, cell: Cell, arm: Arm) -> None:
    """Train and score a classifier, and write what it says of the test images."""
    train = study.images.select(study.training(cell.fold, cell.slices))
    test = study.images.select(study.test(cell.fold))
    images, labels, marks, spent = train.images, train.labels, torch.zeros(len(train), dtype=torch.bool), 0.0
    if arm.backend:
        drawn, spent = study.synthetic(arm, cell)
        images = torch.cat([images, drawn])
        labels = torch.cat([labels, torch.full((len(drawn),), study.tumor)])
        marks = torch.cat([marks, torch.ones(len(drawn), dtype=torch.bool)])
    started = time.monotonic()
    model = train_classifier(
        images, labels, train.spec, CLASSIFIER, seed=cell.seed, device=torch.device("cpu"), precision="bfloat16",
        synthetic=marks, share=arm.share if arm.backend else None,
    )  # fmt: skip
    said = predict(model, test.images, device=torch.device("cpu"))[:, study.tumor]
    write_json(
        cell.path(study.out),
        {"tumor": [round(value, 5) for value in said.tolist()], "generator_seconds": spent,
         "classifier_seconds": round(time.monotonic() - started, 1), "how": arm.to_json(), "versions": versions()},
    )  # fmt: skip
    log.info("%s, %s slices, fold %d, seed %d", cell.arm, cell.slices or "all", cell.fold, cell.seed)


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, nargs="+", default=[60, 20, 200], choices=SLICES)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)), choices=range(FOLDS))
    parser.add_argument("--ablation", action="store_true", help="run the ablation, too")
    parser.add_argument("--arms", nargs="+", choices=[*ARMS, *ABLATION], help="only these")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    study = Study(asked.data, asked.out)
    study.take_published()
    arms = ARMS | ABLATION
    ablation = asked.ablation or bool(set(asked.arms or ()) & set(ABLATION))
    for arm, slices in cells_of(asked.slices, ablation=ablation):
        for fold in sorted(set(asked.folds) & set(folds_of(arm))) if arm in (asked.arms or arms) else ():
            for seed in range(SEEDS):
                cell = Cell(arm, slices, fold, seed)
                if not cell.path(study.out).exists():
                    run(study, cell, arms[arm])


if __name__ == "__main__":
    main()
