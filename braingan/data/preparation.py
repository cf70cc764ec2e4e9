"""`ImageSet` -> `PreparedSet`: every image decoded once, in parallel, and kept as one uint8 tensor."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from braingan.data.files import fingerprint, replacing, sha256_of
from braingan.data.findings import BadFile, Findings
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import read_data
from braingan.data.records import UNLABELLED, ImageRecord, ImageSet, ImageSpec, mask_of, pixels_of
from braingan.data.views import VIEW, view_of
from braingan.errors import DataError
from braingan.progress import Progress

log = logging.getLogger("braingan")

PREPARED_AS = 3  # part of the cache's key: to be raised when the same settings shall give other pixels


@dataclass(frozen=True)
class PreparedSet:
    """Images ready for networks, with what they came from.

    Attributes:
        images: (N, channels, size, size) uint8.
        views: (N, 64, 64) uint8, by which the same picture is recognised: see `braingan.data.views`.
        source: the `ImageSet` of the same N images.
        hashes: SHA-256 of each file's content.
        preprocessing: how the images were made.
        bad_files: what was left out because it could not be read.
        masks: (N, size, size) bool, where the tumour is; all False for an image whose mask is not known. None where
            nothing is marked in any of the images.
    """

    images: Tensor
    views: Tensor
    source: ImageSet
    hashes: tuple[str, ...]
    preprocessing: Preprocessing
    bad_files: tuple[BadFile, ...] = ()
    masks: Tensor | None = None

    @property
    def spec(self) -> ImageSpec:
        """Size, channels and classes."""
        return ImageSpec(self.preprocessing.size, self.preprocessing.channels, tuple(self.source.classes))

    @property
    def labels(self) -> Tensor:
        """(N,) int64."""
        return torch.tensor(self.source.targets, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self.source)

    def select(self, indices: Sequence[int]) -> PreparedSet:
        """The images at `indices`, in that order."""
        return PreparedSet(
            self.images[list(indices)],
            self.views[list(indices)],
            self.source.select(indices),
            tuple(self.hashes[index] for index in indices),
            self.preprocessing,
            self.bad_files,
            None if self.masks is None else _unless_empty(self.masks[list(indices)]),
        )


def prepare_folder(data: Path, preprocessing: Preprocessing, cache: Path, *, skip_bad: bool = False) -> PreparedSet:
    """Read, check, decode and prepare a data folder.

    Args:
        data: see `reading.read_data`.
        preprocessing: what to make of each image.
        cache: a folder for the result, so that the next call does not decode again. It belongs inside
            the user's output folder, as it holds patients' images.
        skip_bad: go on without files that cannot be used (they are in `PreparedSet.bad_files`).

    Raises:
        DataError: something in the folder cannot be used.
    """
    findings = Findings(skip_bad)
    source = read_data(Path(data), findings)
    _refuse_unlabelled(data, source)
    hashes = content_hashes(source)
    contents = [
        [record.file, record.group, sha, *of_mask]
        for record, sha, of_mask in zip(source.records, hashes, mask_hashes(source), strict=True)
    ]
    stored = cache / f"{fingerprint([PREPARED_AS, preprocessing.to_json(), contents])[:32]}.safetensors"
    tensors, reasons = _load(stored, len(source)), [""] * len(source)
    if tensors is None:
        tensors, reasons = _decode(source, preprocessing)
        if not any(reasons):  # a file that cannot be read now may be readable the next time
            with replacing(stored) as beside:
                save_file(tensors, beside)
    for record, reason in zip(source.records, reasons, strict=True):
        if reason:
            findings.add(record.file, reason)
    findings.refuse(Path(data))
    good = [index for index, reason in enumerate(reasons) if not reason]
    images, views, masks = tensors["images"], tensors["views"], tensors.get("masks")
    whole = PreparedSet(images, views, source, tuple(hashes), preprocessing, tuple(findings.bad), masks)
    prepared = whole.select(good)
    _check_classes_left(data, prepared)
    for bad in findings.bad:
        log.warning("left out %s: %s", bad.file, bad.reason)
    if not source.has_patients:
        log.warning("%s: no patient ids, so each file counts as a patient of its own", data)
    return prepared


def _refuse_unlabelled(data: Path, source: ImageSet) -> None:
    """Images of which nobody knows what they show are no class beside others."""
    if UNLABELLED in source.classes and len(source.classes) > 1:
        count = source.targets.count(source.classes.index(UNLABELLED))
        raise DataError(
            f"{data}: {count} of {len(source)} images have no label; put each file into a folder of its class, or lay "
            "its mask beside it"
        )


def content_hashes(source: ImageSet) -> list[str]:
    """SHA-256 of each image's content: of the file, or of the volume's files and the slice's place in them.

    A file that cannot be read gives an empty one: decoding says why.
    """
    of_file = _contents(path for record in source.records for path in _paths_of(record))

    def content(record: ImageRecord) -> str:
        hashes = [of_file[path] for path in _paths_of(record)]
        if not all(hashes):
            return ""
        return hashes[0] if record.source is None else fingerprint([hashes, record.source.key])

    return [content(record) for record in source.records]


def mask_hashes(source: ImageSet) -> list[list[str]]:
    """SHA-256 of the files of each image's mask, which is no part of its content; empty for one that cannot be read."""
    of_file = _contents(path for record in source.records for path in _mask_paths(record))
    return [[of_file[path] for path in _mask_paths(record)] for record in source.records]


