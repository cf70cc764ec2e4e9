"""Phantom patients written to a folder: images of two classes, masks of the tumours, and the metadata."""

from __future__ import annotations

import csv
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from braingan.errors import OutputError, SettingsError

from .acquisition import Scanner
from .anatomy import Anatomy, draw_head
from .fields import Field, Grid, shrink, stream
from .tumor import Tumor, draw_lesion

CLASSES = ("no_tumor", "tumor")
COLUMNS = ("file_name", "label", "patient", "slice", "mask", "tumor_px", "sequence")
BLOCK, BLOCK_TUMORS = 5, 3  # of every five patients three have a tumour: both classes exist from four patients on
SMALLEST = 0.001  # a section that covers less of the image is not written, as nobody could label it


@dataclass(frozen=True)
class PhantomSummary:
    """What was written: patients, and images per class."""

    patients: int
    images: dict[str, int]


@dataclass(frozen=True)
class Slice:
    """One image (size, size) of 0-255 and the mask of its tumour, True inside."""

    number: int
    sequence: str
    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]

    @property
    def label(self) -> str:
        """The class."""
        return CLASSES[int(self.mask.any())]


def write_phantom(out: Path, *, patients: int = 40, seed: int = 0, slices: int = 8, size: int = 128) -> PhantomSummary:
    """Draw phantom patients and write them to a new folder.

    `OUT/tumor` and `OUT/no_tumor` hold the images, `OUT/masks` the tumours' cores (0 or 255, without
    oedema), `OUT/metadata.csv` one line per image. The same arguments give the same bytes, and a patient
    is the same however many others there are.

    Args:
        out: A folder that does not exist yet, or is empty.
        patients: 4 or more; three of five have a tumour, in some of their slices.
        seed: 0 or more.
        slices: Per patient, 2 or more.
        size: Of the square images in pixels, 32 to 512.

    Raises:
        SettingsError: A number is out of its range.
        OutputError: The folder holds something already.
    """
    _check(patients, seed, slices, size)
    out = Path(out).absolute()  # a name of its own even for Path('.')
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputError(f"{out} is not an empty folder: phantoms are written to a new one, name another")
    unfinished = out.with_name(f".{out.name}-{secrets.token_hex(4)}")
    unfinished.mkdir(parents=True)
    try:
        summary = _write_all(unfinished, patients, seed, slices, size)
        if out.exists():
            out.rmdir()  # it is empty, and not every system renames onto a folder
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return summary


def draw_patient(patient: int, *, seed: int, slices: int, size: int) -> Iterator[Slice]:
    """Draw the slices of one patient (0, 1, 2...), from the bottom up."""
    anatomy, scanner = Anatomy.draw(seed, patient), Scanner.draw(seed, patient)
    levels, grid = anatomy.levels(slices), Grid.of(anatomy.pose, size)
    tumor = Tumor.draw(seed, patient, levels) if _has_tumor(seed, patient) else None
    for number, height in enumerate(levels):
        shown = tumor if tumor is not None and tumor.section(height) > 0 else None
        signal, mask = _draw_slice(anatomy, scanner, shown, height, grid)
        if shown is None or mask.sum() >= SMALLEST * mask.size:
            random = stream(seed, patient, 3, number)
            yield Slice(number, scanner.sequence, scanner.expose(signal, height, size, random), mask)


def _draw_slice(
    anatomy: Anatomy, scanner: Scanner, tumor: Tumor | None, height: float, grid: Grid
) -> tuple[Field, NDArray[np.bool_]]:
    """Draw the signals of one slice on the canvas, and the mask of the tumour that it shows, if any."""
    if tumor is None:
        return scanner.paint(draw_head(anatomy, height, grid, grid)), np.zeros((grid.size, grid.size), np.bool_)
    scale = anatomy.scale(height)
    inner = tumor.push_aside(grid, anatomy.depth(grid, height), height, scale)
    head = draw_head(anatomy, height, grid, inner)
    lesion = draw_lesion(tumor, height, scale, inner, head)
    return scanner.paint(head, lesion), shrink(lesion.mask) >= 0.5


def _has_tumor(seed: int, patient: int) -> bool:
    """Whether a patient has a tumour: three in each block of five, in the seed's order."""
    order = stream(seed, patient // BLOCK, 4, 1).permutation(BLOCK)
    return bool(order[patient % BLOCK] < BLOCK_TUMORS)


def _check(patients: int, seed: int, slices: int, size: int) -> None:
    """Refuse what cannot be drawn.

    Raises:
        SettingsError: A number is out of its range.
    """
    wrong = {
        f"{patients} patients: both classes need at least 4": patients < 4,
        f"{slices} slices per patient: at least 2 are needed, one beside the tumour": slices < 2,
        f"size {size}: the images can be 32 to 512 pixels wide": not 32 <= size <= 512,
        f"seed {seed}: it must be 0 or more": seed < 0,
    }
    for message in (text for text, is_wrong in wrong.items() if is_wrong):
        raise SettingsError(f"Cannot draw a phantom with {message}")


def _write_all(out: Path, patients: int, seed: int, slices: int, size: int) -> PhantomSummary:
    """Write images, masks and metadata."""
    for folder in (*CLASSES, "masks"):
        (out / folder).mkdir()
    rows = [
        _write_slice(out, name, seed, drawn)
        for name, patient in ((f"P{number + 1:04d}", number) for number in range(patients))
        for drawn in draw_patient(patient, seed=seed, slices=slices, size=size)
    ]
    with (out / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return PhantomSummary(patients, {name: sum(row["label"] == name for row in rows) for name in CLASSES})


def _write_slice(out: Path, patient: str, seed: int, drawn: Slice) -> dict[str, str | int]:
    """Write one image and its mask, if any; its line of the metadata."""
    name = f"{patient}_{drawn.number:02d}.png"
    note = _note(patient, seed)
    Image.fromarray(drawn.image).save(out / drawn.label / name, pnginfo=note)
    mask = f"masks/{name}" if drawn.label == "tumor" else ""
    if mask:
        Image.fromarray(drawn.mask.astype(np.uint8) * 255).save(out / mask, pnginfo=note)
    return {
        "file_name": f"{drawn.label}/{name}",
        "label": drawn.label,
        "patient": patient,
        "slice": drawn.number,
        "mask": mask,
        "tumor_px": int(drawn.mask.sum()),
        "sequence": drawn.sequence,
    }


def _note(patient: str, seed: int) -> PngImagePlugin.PngInfo:
    """What every image says of itself, so that it cannot be taken for a patient's."""
    note = PngImagePlugin.PngInfo()
    note.add_text("Phantom", "true")
    note.add_text("Software", "braingan")
    note.add_text("Description", "procedurally drawn phantom, no patient")
    note.add_text("Seed", str(seed))
    note.add_text("Patient", patient)
    return note
