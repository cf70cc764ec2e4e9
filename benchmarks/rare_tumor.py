"""Few tumour slices, many healthy ones: what do pasted and learnt tumours give, and what would more real ones give?

Five folds of patients. Training: every healthy slice of the other patients and N of their tumour slices, chosen at
random (those of a smaller N are among those of a larger one). Each arm adds 800 synthetic tumour slices, made from
these training images alone; the tumour class is then drawn half from real and half from synthetic slices. All
classifiers take equally many steps of batches in which both classes are equally frequent, with the same classic
augmentation. The oracle has all real tumour slices of the training patients. Scored on all slices of the fold's
patients; intervals are `braingan.compare`'s, over resampled patients of all folds and classifier seeds.

Usage: python benchmarks/rare_tumor.py DATA OUT [--slices 60 20 200] [--folds 0 1 2 3 4] [--ablation]

DATA holds class folders `tumor/` and `no_tumor/`, masks and a `metadata.csv` with patients. A stopped run goes on, and
several processes may share OUT, each with folds of its own. When all is there, `results/rare-tumor.*` are written.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure

import braingan
from braingan.data.files import read_json, write_json
from braingan.data.pictures import to_uint8
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import Split, split_files
from braingan.evaluation.classifier import ClassifierSettings, predict, train_classifier
from braingan.generation.samples import draw_samples
from braingan.generation.settings import TrainingSettings
from braingan.generation.train import train_generator
from braingan.versions import versions

log = logging.getLogger("braingan")

RESULTS = Path(__file__).parent / "results"
FOLDS, SEEDS, SLICES, SIZE, COUNT = 5, 3, (20, 60, 200), 64, 800
CLASSIFIER = ClassifierSettings(steps=350)
METRICS = ("macro_f1", "auroc", "recall_at_specificity:0.9")
MAIN = 60  # tumour slices at which all arms and the ablation are run


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
        self._latest: tuple[str, tuple[torch.Tensor, float]] | None = None

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

    def synthetic(self, arm: Arm, fold: int, slices: int | None) -> tuple[torch.Tensor, float]:
        """(COUNT, C, H, W) uint8 tumour slices of a generator that is trained first, and the seconds that took."""
        name = f"{arm.generator}-{slices or 'all'}-fold{fold}"
        if self._latest and self._latest[0] == name:
            return self._latest[1]
        chosen, held_out = self.training(fold, slices), self.test(fold)
        split = Split(split_files(self.images, chosen), (), split_files(self.images, held_out), "patient")
        steps, batch = arm.training
        settings = TrainingSettings(
            str(arm.backend), arm.options, size=SIZE, steps=steps, batch_size=batch, device="cpu", precision="bfloat16"
        )
        stored = train_generator(self.images.select(chosen), split, settings, self.out / "generators" / name)
        labels = torch.full((COUNT,), self.tumor)
        images = to_uint8(draw_samples(stored.generator, labels, seed=0).images)
        self._latest = name, (images, read_json(stored.folder / "config.json")["seconds"])
        return self._latest[1]


def run(study: Study, cell: Cell, arm: Arm) -> None:
    """Train and score a classifier, and write what it says of the test images."""
    train = study.images.select(study.training(cell.fold, cell.slices))
    test = study.images.select(study.test(cell.fold))
    images, labels, marks, spent = train.images, train.labels, torch.zeros(len(train), dtype=torch.bool), 0.0
    if arm.backend:
        drawn, spent = study.synthetic(arm, cell.fold, cell.slices)
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
         "classifier_seconds": round(time.monotonic() - started, 1)},
    )  # fmt: skip
    log.info("%s, %s slices, fold %d, seed %d", cell.arm, cell.slices or "all", cell.fold, cell.seed)


def probabilities(study: Study, arm: str, slices: int | None) -> np.ndarray | None:
    """(seeds, images, 2), each image scored by the classifiers that have not seen its patient; None if not there."""
    found = np.zeros((SEEDS, len(study.labels)))
    for fold in range(FOLDS):
        for seed in range(SEEDS):
            path = Cell(arm, slices, fold, seed).path(study.out)
            if not path.exists():
                return None
            found[seed, study.folds == fold] = read_json(path)["tumor"]
    return np.stack([1 - found, found], axis=-1)


def seconds(study: Study, arm: str, slices: int | None) -> dict[str, list[float]]:
    """What trainings took, of generators (a fold each) and of classifiers."""
    told = [read_json(Cell(arm, slices, fold, seed).path(study.out)) for fold in range(FOLDS) for seed in range(SEEDS)]
    return {kind: [each[f"{kind}_seconds"] for each in told][:: SEEDS if kind == "generator" else 1]
            for kind in ("generator", "classifier")}  # fmt: skip


def results(study: Study, wanted: Sequence[tuple[str, int | None]]) -> list[dict[str, Any]]:
    """For each arm its measures, and the difference to the real images and to the oracle with intervals."""
    oracle, rows = probabilities(study, "oracle", None), []
    for arm, slices in wanted:
        said = probabilities(study, arm, slices)
        if said is None:
            continue
        row: dict[str, Any] = {"arm": arm, "tumor_slices": slices, "seconds": seconds(study, arm, slices)}
        real = None if arm in {"real", "oracle"} else probabilities(study, "real", slices)
        for name, other in (("real", real), ("oracle", None if arm == "oracle" else oracle)):
            if other is not None:
                found = {metric: compared(study, other, said, metric).to_json() for metric in METRICS}
                row[f"against_{name}"] = found
        for metric in METRICS:
            own = [compared(study, one[None], one[None], metric, resamples=2).value_a for one in said]
            row[metric] = {"mean": float(np.mean(own)), "std": float(np.std(own, ddof=1)), "runs": own}
        rows.append(row)
    return rows


def compared(study: Study, a: np.ndarray, b: np.ndarray, metric: str, resamples: int = 10_000) -> braingan.Comparison:
    """`braingan.compare` on all images of all folds."""
    targets = (study.labels == study.tumor).astype(int)
    return braingan.compare(targets, a, b, study.patients, metric=metric, folds=study.folds, resamples=resamples)


def closed(rows: Sequence[Mapping[str, Any]], row: Mapping[str, Any], metric: str) -> float | None:
    """The share of the gap between real images and the oracle that an arm closes."""
    means = {(each["arm"], each["tumor_slices"]): each[metric]["mean"] for each in rows}
    real, oracle = means.get(("real", row["tumor_slices"])), means.get(("oracle", None))
    if real is None or oracle is None or row["arm"] in {"real", "oracle"}:
        return None
    return float((row[metric]["mean"] - real) / (oracle - real))


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    names = {"macro_f1": "macro-F1", "auroc": "AUROC", "recall_at_specificity:0.9": "recall at 0.9 specificity"}
    heads = ["tumour slices", "arm", *names.values(), "macro-F1 against real", "AUROC against real"]
    lines = [f"| {' | '.join(heads)} | gap closed (F1, AUROC) |", "|" + "---|" * (len(heads) + 1)]
    for row in rows:
        own = [f"{row[metric]['mean']:.3f} ± {row[metric]['std']:.3f}" for metric in METRICS]
        against = row.get("against_real", {})
        told = [_interval(against.get(metric)) for metric in METRICS[:2]]
        shares = [closed(rows, row, metric) for metric in METRICS[:2]]
        gap = ", ".join(f"{share:.0%}" for share in shares if share is not None)
        lines.append(f"| {row['tumor_slices'] or 'all'} | {row['arm']} | " + " | ".join([*own, *told, gap]) + " |")
    return "\n".join(lines)


def _interval(found: Mapping[str, Any] | None) -> str:
    return "" if found is None else f"{found['difference']:+.3f} ({found['low']:+.3f} to {found['high']:+.3f})"


def draw(rows: Sequence[Mapping[str, Any]], slices_of_oracle: float, path: Path) -> None:
    """F1 and AUROC against the number of real tumour slices, with and without synthetic ones."""
    figure: Figure = plt.figure(figsize=(9, 3.6), layout="constrained")
    for place, (metric, name) in enumerate((("macro_f1", "macro-F1"), ("auroc", "AUROC"))):
        axes = figure.add_subplot(1, 2, place + 1)
        for arm, colour in (("real", "black"), ("paste", "tab:orange"), ("insert", "tab:blue")):
            own = [row for row in rows if row["arm"] == arm or (arm == "real" and row["arm"] == "oracle")]
            own.sort(key=lambda row: row["tumor_slices"] or slices_of_oracle)
            axes.errorbar([row["tumor_slices"] or slices_of_oracle for row in own],
                          [row[metric]["mean"] for row in own], [row[metric]["std"] for row in own],
                          color=colour, marker="o", capsize=3,
                          label={"real": "real slices only", "paste": "with pasted tumours",
                                 "insert": "with inserted tumours"}[arm])  # fmt: skip
        axes.set_xscale("log")
        axes.set_xticks([*SLICES, slices_of_oracle], [*map(str, SLICES), f"{slices_of_oracle:.0f} (all)"])
        axes.minorticks_off()
        axes.set_xlabel("real tumour slices in training")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=130)
    plt.close(figure)


def publish(study: Study, data: Path) -> None:
    """Write what is there to `results/`."""
    wanted = [*cells_of(SLICES, ablation=True)]
    rows = results(study, sorted(wanted, key=lambda each: each[1] or 10**6))
    every = float(np.mean([len(study.training(fold, None)) - len(study.training(fold, 0)) for fold in range(FOLDS)]))
    facts = {
        "command": f"python benchmarks/rare_tumor.py {data.name} OUT --ablation",
        "classifier": {"model": CLASSIFIER.model, "steps": CLASSIFIER.steps, "batch_size": CLASSIFIER.batch_size},
        "folds": FOLDS, "seeds": SEEDS, "synthetic": COUNT, "size": SIZE, "all_tumor_slices": every,
        "healthy_slices": float(np.mean([len(study.training(fold, 0)) for fold in range(FOLDS)])),
        "patients": len(study.fold_of), "versions": versions(),
    }  # fmt: skip
    RESULTS.mkdir(exist_ok=True)
    fields = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in facts.items()]
    fields.append('"rows": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]")
    (RESULTS / "rare-tumor.json").write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
    told = ", ".join(f"{package} {version}" for package, version in versions().items())
    text = f"{table(rows)}\n\nCommand: `{facts['command']}`; {told}.\n"
    (RESULTS / "rare-tumor.md").write_text(text, encoding="utf-8")
    draw(rows, every, RESULTS / "rare-tumor.png")


def main() -> None:
    """Run what is not there yet, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--slices", type=int, nargs="+", default=[60, 20, 200], choices=SLICES)
    parser.add_argument("--folds", type=int, nargs="+", default=list(range(FOLDS)), choices=range(FOLDS))
    parser.add_argument("--ablation", action="store_true", help="run the ablation, too")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    study = Study(asked.data, asked.out)
    arms = ARMS | ABLATION
    for arm, slices in cells_of(asked.slices, ablation=asked.ablation):
        for fold in asked.folds:
            for seed in range(SEEDS):
                cell = Cell(arm, slices, fold, seed)
                if not cell.path(study.out).exists():
                    run(study, cell, arms[arm])
    publish(study, asked.data)


if __name__ == "__main__":
    main()
