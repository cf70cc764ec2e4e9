"""Any known format -> class folders of PNG with a `metadata.csv` and masks, which every tool can read."""

from __future__ import annotations

import csv
import dataclasses
import json
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from braingan.data.decoding import SUFFIXES, open_image
from braingan.data.files import fingerprint, replacing
from braingan.data.findings import BadFile, Findings
from braingan.data.folders import LIKE_PATIENT, METADATA
from braingan.data.held_out import synthetic_files
from braingan.data.pictures import write_png
from braingan.data.preparation import content_hashes, mask_hashes, read_mask
from braingan.data.reading import AUTO, READERS, read_data, recognise
from braingan.data.records import ImageRecord, ImageSet, pixels_of
from braingan.data.workplace import ASKED, check_place, claim
from braingan.errors import DataError
from braingan.progress import Progress

log = logging.getLogger("braingan")

MASKS = "masks"
COLUMNS = ("file_name", "label", "patient", "mask", "source")  # what we say; a column of the source steps aside
PERCENTILES = (0.5, 99.9)  # of a scan's pixels; they become 0 and 255
MOST_SEQUENCES = 3
LONGEST_NAME = 150  # file systems take 255 bytes; while it is written, a name is longer
BATCH = 64  # images in memory, or one scan where it has more
WRITTEN_AS = 1  # part of the fingerprint: to be raised when the same source shall give other files


@dataclass(frozen=True)
class Written:
    """What a prepared folder holds.

    Attributes:
        images: of each class.
        patients: how many; None where they are not known.
        masks: images with a mask.
        bad_files: what was left out because it could not be read.
        format: of the source.
    """

    images: dict[str, int]
    patients: int | None
    masks: int
    bad_files: tuple[BadFile, ...]
    format: str


@dataclass(frozen=True)
class _Target:
    """Where an image and its mask are written."""

    record: ImageRecord
    label: str
    picture: Path
    mask: Path


@dataclass(frozen=True)
class _Drawn:
    """What is written there: (height, width, 1 or 3) uint8, and (height, width) bool where there is a mask."""

    target: _Target
    pixels: np.ndarray
    mask: np.ndarray | None


def write_folder(
    source: Path, out: Path, *, format: str = AUTO, options: Mapping[str, Any] | None = None, skip_bad: bool = False
) -> Written:
    """Write a data folder of any format as class folders of PNG.

    `OUT/<class>/<name>.png` are the images, `OUT/masks/<name>.png` the tumours (0 or 255; only where there is
    one), `OUT/metadata.csv` has a row for each image, in the convention of Hugging Face's `imagefolder`.
    Pictures of 8 bits keep their very pixels. All else is spread from the 0.5th percentile of all slices of a scan
    to the 99.9th, with the surroundings of the head darkest; two sequences become red and green, three red, green
    and blue. `masks` is no class, but torchvision's `ImageFolder` takes every folder for one: move it elsewhere
    before, or use `braingan.read_images`.

    Called again after an interruption, it goes on and gives the same bytes; `metadata.csv` is written last.

    Args:
        source: the data folder.
        out: a new folder, or one that the same call has begun or finished.
        format: name of a reader, or `auto`.
        options: of the reader.
        skip_bad: go on without files that cannot be used.

    Raises:
        DataError: the source, or a file of it, cannot be used.
        OutputError: the folder holds something else, or cannot be written.
        SettingsError: an option that the reader has not.
    """
    source, out, findings = Path(source), Path(out), Findings(skip_bad)
    check_place(out, source)
    name = recognise(source) if format == AUTO else format
    images = read_data(source, findings, format=name, options=options)
    with warnings.catch_warnings():  # here and not around each file: threads share the filters
        warnings.simplefilter("ignore")  # Pillow's about metadata and size; the size is judged by the decoder
        _check(source, images)
        claim(out, _asked(images, name, options or {}))
        done = _finish(source, out, images, findings, private=name == "dicom")
    for bad in findings.bad:
        log.warning("left out %s: %s", bad.file, bad.reason)
    return _summary(images, done, findings, name)


def _finish(source: Path, out: Path, images: ImageSet, findings: Findings, *, private: bool) -> list[_Target]:
    """Write what is not there yet; what is there in the end.

    Args:
        source: see `write_folder`.
        out: see `write_folder`.
        images: of the source.
        findings: receives images that cannot be read.
        private: whether file names may tell who the patients are.
    """
    targets = _targets(images, out, private=private)
    finished = (out / METADATA).exists()
    if finished:
        _note_missing(targets, out, findings)
    else:
        _remove_leftovers(out)
        _write_images(source, targets, findings)
    findings.refuse(source)
    done = [target for target in targets if target.picture.exists()]
    _check_classes_left(source, images, done)
    if not finished:
        _write_metadata(out, images, done, private=private)
    return done


