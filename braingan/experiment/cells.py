"""A cell: one independent training of a benchmark, a generator of a fold or the classifier of an arm, fold and seed.

A cell is claimed with a lock that the system lets go of when the process dies, and written whole or not at all. So
any number of processes can work on one folder, and whatever is killed leaves nothing that would have to be mended.
"""

from __future__ import annotations

import shutil
import time
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from braingan.augmentation.counts import synthetic_counts
from braingan.augmentation.synthesis import CONFIG, counts_made, write_synthetic
from braingan.augmentation.synthetic import SyntheticSet, load_synthetic
from braingan.data.decoding import read_pixels
from braingan.data.files import fingerprint, read_json, replacing_folder, sha256_of, write_json
from braingan.data.limits import Limits, limit
from braingan.data.locking import locked
from braingan.data.workplace import CACHE
from braingan.engine.devices import resolve_device
from braingan.entry_points import source_of
from braingan.errors import TrainingDivergedError
from braingan.evaluation.classifier import predict, train_classifier
from braingan.evaluation.recipes import SHOWN_AS, seen
from braingan.evaluation.scores import score
from braingan.experiment.arms import BUILT_IN, Arm, ArmImages, arms_named
from braingan.experiment.curve import patients_in_part
from braingan.experiment.images import LabelledImages
from braingan.experiment.inputs import CellInputs, FoldInputs
from braingan.experiment.settings import BenchmarkSettings
from braingan.generation.storage import MODEL, is_finished, load_run
from braingan.generation.train import train_generator

DECIMALS = 12  # of probabilities: fewer make one of what a very sure classifier still tells apart
OWN = {"predictions", "generator_sha256", "key"}  # of a cell's file, not of the result


@dataclass(frozen=True)
class Bench:
    """What all cells of a benchmark share, and small enough to be sent to each.

    Attributes:
        out: the output folder, absolute.
        settings: of the benchmark.
        key: of the settings that every cell depends on.
        images: for each fold, what images it has, in one word.
        generator: folder of the generator for all seeds, absolute; None where each fold trains its own.
        leakage: what was allowed although it leaks.
        inputs: file of `CellInputs`, for worker processes.
    """

    out: Path
    settings: BenchmarkSettings
    key: str
    images: tuple[str, ...]
    generator: Path | None = None
    leakage: tuple[str, ...] = ()
    inputs: Path | None = None

    def generator_folder(self, fold: int, seed: int) -> Path:
        """Where a generator of a fold lies."""
        return self.generator or self.out / "generators" / f"fold{fold}-seed{seed}"

    def synthetic_folder(self, fold: int, seed: int) -> Path:
        """Where the images of a generator lie."""
        return self.out / "synthetic" / f"fold{fold}-seed{seed}"


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
    """A generator of a fold.

    Attributes:
        fold: its number, over all repeats.
        seed: of the training.
    """

    fold: int
    seed: int

    @property
    def name(self) -> str:  # noqa: D102
        return f"generator-fold{self.fold}-seed{self.seed}"

    @property
    def title(self) -> str:  # noqa: D102
        return f"generator, fold {self.fold}, seed {self.seed}"

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:
        """Whether it is trained; a generator of other work is refused."""
        if not is_finished(bench.generator_folder(self.fold, self.seed)):
            return False
        self.run(bench, inputs)
        return True

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        """Train it, or take it up; its folder says what it is for."""
        own, folder = inputs.fold(self.fold), bench.generator_folder(self.fold, self.seed)
        settings = bench.settings.training(bench.settings.seed_in(self.fold, self.seed))
        train_generator(own.train, own.learning, settings, folder, reference=own.val)
        return "done"


