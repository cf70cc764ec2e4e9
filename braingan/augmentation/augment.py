"""A data folder -> real and synthetic images side by side, prepared alike."""

from __future__ import annotations

import csv
import logging
import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from braingan.augmentation.counts import balancing_counts, synthetic_counts
from braingan.augmentation.held_out import SOURCE
from braingan.augmentation.leaks import check_choice, check_classes, check_generator, check_real, warn_of_shared
from braingan.augmentation.mixing import AugmentedDataset
from braingan.augmentation.synthesis import (
    CONFIG,
    MANIFEST,
    check_can_write,
    counts_made,
    made_of,
    warn_of_patients,
    write_synthetic,
)
from braingan.augmentation.synthetic import load_synthetic
from braingan.data.files import fingerprint, replacing_folder
from braingan.data.folders import METADATA
from braingan.data.held_out import prepare_test
from braingan.data.pictures import write_png
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.reading import read_images
from braingan.data.split import Split, given_split, locate, with_test
from braingan.data.workplace import CACHE, check_place, claim
from braingan.duplicates.seen import SEEN
from braingan.errors import OutputError, SettingsError
from braingan.generation.registry import create_backend
from braingan.generation.samples import check_tumor_size, with_tumor_size
from braingan.generation.settings import EARLIER, TrainingSettings
from braingan.generation.storage import StoredGenerator, load_run
from braingan.generation.train import check_data, check_settings, train_generator

log = logging.getLogger("braingan")

REAL, SYNTHETIC, GENERATOR = "real", "synthetic", "generator"
MASKS = "_masks"  # beside the images, as `ImageFolder` takes every folder in there for a class
VAL, TEST = "val", "test"  # held-out images, prepared as the real ones are


def augment_folder(
    data: Path,
    out: Path,
    settings: TrainingSettings,
    *,
    ratio: float | None,
    balance: bool,
    classes: Sequence[str] | None,
    tumor_size: float,
    generator: Path | None,
    split_file: Path | None,
    test: Path | None,
    skip_bad: bool,
    allow_leakage: bool,
) -> AugmentedDataset:
    """See `braingan.augment`."""
    check_place(out, data, test)
    if (out / MANIFEST).exists():
        raise OutputError(f"{out} holds synthetic images already; give another folder")
    stored = _sized(load_run(generator), tumor_size) if generator else None
    preprocessing = stored.preprocessing if stored else settings.preprocessing
    prepared = prepare_folder(data, preprocessing, out / CACHE, skip_bad=skip_bad)
    split = given_split(split_file, prepared)
    parts = locate(split, prepared)
    train = prepared.select(parts.train)
    held_out = [(prepared.select([*parts.val, *parts.test]), split)]
    apart = {VAL: prepared.select(parts.val), TEST: prepared.select(parts.test)}
    if test:
        apart[TEST] = prepare_test(test, prepared, preprocessing, out / CACHE, skip_bad=skip_bad)
        held_out.append((apart[TEST], with_test(split, prepared, apart[TEST])))
    counts = wanted_counts(train, ratio=ratio, balance=balance, classes=classes)
    check_can_write(train.spec.channels)
    if stored:
        check_classes(stored, prepared.source.classes)
        counts = counts_made(stored, counts, classes)
    else:
        settings = settings.resolved()
        check_settings(settings, prepared.spec)
        counts = made_of(check_data(settings, train), train.spec, counts, classes, settings.backend)
        check_tumor_size(create_backend(settings.backend, **settings.hyperparameters), tumor_size)
    leakage = _check_held_out(stored, train, held_out, allow_leakage=allow_leakage)
    if stored:
        leakage += check_choice(stored, split, prepared.select(parts.test), allow_leakage=allow_leakage)
    asked = (stored.settings if stored else settings).to_json() | {
        "ratio": ratio,
        "balance": balance,
        "made classes": sorted(classes) if classes else None,
        "sampling seed": settings.seed,
        "tumor size": tumor_size,
        "training images": split.train_hash[:12],
        "generator": stored.sha256[:12] if stored else None,
    }
    apart_from = {"held-out images": fingerprint({name: images.hashes for name, images in apart.items()})[:12]}
    claim(out, asked | apart_from, may_change={"device"}, earlier=EARLIER | {"tumor size": 1.0} | apart_from)
    if stored is None:
        stored = _sized(train_generator(train, split, settings, out / GENERATOR, reference=apart[VAL]), tumor_size)
    _write(stored, {REAL: train} | apart, counts, out, seed=settings.seed, leakage=leakage)
    return open_augmented(out)