def _summary(images: ImageSet, done: Sequence[_Target], findings: Findings, format: str) -> Written:
    counts = Counter(target.label for target in done)
    return Written(
        images={label: counts[label] for label in images.classes},
        patients=len({target.record.group for target in done}) if images.has_patients else None,
        masks=sum(target.mask.exists() for target in done),
        bad_files=tuple(findings.bad),
        format=format,
    )


# What is asked


def _check(source: Path, images: ImageSet) -> None:
    """Refuse what no other files would mend, before the output folder is claimed for it."""
    for name in images.classes:
        if name.casefold() in {MASKS, METADATA, ASKED}:
            raise DataError(f"{source}: a class is called {name!r}, and so is what lies beside the classes; rename it")
    try:
        pixels = _pixels(images.records[0])
    except DataError:
        return  # said when its turn comes, as it may be skipped
    _check_sequences(pixels, source)


def _check_sequences(pixels: np.ndarray, path: Path) -> None:
    if pixels.shape[2] > MOST_SEQUENCES:
        raise DataError(f"{path}: has {pixels.shape[2]} sequences, a picture holds {MOST_SEQUENCES} at most; choose "
                        "some with an option of the format, such as sequences=t1c,flair of nifti")  # fmt: skip


def _asked(images: ImageSet, format: str, options: Mapping[str, Any]) -> dict[str, Any]:
    reader: Any = READERS.create(format, options)
    settings = {field.name: getattr(reader, field.name) for field in dataclasses.fields(reader)}
    contents = [
        [record.file, images.classes[record.label], record.group, record.columns, sha, of_mask]
        for record, sha, of_mask in zip(images.records, content_hashes(images), mask_hashes(images), strict=True)
    ]
    return {
        "kind": "prepared folder",
        "format": format,
        "options": json.loads(json.dumps(settings, default=str)),
        "fingerprint": fingerprint([WRITTEN_AS, images.has_patients, contents]),
    }


# Names


def _targets(images: ImageSet, out: Path, *, private: bool) -> list[_Target]:
    labels = [images.classes[record.label] for record in images.records]
    wanted = [_number(record, images) for record in images.records] if private else _short_names(images, labels)
    return [
        _Target(record, label, out / label / f"{name}.png", out / MASKS / f"{name}.png")
        for record, label, name in zip(images.records, labels, _unique(wanted), strict=True)
    ]


def _number(record: ImageRecord, images: ImageSet) -> str:
    """A name that says no more than the metadata do: file names of DICOM may tell who it is."""
    columns = dict(record.columns)
    known = [record.group if images.has_patients else "", columns.get("series", ""), columns.get("slice", "")]
    return "_".join(_safe(part) for part in known if part) or "image"


def _short_names(images: ImageSet, labels: Sequence[str]) -> list[str]:
    """The file's name, with as many of its folders in front as tell all images apart."""
    parts = [_parts(record, label) for record, label in zip(images.records, labels, strict=True)]
    names: list[str] = []
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["_".join(words[-depth:]) for words in parts]
        if len({name.casefold() for name in names}) == len(names):
            break
    return names


def _parts(record: ImageRecord, label: str) -> list[str]:
    """Folders below the class, and the name without its suffix.

    A slice of a volume is `scan.nii.gz#axial012`.
    """
    *folders, name = PurePosixPath(record.file).parts
    file, _, place = name.partition("#") if record.source else (name, "", "")
    stem = re.sub(r"(?i)(\.nii\.gz|\.[^.]*)$", "", file) or file
    folders = folders[1:] if folders[:1] == [label] else folders
    return [_safe(part) for part in (*folders, f"{stem}_{place}" if place else stem)]


def _safe(name: str) -> str:
    """Letters, digits and `._-` only, and not hidden."""
    return re.sub(r"^\.", "_", re.sub(r"[^A-Za-z0-9._-]", "_", name)) or "_"


def _unique(names: Iterable[str]) -> Iterator[str]:
    """The same names, with a number where one is taken; masks of all classes share a folder."""
    taken: set[str] = set()
    for wanted in names:
        name, number = wanted[-LONGEST_NAME:], 1
        while name.casefold() in taken:  # not every file system tells A from a
            number += 1
            name = f"{wanted[-LONGEST_NAME:]}_{number}"
        taken.add(name.casefold())
        yield name


# Images