@dataclass(frozen=True)
class ClassifierCell:
    """The classifier of an arm, a fold and a seed.

    Attributes:
        arm: its name.
        fold: its number, over all repeats.
        seed: of the classifier.
        ratio: synthetic images for each real one; 0 where the arm uses none.
        generator_seed: which of the fold's generators its synthetic images come from; None where it uses none.
        generator_sha256: of that generator.
        patients: share of the training patients whose real images it learns from, above 0.
    """

    arm: str
    fold: int
    seed: int
    ratio: float = 0.0
    generator_seed: int | None = None
    generator_sha256: str | None = None
    patients: float = 1.0

    @property
    def name(self) -> str:  # noqa: D102
        ratio = f"-ratio{self.ratio:g}" if self.ratio else ""
        part = f"-patients{self.patients:g}" if self.patients < 1 else ""
        return f"{self.arm}{ratio}{part}-fold{self.fold}-seed{self.seed}"

    @property
    def title(self) -> str:  # noqa: D102
        ratio = f" x {self.ratio:g}" if self.ratio else ""
        part = f", {self.patients:.0%} of the patients" if self.patients < 1 else ""
        return f"{self.arm}{ratio}{part}, fold {self.fold}, seed {self.seed}"

    def read(self, bench: Bench) -> dict[str, Any] | None:
        """Its scores and predictions; None where there are none, or of other work."""
        path = bench.out / "cells" / f"{self.name}.json"
        cell: dict[str, Any] = read_json(path) if path.exists() else {}
        return cell if cell.get("key") == self._key(bench) else None

    def finished(self, bench: Bench, inputs: CellInputs) -> bool:  # noqa: D102
        return self.read(bench) is not None

    def run(self, bench: Bench, inputs: CellInputs) -> str:
        """Train it, score it and write the file; nothing is done twice."""
        cell = self.read(bench)
        if cell is None:
            cell = self._scored(bench, inputs.fold(self.fold))
            cell |= {"generator_sha256": self.generator_sha256, "key": self._key(bench)}
            write_json(bench.out / "cells" / f"{self.name}.json", cell)
        return f"macro-F1 {cell['macro']['f1']:.3f}"

    def _key(self, bench: Bench) -> str:
        images = bench.images[self.fold]
        arm = arms_named([self.arm])[self.arm]
        how: list[Any] = [SHOWN_AS, asdict(arm.recipe), bench.settings.share if arm.shares else None, arm.seed_offset]
        if self.arm not in BUILT_IN:
            how.append(source_of(arm.build))
        own = [self.arm, how, self.ratio, self.patients, self.fold, self._seed(bench), self.generator_sha256]
        return fingerprint([bench.key, images, *own])

    def _scored(self, bench: Bench, inputs: FoldInputs) -> dict[str, Any]:
        settings, spec = bench.settings, inputs.train.spec
        arm, device = arms_named([self.arm])[self.arm], resolve_device(settings.device)
        train = arm.build(self._images(bench, inputs))
        share = settings.share if arm.shares else None
        seed, started = self._seed(bench) + arm.seed_offset, time.monotonic()
        model = train_classifier(
            train.images, train.labels, spec, settings.classifier, seed=seed, device=device, title=self.title,
            precision=settings.classifier_precision, synthetic=train.synthetic, share=share, recipe=arm.recipe,
        )  # fmt: skip
        said = {name: predict(model, own.images, device=device) for name, own in inputs.scored().items()}
        if not all(bool(rows.isfinite().all()) for rows in said.values()):
            raise TrainingDivergedError(
                "the classifier's training diverged: its probabilities are no numbers; a lower "
                "--classifier-learning-rate, or --classifier-precision float32, may work"
            )
        scores = score(inputs.test.labels.numpy(), said["test"].numpy())
        synthetic = int(train.synthetic.sum())
        return {
            "arm": self.arm,
            "ratio": self.ratio,
            "patients": self.patients,
            "fold": self.fold,
            "seed": self.seed,
            "generator": self.generator_seed,
            "n_real": len(train) - synthetic,
            "n_synthetic": synthetic,
            "seen": seen(train.labels, train.synthetic, settings.classifier, arm.recipe, share=share, seed=seed),
            "per_class": scores.per_class(spec.classes),
            "macro": scores.macro(),
            "accuracy": scores.accuracy,
            "seconds": round(time.monotonic() - started, 1),
            "predictions": {
                name: [[round(value, DECIMALS) for value in row] for row in rows.tolist()]
                for name, rows in said.items()
            },
        }

    def _images(self, bench: Bench, inputs: FoldInputs) -> ArmImages:
        left_out = inputs.left_out
        real = inputs.real
        if self.patients < 1:
            real = real.at(torch.tensor(part_of_patients(inputs, self.patients, bench.settings.split_seed + self.fold)))
        drawn = real.none()
        if self.generator_seed is not None:
            counts = synthetic_counts(inputs.train.source.targets, self.ratio)
            drawn = synthetic_images(bench, inputs, self.fold, self.generator_seed, self.generator_sha256).first(counts)
        return ArmImages(real, drawn, LabelledImages(left_out.images, left_out.labels), seed=self._seed(bench))

    def _seed(self, bench: Bench) -> int:
        return bench.settings.seed_in(self.fold, self.seed)


def part_of_patients(inputs: FoldInputs, share: float, seed: int) -> list[int]:
    """Places of the training images of some of the patients; those of a smaller share are among those of a larger one.

    Raises:
        SplitError: they leave a class without images.
    """
    groups = len({record.group for record in inputs.train.source.records})
    few = Limits(train_patients=patients_in_part(share, groups))
    return limit(inputs.train, range(len(inputs.train)), few, seed=seed)[0]


