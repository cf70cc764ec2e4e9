"""A data folder -> real and synthetic images side by side, prepared alike."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from braingan.augmentation.counts import balancing_counts, synthetic_counts
from braingan.augmentation.mixing import AugmentedDataset
from braingan.augmentation.synthesis import CONFIG, MANIFEST, check_can_write, write_synthetic
from braingan.augmentation.synthetic import load_synthetic
from braingan.data.files import replacing_folder
from braingan.data.folders import METADATA
from braingan.data.pictures import write_png
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.reading import read_images
from braingan.data.split import Split, everything, load_split, locate
from braingan.data.workplace import CACHE, check_place, claim
from braingan.errors import LeakageError, OutputError, SettingsError
from braingan.generation.settings import TrainingSettings
from braingan.generation.storage import StoredGenerator, load_run
from braingan.generation.train import check_settings, train_generator

log = logging.getLogger("braingan")

REAL, SYNTHETIC, GENERATOR = "real", "synthetic", "generator"


def augment_folder(
    data: Path,
    out: Path,
    settings: TrainingSettings,
    *,
    ratio: float | None,
    balance: bool,
    classes: Sequence[str] | None,
    generator: Path | None,
    split_file: Path | None,
    skip_bad: bool,
) -> AugmentedDataset:
    """See `braingan.augment`."""
    check_place(out, data)
    if (out / MANIFEST).exists():
        raise OutputError(f"{out} holds synthetic images already; give another folder")
    stored = load_run(generator) if generator else None
    preprocessing = stored.preprocessing if stored else settings.preprocessing
    prepared = prepare_folder(data, preprocessing, out / CACHE, skip_bad=skip_bad)
    split = load_split(split_file, prepared) if split_file else everything(prepared)
    train = prepared.select(locate(split, prepared).train)
    counts = wanted_counts(train, ratio=ratio, balance=balance, classes=classes)
    check_can_write(train.spec.channels)
    if stored:
        check_generator(stored, prepared.source.classes, split)
    else:
        settings = settings.resolved()
        check_settings(settings, prepared.spec)
    asked = (stored.settings if stored else settings).to_json() | {
        "ratio": ratio,
        "balance": balance,
        "made classes": sorted(classes) if classes else None,
        "sampling seed": settings.seed,
        "training images": split.train_hash[:12],
        "generator": stored.sha256[:12] if stored else None,
    }
    claim(out, asked, may_change={"device"})
    stored = stored or train_generator(train, split, settings, out / GENERATOR)
    _write(stored, train, counts, out, seed=settings.seed)
    return open_augmented(out)


def open_augmented(out: Path) -> AugmentedDataset:
    """The dataset that `augment` wrote."""
    return AugmentedDataset(read_images(out / REAL), load_synthetic(out))


def wanted_counts(
    train: PreparedSet, *, ratio: float | None, balance: bool, classes: Sequence[str] | None
) -> dict[int, int]:
    """How many images of each class to make.

    Raises:
        SettingsError: ratio and balance together, a class that is not there, or nothing to make.
    """
    names = train.source.classes
    if balance and ratio is not None:
        raise SettingsError("--ratio and --balance were both asked; give one of them")
    unknown = [name for name in classes or () if name not in names]
    if unknown:
        raise SettingsError(f"class {unknown[0]!r} was asked; the data have {', '.join(map(repr, names))}")
    targets = train.source.targets
    counts = balancing_counts(targets) if balance else synthetic_counts(targets, 0.5 if ratio is None else ratio)
    counts = {label: count for label, count in counts.items() if classes is None or names[label] in classes}
    if not sum(counts.values()):
        found = ", ".join(f"{count} {names[label]}" for label, count in sorted(Counter(targets).items()))
        what = "--balance" if balance else f"ratio {ratio}"
        raise SettingsError(f"{what} asks for no image at all ({found}); a larger --ratio makes some")
    return counts


def check_generator(stored: StoredGenerator, classes: Sequence[str], split: Split) -> None:
    """Refuse a generator of other classes, or one that has seen what is held out.

    Raises:
        SettingsError: its classes are not those of the data.
        LeakageError: some of its training images are held out in the split.
    """
    made, asked = list(stored.generator.spec.classes), list(classes)
    if made != asked:
        raise SettingsError(
            f"the generator in {stored.folder} makes {', '.join(made)}; the data have {', '.join(asked)}"
        )
    twins = {file.sha256 for file in split.train}  # on both sides: the data's doing, not the generator's
    learned = {file.sha256 for file in stored.split.train} - twins
    by_patient = stored.split.grouped_by == split.grouped_by == "patient"
    patients = {file.group for file in stored.split.train} if by_patient else set()
    held_out = (*split.val, *split.test)
    seen = sorted(file.file for file in held_out if file.sha256 in learned or file.group in patients)
    if seen:
        names = ", ".join(seen[:3]) + (", ..." if len(seen) > 3 else "")
        raise LeakageError(
            f"leak: the generator in {stored.folder} was trained on {len(seen)} held-out images or on others of "
            f"their patients ({names}); "
            f"train one on the training part alone, or use its own split with --split {stored.folder / 'split.json'}"
        )


def _write(stored: StoredGenerator, train: PreparedSet, counts: Mapping[int, int], out: Path, *, seed: int) -> None:
    """Write both parts beside and move them into place; the manifest comes last and makes the set complete."""
    for name in (REAL, SYNTHETIC):  # what a stopped run left, without a manifest
        shutil.rmtree(out / name, ignore_errors=True)
    with replacing_folder(out / REAL) as beside:
        write_real(train, beside)
    staging = out / f".{SYNTHETIC}.part"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write_synthetic(stored, counts, staging, seed=seed, below=SYNTHETIC)
    for name in (SYNTHETIC, CONFIG, MANIFEST):
        os.replace(staging / name, out / name)
    staging.rmdir()
    log.info("wrote %d real and %d synthetic images: %s", len(train), sum(counts.values()), out)


def write_real(train: PreparedSet, out: Path) -> None:
    """Write prepared real images as `out/<class>/<name>.png`, with a `metadata.csv`."""
    taken: set[str] = set()
    text = {"Software": "braingan", "Synthetic": "false", "Preprocessing": train.preprocessing.fingerprint}
    with (out / METADATA).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "label", "patient", "source"])
        for image, record in zip(train.images, train.source.records, strict=True):
            label = train.source.classes[record.label]
            name = _free_name(record.file, label, taken)
            write_png(out / name, image, text | {"Class": label})
            writer.writerow([name, label, record.group if train.source.has_patients else "", record.file])


def _free_name(file: str, label: str, taken: set[str]) -> str:
    """`<class>/<name>.png`, different for `a.jpg`, `a.png` and `b/a.png`."""
    parts = list(PurePosixPath(file).parts)
    if parts[0] == label:
        parts = parts[1:]
    whole = "_".join(parts)
    name = f"{label}/{PurePosixPath(whole).stem}.png"
    while name in taken:
        whole = f"{whole.replace('.', '_')}.png"
        name = f"{label}/{whole}"
        whole = f"{PurePosixPath(whole).stem}_"
    taken.add(name)
    return name