def _write_images(source: Path, targets: Sequence[_Target], findings: Findings) -> None:
    """Write what is not there yet, scan by scan; a scan's window needs all of its slices."""
    with Progress("writing", len(targets)) as progress, ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _batches(_scans(targets)):
            begun = [scan for scan in batch if not all(target.picture.exists() for target in scan)]
            drawn = [image for scan in begun for image in _draw(scan, findings)]
            findings.refuse(source)
            list(pool.map(_write, (image for image in drawn if not image.target.picture.exists())))
            progress.advance(sum(map(len, batch)))


def _scans(targets: Iterable[_Target]) -> list[list[_Target]]:
    """Slices with one scale of brightness; pictures of a patient count as one scan, as nothing tells more."""
    scans: dict[tuple[str, str], list[_Target]] = {}
    for target in targets:
        scans.setdefault((target.record.group, _scan_of(target.record)), []).append(target)
    return list(scans.values())


def _scan_of(record: ImageRecord) -> str:
    """Which scan of the patient it is: a series or scan that the format names, else the volume it is cut from."""
    columns = dict(record.columns)
    volume = record.file.rpartition("#")[0] if record.source else ""
    return columns.get("series") or columns.get("scan") or volume


def _batches(scans: Iterable[list[_Target]]) -> Iterator[list[list[_Target]]]:
    """Several small scans at a time, so that there is work for all threads."""
    batch: list[list[_Target]] = []
    for scan in scans:
        batch.append(scan)
        if sum(map(len, batch)) >= BATCH:
            yield batch
            batch = []
    yield batch


def _draw(scan: Sequence[_Target], findings: Findings) -> list[_Drawn]:
    """Read a scan and make pictures of it."""
    read: list[_Drawn] = []
    for target in scan:
        try:
            read.append(_Drawn(target, *_read(target.record)))
        except DataError as error:
            findings.add(target.record.file, _reason(error, target.record))
    pictures = to_pictures([image.pixels for image in read], from_pictures=_are_pictures(scan))
    return [dataclasses.replace(image, pixels=pixels) for image, pixels in zip(read, pictures, strict=True)]


def _are_pictures(scan: Sequence[_Target]) -> bool:
    return all(target.record.path.suffix.lower() in SUFFIXES for target in scan)


def _reason(error: DataError, record: ImageRecord) -> str:
    """The message without the path: it is said in front of it how the set names the image."""
    return str(error).removeprefix(f"{record.path}: ")