def cells_of_arm(
    name: str, arm: Arm, settings: BenchmarkSettings, fold: int, generators: dict[int, str]
) -> list[ClassifierCell]:
    """The classifiers of an arm in a fold.

    Args:
        name: of the arm.
        arm: what it is.
        settings: of the benchmark.
        fold: its number.
        generators: SHA-256 of each of the fold's generators that is finished, by its seed; with several, the
            classifiers' seeds take them in turn.
    """
    if not arm.uses_synthetic:
        parts = (*settings.curve, 1.0) if name == settings.curve_arm else (1.0,)
        return [ClassifierCell(name, fold, seed, patients=part) for part in parts for seed in range(settings.seeds)]
    ratios = settings.ratio if arm.by_ratio else (max(settings.ratio),)
    return [
        ClassifierCell(name, fold, seed, ratio, own, generators[own])
        for ratio in ratios
        for seed in range(settings.seeds)
        if (own := seed % settings.generators) in generators
    ]


def expected_cells(settings: BenchmarkSettings, folds: int) -> list[ClassifierCell]:
    """All classifiers of a benchmark, whether their generators are there or not; these are not named."""
    assumed, arms = dict.fromkeys(range(settings.generators), ""), settings.registered_arms().items()
    return [
        cell for fold in range(folds) for name, arm in arms for cell in cells_of_arm(name, arm, settings, fold, assumed)
    ]


def classifiers(bench: Bench) -> list[ClassifierCell]:
    """All classifiers whose generators are there, in the order of folds, arms, ratios and seeds."""
    arms, folds = bench.settings.registered_arms(), range(len(bench.images))
    needed = any(arm.uses_synthetic for arm in arms.values())
    ready = [finished_generators(bench, fold) if needed else {} for fold in folds]
    return [
        cell
        for fold in folds
        for name, arm in arms.items()
        for cell in cells_of_arm(name, arm, bench.settings, fold, ready[fold])
    ]


def synthetic_images(bench: Bench, inputs: FoldInputs, fold: int, seed: int, generator: str | None) -> LabelledImages:
    """The synthetic images of a generator, as many as the largest ratio asks for.

    They lie on disk, so that all arms, seeds and a later look share them; they are drawn once.

    Args:
        bench: of the cell.
        inputs: the training images say how many are drawn.
        fold: whose generator it is.
        seed: of the generator, and of the series.
        generator: SHA-256 of the generator that they must come from.
    """
    folder = bench.synthetic_folder(fold, seed)
    with claimed(bench.out, f"synthetic-{folder.name}", wait=True):
        if folder.exists() and read_json(folder / CONFIG)["generator"] != generator:
            shutil.rmtree(folder)  # drawn from a generator that has been trained anew since
        if not folder.exists():
            for killed in folder.parent.glob(f".{folder.name}.*.part"):  # while it drew
                shutil.rmtree(killed)
            counts = synthetic_counts(inputs.train.source.targets, max(bench.settings.ratio))
            with replacing_folder(folder) as beside:
                stored = load_run(bench.generator_folder(fold, seed))
                counts = counts_made(stored, counts, None)
                drawn = bench.settings.seed_in(fold, seed)
                write_synthetic(stored, counts, beside, seed=drawn, leakage=bench.leakage)
    return _in_memory(load_synthetic(folder), inputs.train.spec.channels)


def finished_generators(bench: Bench, fold: int) -> dict[int, str]:
    """SHA-256 of the generators of a fold that are there, by their seeds."""
    folders = {seed: bench.generator_folder(fold, seed) for seed in range(bench.settings.generators)}
    return {seed: sha256_of(folder / MODEL) for seed, folder in folders.items() if is_finished(folder)}


def _in_memory(synthetic: SyntheticSet, channels: int) -> LabelledImages:
    pixels = [torch.from_numpy(read_pixels(file.path, channels)) for file in synthetic.files]
    images = torch.stack(pixels).movedim(-1, 1).to(torch.uint8)
    labels = torch.tensor(synthetic.targets, dtype=torch.int64)
    return LabelledImages(images.contiguous(), labels, torch.ones(len(labels), dtype=torch.bool))


def claimed(out: Path, name: str, *, wait: bool) -> AbstractContextManager[None]:
    """Hold the lock of that name in a benchmark's folder; see `locking.locked`."""
    return locked(out / CACHE / "locks" / f"{name}.lock", wait=wait)
