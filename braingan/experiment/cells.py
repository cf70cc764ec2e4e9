"""A cell: one independent training of a benchmark, the generator of a seed or the classifier of an arm and a seed.

A cell is claimed with a lock that the system lets go of when the process dies, and written whole or not at all. So
any number of processes can work on one folder, and whatever is killed leaves nothing that would have to be mended.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from braingan.augmentation.counts import synthetic_counts
from braingan.augmentation.synthesis import CONFIG, counts_made, write_synthetic
from braingan.augmentation.synthetic import SyntheticSet, load_synthetic
from braingan.data.decoding import read_pixels
from braingan.data.files import fingerprint, read_json, replacing_folder, write_json
from braingan.data.locking import locked
from braingan.data.workplace import CACHE
from braingan.engine.devices import resolve_device
from braingan.evaluation.classifier import predict, train_classifier
from braingan.evaluation.scores import score
from braingan.experiment.arms import ARMS, Arm, LabelledImages
from braingan.experiment.inputs import CellInputs
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.storage import is_finished, load_run
from braingan.generation.train import train_generator

FOLD = 0  # there is one split so far; results name it, so that cross-validation will not change their schema
OWN = {"probabilities", "generator", "key"}  # of a cell's file, not of the result


@dataclass(frozen=True)
class Bench:
    """What all cells of a benchmark share, and small enough to be sent to each.

    Attributes:
        out: the output folder, absolute.
        settings: of the benchmark.
        key: of the settings and the images that every cell depends on.
        generator: folder of the generator for all seeds, absolute; None where each seed trains its own.
        leakage: what was allowed although it leaks.
        inputs: file of `CellInputs`, for worker processes.
    """

    out: Path
    settings: BenchmarkSettings
    key: str
    generator: Path | None = None
    leakage: tuple[str, ...] = ()
    inputs: Path | None = None

    def generator_folder(self, seed: int) -> Path:
        """Where the generator of a seed lies."""
        return self.generator or self.out / "generators" / f"seed{seed}"


class Cell(Protocol):
    """One independent training. Frozen, and small enough to be sent to another process."""

    @property
    def name(self) -> str:
        """For files."""

    @property
    def title(self) -> str:
        """For people."""

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:
        """Whether it is there already."""

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        """Do it; gives what to say of it."""


@dataclass(frozen=True)
class GeneratorCell:
    """The generator of a seed."""

    seed: int

    @property
    def name(self) -> str:  # noqa: D102
        return f"generator-seed{self.seed}"

    @property
    def title(self) -> str:  # noqa: D102
        return f"generator, seed {self.seed}"

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:
        """Whether it is trained; a generator of other work is refused."""
        if not is_finished(bench.generator_folder(self.seed)):
            return False
        self.run(bench, inputs)
        return True

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        """Train it, or take it up; its folder says what it is for."""
        settings = bench.settings.training(self.seed)
        folder = bench.generator_folder(self.seed)
        train_generator(inputs.train, inputs.learning, settings, folder, reference=inputs.val)
        return "done"


@dataclass(frozen=True)
class ClassifierCell:
    """The classifier of an arm and a seed.

    Attributes:
        arm: its name.
        seed: of the classifier and, where the arm has any, of the synthetic images.
        generator: SHA-256 of the generator that these come from; None where the arm has none.
    """

    arm: str
    seed: int
    generator: str | None = None

    @property
    def name(self) -> str:  # noqa: D102
        return f"{self.arm}-fold{FOLD}-seed{self.seed}"

    @property
    def title(self) -> str:  # noqa: D102
        return f"{self.arm}, seed {self.seed}"

    def read(self, bench: Bench) -> dict[str, Any] | None:
        """Its scores and predictions; None where there are none, or of other work."""
        path = self._file(bench)
        cell: dict[str, Any] = read_json(path) if path.exists() else {}
        return cell if cell.get("key") == self._key(bench) else None

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:  # noqa: D102
        return self.read(bench) is not None

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        """Train it, score it and write the file; nothing is done twice."""
        cell = self.read(bench)
        if cell is None:
            arm = next(arm for arm in ARMS if arm.name == self.arm)
            synthetic = synthetic_images(bench, self.seed, inputs, self.generator) if self.generator else None
            cell = self._scored(arm, bench, inputs, synthetic) | {"generator": self.generator, "key": self._key(bench)}
            write_json(self._file(bench), cell)
        return f"macro-F1 {cell['macro']['f1']:.3f}"

    def _file(self, bench: Bench) -> Path:
        return bench.out / "cells" / f"{self.name}.json"

    def _key(self, bench: Bench) -> str:
        return fingerprint([bench.key, self.arm, FOLD, self.seed, self.generator])

    def _scored(self, arm: Arm, bench: Bench, inputs: CellInputs, synthetic: LabelledImages | None) -> dict[str, Any]:
        real, test, spec = inputs.real, inputs.test, inputs.train.spec
        drawn = synthetic or LabelledImages(real.images[:0], real.labels[:0])
        train, device = arm.build(real, drawn), resolve_device(bench.settings.device)
        synthetic_count = int(train.synthetic.sum())
        started = time.monotonic()
        model = train_classifier(
            train.images, train.labels, spec, bench.settings.classifier,
            seed=self.seed, device=device, title=self.title, precision=bench.settings.classifier_precision,
            synthetic=train.synthetic, share=bench.settings.share if arm.uses_real and arm.uses_synthetic else None,
        )  # fmt: skip
        probabilities = predict(model, test.images, device=device)
        scores = score(test.labels.numpy(), probabilities.numpy())
        return {
            "arm": arm.name,
            "fold": FOLD,
            "seed": self.seed,
            "n_real": len(train) - synthetic_count,
            "n_synthetic": synthetic_count,
            "per_class": scores.per_class(spec.classes),
            "macro": scores.macro(),
            "accuracy": scores.accuracy,
            "seconds": round(time.monotonic() - started, 1),
            "probabilities": [[round(value, 6) for value in row] for row in probabilities.tolist()],
        }


def synthetic_images(bench: Bench, seed: int, inputs: CellInputs, generator: str) -> LabelledImages:
    """The synthetic images of a seed: on disk, so that all arms and a later look share them; drawn once.

    Args:
        bench: of the cell.
        seed: of the series.
        inputs: the training images say how many are drawn.
        generator: SHA-256 of the generator that they must come from.
    """
    folder = bench.out / "synthetic" / f"seed{seed}"
    with claimed(bench, f"synthetic-seed{seed}", wait=True):
        if folder.exists() and read_json(folder / CONFIG)["generator"] != generator:
            shutil.rmtree(folder)  # drawn from a generator that has been trained anew since
        if not folder.exists():
            for killed in folder.parent.glob(f".{folder.name}.*.part"):  # while it drew
                shutil.rmtree(killed)
            counts = synthetic_counts(inputs.train.source.targets, bench.settings.ratio)
            with replacing_folder(folder) as beside:
                stored = load_run(bench.generator_folder(seed))
                counts = counts_made(stored, counts, None)
                write_synthetic(stored, counts, beside, seed=seed, leakage=bench.leakage)
    return _in_memory(load_synthetic(folder), inputs.train.spec.channels)


def _in_memory(synthetic: SyntheticSet, channels: int) -> LabelledImages:
    pixels = [torch.from_numpy(read_pixels(file.path, channels)) for file in synthetic.files]
    images = torch.stack(pixels).movedim(-1, 1).to(torch.uint8)
    labels = torch.tensor(synthetic.targets, dtype=torch.int64)
    return LabelledImages(images.contiguous(), labels, torch.ones(len(labels), dtype=torch.bool))


def claimed(bench: Bench, name: str, *, wait: bool) -> AbstractContextManager[None]:
    """Hold the lock of that name in a benchmark; see `locking.locked`."""
    return locked(bench.out / CACHE / "locks" / f"{name}.lock", wait=wait)