def _read(record: ImageRecord) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and mask.

    Raises:
        DataError: one of them cannot be read, or they do not fit.
    """
    pixels = _pixels(record)
    _check_sequences(pixels, record.path)
    return pixels, read_mask(record, pixels)


def _pixels(record: ImageRecord) -> np.ndarray:
    """(height, width, channels): uint8 for pictures of 8 bits, else float32."""
    if record.source is not None:
        return record.source.pixels()
    image = open_image(record.path)
    if image.mode not in {"L", "RGB"}:
        return pixels_of(record, 1)
    pixels = np.array(image)
    return pixels if pixels.ndim == 3 else pixels[:, :, None]


def _write(drawn: _Drawn) -> None:
    """The mask first: where there is an image, nothing of it is missing."""
    if drawn.mask is not None and drawn.mask.any():
        write_png(drawn.target.mask, torch.from_numpy(drawn.mask.astype(np.uint8) * 255)[None], {})
    synthetic = bool(synthetic_files([drawn.target.record]))  # must not be lost on the way
    text = {"Synthetic": "true"} if synthetic else {}
    write_png(drawn.target.picture, torch.from_numpy(drawn.pixels).movedim(-1, 0), text)


def _remove_leftovers(out: Path) -> None:
    """What a killed process was writing; see `files.replacing`."""
    for path in list(out.rglob(".*.part")):
        path.unlink(missing_ok=True)


def _note_missing(targets: Iterable[_Target], out: Path, findings: Findings) -> None:
    """Why a finished folder lacks images."""
    for target in targets:
        if not target.picture.exists():
            try:
                _read(target.record)
                findings.add(target.record.file, f"is not in {out}, which is finished; give a new folder")
            except DataError as error:
                findings.add(target.record.file, _reason(error, target.record))


def _check_classes_left(source: Path, images: ImageSet, done: Sequence[_Target]) -> None:
    empty = [name for name in images.classes if name not in {target.label for target in done}]
    if empty:
        raise DataError(f"{source}: class {empty[0]!r} has no image that can be read")


# Brightness


def to_pictures(slices: Sequence[np.ndarray], *, from_pictures: bool) -> list[np.ndarray]:
    """The slices of a scan as 8-bit pictures.

    Args:
        slices: each (height, width, 1 to 3); uint8 ones keep their pixels, all others share a window per channel.
        from_pictures: whether they come from picture files: then whole numbers from 0 to 255 are kept as well.

    Returns:
        Each (height, width, 1 or 3) uint8.
    """
    wide = [pixels for pixels in slices if pixels.dtype != np.uint8]
    if from_pictures and all(map(_fits, wide)):
        return [_padded(pixels.astype(np.uint8)) for pixels in slices]
    windows = {count: _windows(wide, count) for count in {pixels.shape[2] for pixels in wide}}

    def spread(pixels: np.ndarray) -> np.ndarray:
        bands = [window(pixels[:, :, band]) for band, window in enumerate(windows[pixels.shape[2]])]
        return np.stack(bands, axis=2)

    return [_padded(pixels if pixels.dtype == np.uint8 else spread(pixels)) for pixels in slices]


def _windows(slices: Iterable[np.ndarray], channels: int) -> list[_Window]:
    """One for each channel, from the slices that have so many."""
    alike = [pixels for pixels in slices if pixels.shape[2] == channels]
    return [_Window.of([pixels[:, :, band] for pixels in alike]) for band in range(channels)]


def _fits(pixels: np.ndarray) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= 255 and (pixels == np.rint(pixels)).all())


def _padded(pixels: np.ndarray) -> np.ndarray:
    """Two sequences with a third one that is black."""
    return np.pad(pixels, ((0, 0), (0, 0), (0, 1))) if pixels.shape[2] == 2 else pixels


@dataclass(frozen=True)
class _Window:
    """What becomes 0 and 255, and the value around the head where that is not the darkest anyway."""

    low: float
    high: float
    ground: float | None

    @classmethod
    def of(cls, bands: Sequence[np.ndarray]) -> _Window:
        """The window of one channel of a scan."""
        values = np.concatenate([band.ravel() for band in bands])
        low, high = (float(value) for value in np.percentile(values, PERCENTILES))
        ground = _surroundings(bands)
        if ground is None or ground <= low:
            ground = None
        else:  # z-scored within the brain and 0 around it: grey surroundings, as bright as average tissue
            low = float(np.percentile(values[values != ground], PERCENTILES[0]))
        return cls(low, high if high > low else float(values.max()), ground)

    def __call__(self, band: np.ndarray) -> np.ndarray:
        """(height, width) -> uint8."""
        darkest = 0 if self.ground is None else 1
        share = np.clip((band - self.low) / ((self.high - self.low) or 1.0), 0, 1)
        spread = np.rint(darkest + share * (255 - darkest)).astype(np.uint8)
        return spread if self.ground is None else np.where(band == self.ground, np.uint8(0), spread)


def _surroundings(bands: Iterable[np.ndarray]) -> float | None:
    """The value of most pixels at the borders of the slices; None where they differ, as noise does."""
    edges = (edge for band in bands for edge in (band[0], band[-1], band[1:-1, 0], band[1:-1, -1]))
    values, counts = np.unique(np.concatenate(list(edges)), return_counts=True)
    most = counts.argmax()
    return float(values[most]) if counts[most] > counts.sum() / 2 else None


# Metadata


def _write_metadata(out: Path, images: ImageSet, done: Sequence[_Target], *, private: bool) -> None:
    """Columns of ours, then those of the source, then where each image comes from."""
    names = _column_names(name for target in done for name, _ in target.record.columns)
    left_out = {"patient" if not images.has_patients else "", "source" if private else ""}
    header = [name for name in (*COLUMNS[:-1], *names.values(), COLUMNS[-1]) if name not in left_out]
    with (
        replacing(out / METADATA) as beside,
        # a name that is no UTF-8 gets question marks
        beside.open("w", encoding="utf-8", errors="replace", newline="") as file,
    ):
        writer = csv.DictWriter(file, header, restval="", extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(_row(target, out, names) for target in done)


def _row(target: _Target, out: Path, names: Mapping[str, str]) -> dict[str, str]:
    return {
        **{names[name]: text for name, text in target.record.columns},
        "file_name": target.picture.relative_to(out).as_posix(),
        "label": target.label,
        "patient": target.record.group,
        "mask": target.mask.relative_to(out).as_posix() if target.mask.exists() else "",
        "source": target.record.file,
    }


def _column_names(found: Iterable[str]) -> dict[str, str]:
    """The source's columns and what they are called here: not like ours, nor nearly like `patient`."""
    names = {name: name for name in found}
    for name in names:
        taken = {*COLUMNS, *names.values()} - ({name} - {*COLUMNS})
        while names[name] in taken or _squeezed(names[name]) in LIKE_PATIENT:
            names[name] = f"source_{names[name]}"
    return names


def _squeezed(column: str) -> str:
    return "".join(filter(str.isalnum, column.lower()))