def _paths_of(record: ImageRecord) -> tuple[Path, ...]:
    return (record.path,) if record.source is None else record.source.paths


def _mask_paths(record: ImageRecord) -> tuple[Path, ...]:
    if record.source is not None:
        return record.source.mask_paths
    return (record.mask,) if record.mask else ()


def _contents(paths: Iterable[Path]) -> dict[Path, str]:
    """What each file's content is called; a volume is that of many slices."""
    files = list(set(paths))
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(files, pool.map(_content, files), strict=True))


def _content(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError:
        return ""


def read_mask(record: ImageRecord, pixels: np.ndarray) -> np.ndarray | None:
    """Where the tumour is in an image that was read.

    Args:
        record: the image.
        pixels: (height, width, channels) of it.

    Returns:
        (height, width) bool; None where no mask is known.

    Raises:
        DataError: the mask cannot be read, or does not fit. The message begins with the image's path and a colon.
    """
    try:
        mask = mask_of(record)
    except DataError as error:
        raise DataError(_named_after_image(error, record)) from error
    if mask is not None and mask.shape != pixels.shape[:2]:
        (height, width), (mask_height, mask_width) = pixels.shape[:2], mask.shape
        found = f"{width}x{height} pixels but its mask has {mask_width}x{mask_height}"
        raise DataError(f"{record.path}: has {found}")
    return mask


def _named_after_image(error: DataError, record: ImageRecord) -> str:
    """The message about a mask's file as one about the image."""
    for path in _mask_paths(record):
        if path != record.path and str(error).startswith(f"{path}: "):
            return f"{record.path}: its mask {path.name} {str(error).removeprefix(f'{path}: ')}"
    return str(error)


def _check_classes_left(data: Path, prepared: PreparedSet) -> None:
    present = set(prepared.source.targets)
    empty = [name for label, name in enumerate(prepared.source.classes) if label not in present]
    if empty:
        raise DataError(f"{data}: class {empty[0]!r} has no image that can be read")


def _decode(source: ImageSet, preprocessing: Preprocessing) -> tuple[dict[str, Tensor], list[str]]:
    """All images, views and masks (if there are any) and, for each, why it could not be read (empty where it could)."""
    volumes: dict[str, list[int]] = {}
    for index, record in enumerate(source.records):
        volumes.setdefault(record.group, []).append(index)
    images = np.zeros((len(source), preprocessing.channels, preprocessing.size, preprocessing.size), np.uint8)
    views = np.zeros((len(source), VIEW, VIEW), np.uint8)
    masks = np.zeros((len(source), preprocessing.size, preprocessing.size), np.bool_)
    reasons = [""] * len(source)

    def prepare_volume(indices: list[int]) -> int:
        read: dict[int, np.ndarray] = {}
        read_masks: dict[int, np.ndarray | None] = {}
        for index in indices:
            try:
                pixels = pixels_of(source.records[index], preprocessing.channels)
                read_masks[index] = read_mask(source.records[index], pixels)
                read[index] = pixels
            except DataError as error:
                reasons[index] = _reason(error, source.records[index])
        for index, pixels in read.items():
            views[index] = view_of(pixels)
        if read:
            images[list(read)], marked = preprocessing.with_masks(list(read.values()), list(read_masks.values()))
            if marked.any():  # pages that nobody writes to take no memory
                masks[list(read)] = marked
        return len(indices)

    with (
        warnings.catch_warnings(),  # here and not around each file: threads share the filters
        Progress("decoding", len(source)) as progress,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        warnings.simplefilter("ignore")  # Pillow's about metadata and size; the size is judged by the decoder
        for done in pool.map(prepare_volume, volumes.values()):
            progress.advance(done)
    tensors = {"images": torch.from_numpy(images), "views": torch.from_numpy(views)}
    if masks.any():
        tensors["masks"] = torch.from_numpy(masks)
    return tensors, reasons


def _unless_empty(masks: Tensor) -> Tensor | None:
    return masks if masks.any() else None


def _reason(error: DataError, record: ImageRecord) -> str:
    """The message without the path, which the caller names in its own way."""
    return str(error).removeprefix(f"{record.path}: ")


def _load(stored: Path, count: int) -> dict[str, Tensor] | None:
    """What was cached, or None where there is nothing whole."""
    if not stored.exists():
        return None
    try:
        tensors = load_file(stored)
        whole = len(tensors["images"]) == len(tensors["views"]) == len(tensors.get("masks", tensors["views"])) == count
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        log.warning("the cache %s is damaged (%s): decoding again", stored, error)
        return None
    return tensors if whole else None