def _sized(stored: StoredGenerator, tumor_size: float) -> StoredGenerator:
    return replace(stored, generator=with_tumor_size(stored.generator, tumor_size))


def _check_held_out(
    stored: StoredGenerator | None,
    train: PreparedSet,
    held_out: Sequence[tuple[PreparedSet, Split]],
    *,
    allow_leakage: bool,
) -> list[str]:
    """What has to stand in red beside the images; see `check_generator`."""
    leakage = check_real(train, "training", allow_leakage=allow_leakage)
    for images, split in held_out:
        if not len(images):
            continue
        leakage += check_real(images, "held-out", allow_leakage=allow_leakage)
        if stored:
            leakage += check_generator(stored, split, train, images, allow_leakage=allow_leakage)
        else:
            warn_of_shared(images, train)
    return leakage


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


def _write(
    stored: StoredGenerator,
    real: Mapping[str, PreparedSet],
    counts: Mapping[int, int],
    out: Path,
    *,
    seed: int,
    leakage: Sequence[str],
) -> None:
    """Write all parts beside and move them into place; the manifest comes last and makes the set complete."""
    shutil.rmtree(out / SYNTHETIC, ignore_errors=True)
    for name, images in real.items():
        for killed in out.glob(f".{name}.*.part"):  # images of patients
            shutil.rmtree(killed, ignore_errors=True)
        if len(images):
            for left in (out / name, out / f"{name}{MASKS}"):  # by a stopped run, for just these images
                shutil.rmtree(left, ignore_errors=True)
            with replacing_folder(out / name) as beside:
                write_real(images, beside, out / f"{name}{MASKS}")
    staging = out / f".{SYNTHETIC}.part"
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    write_synthetic(stored, counts, staging, seed=seed, below=SYNTHETIC, leakage=leakage)
    for name in (SYNTHETIC, CONFIG, SEEN, MANIFEST):
        os.replace(staging / name, out / name)
    staging.rmdir()
    log.info("wrote %d real and %d synthetic images: %s", len(real[REAL]), sum(counts.values()), out)
    held_out = [f"{len(images)} in {out / name}" for name, images in real.items() if name != REAL and len(images)]
    if held_out:
        log.info("held-out images, prepared alike: %s", ", ".join(held_out))
    warn_of_patients(stored)


def write_real(images: PreparedSet, out: Path, masks: Path) -> None:
    """Write prepared real images as `out/<class>/<name>.png`, with a `metadata.csv`.

    A class without images has an empty folder: labels by the order of folders would be others without it. Each says by
    hash which file it was made from, so that it is known again in `held_out.check_held_out`. Where a tumour is marked
    in one, its mask (0 or 255) becomes `masks/<class>/<name>.png`.

    Args:
        images: what to write.
        out: an existing folder.
        masks: the folder for masks; in the end it must lie beside the images.
    """
    taken: set[str] = set()
    text = {"Software": "braingan", "Synthetic": "false", "Preprocessing": images.preprocessing.fingerprint}
    for name in images.source.classes:
        (out / name).mkdir(exist_ok=True)
    with (out / METADATA).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "label", "patient", "mask", "source"])
        marked = [None] * len(images) if images.masks is None else images.masks
        for image, mask, record, sha in zip(images.images, marked, images.source.records, images.hashes, strict=True):
            label = images.source.classes[record.label]
            name = _free_name(record.file, label, taken)
            write_png(out / name, image, text | {"Class": label, SOURCE: sha})
            row = [name, label, record.group if images.source.has_patients else "", "", record.file]
            if mask is not None and mask.any():
                write_png(masks / name, mask[None].byte() * 255, {})
                row[3] = f"../{masks.name}/{name}"
            writer.writerow(row)


def _free_name(file: str, label: str, taken: set[str]) -> str:
    """`<class>/<name>.png`, different for `a.jpg`, `a.png` and `b/a.png`; not every file system tells A from a."""
    parts = list(PurePosixPath(file).parts)
    if parts[0] == label:
        parts = parts[1:]
    whole = "_".join(parts)
    name = f"{label}/{PurePosixPath(whole).stem}.png"
    while name.casefold() in taken:
        whole = f"{whole.replace('.', '_')}.png"
        name = f"{label}/{whole}"
        whole = f"{PurePosixPath(whole).stem}_"
    taken.add(name.casefold())
    return name
