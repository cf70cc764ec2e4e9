"""The LGG segmentation set as Kaggle has it (kaggle_3m): 3-channel TIFF slices with masks beside them."""

from __future__ import annotations

import filecmp
import logging
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from braingan.data.building import Found, build_set
from braingan.data.decoding import read_pixels
from braingan.data.findings import Findings
from braingan.data.records import ImageSet
from braingan.data.volumes import files_below
from braingan.errors import DataError, SettingsError

log = logging.getLogger("braingan")

SUFFIX, MASK_SUFFIX = ".tif", "_mask.tif"
SEQUENCES = {"pre": [0], "flair": [1], "post": [2], "all": [0, 1, 2]}


@dataclass(frozen=True)
class TiffSlice:
    """Some channels of a TIFF, and the mask beside it; see `braingan.data.records.PixelSource`."""

    image: Path
    mask_file: Path
    sequence: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """The image."""
        return (self.image,)

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """The mask."""
        return (self.mask_file,)

    @property
    def key(self) -> str:
        """The sequence."""
        return self.sequence

    def pixels(self) -> np.ndarray:
        """(height, width, 1 or 3)."""
        return read_pixels(self.image, 3)[:, :, SEQUENCES[self.sequence]]

    def mask(self) -> np.ndarray:
        """(height, width) bool."""
        return _mask(self.mask_file)


@dataclass(frozen=True)
class Kaggle3m:
    """LGG segmentation set (kaggle_3m): TIFF slices with their masks, which give the classes.

    Attributes:
        sequence: `pre` (before contrast), `flair`, `post` (with contrast), or `all`: three channels.
    """

    sequence: str = "flair"

    def __post_init__(self) -> None:
        if self.sequence not in SEQUENCES:
            raise SettingsError(f"sequence {self.sequence!r} was asked; {', '.join(SEQUENCES)} work")

    def recognises(self, files: Sequence[str]) -> bool:
        """Whether at least half of the TIFFs are named after their folder and have a mask beside them."""
        if "metadata.csv" in files:  # somebody has said what the images are
            return False
        known = set(files)
        slices = [file for file in files if _is_slice(file)]
        named = [file for file in slices if _mask_of(file) in known and _number(file, PurePosixPath(file).parent.name)]
        return bool(named) and 2 * len(named) >= len(slices)

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """See `braingan.data.reading.Reader`. Masks are decoded, images are not."""
        data = Path(data)
        files = _once(data, files_below(data, findings, (SUFFIX,)))
        slices = _with_masks(files, findings)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = list(pool.map(lambda file: self._found(data, file), slices))
        for file, image in zip(slices, found, strict=True):
            if isinstance(image, str):
                findings.add(file, image)
        return build_set(data, [image for image in found if isinstance(image, Found)], findings)

    def _found(self, data: Path, file: str) -> Found | str:
        """The slice, or why it cannot be used."""
        path, mask = data / file, data / _mask_of(file)
        folder = PurePosixPath(file).parent.name or data.resolve().name
        number = _number(file, folder)
        if not number:
            return f"is not named {folder}_<slice>{SUFFIX}, after its folder"
        try:
            label = "tumor" if _shows_tumor(path, mask) else "no_tumor"
        except DataError as error:
            return str(error).removeprefix(f"{path}: ")
        patient = re.sub(r"_\d{8}$", "", folder)
        source = TiffSlice(path, mask, self.sequence)
        return Found(path, file, label, patient, mask, source, (("slice", number),))


def _is_slice(file: str) -> bool:
    return file.lower().endswith(SUFFIX) and not file.lower().endswith(MASK_SUFFIX)


def _mask_of(file: str) -> str:
    return f"{file[: -len(SUFFIX)]}_mask{file[-len(SUFFIX) :]}"


def _number(file: str, folder: str) -> str:
    """Position of a slice in its volume, from the name; empty where it is not named after its folder."""
    match = re.fullmatch(rf"{re.escape(folder)}_(\d+)", PurePosixPath(file).name[: -len(SUFFIX)])
    return match[1] if folder and match else ""


def _once(data: Path, files: Sequence[str]) -> list[str]:
    """Each patient's folder once: the published archive holds a copy of the set inside the set."""
    folders: dict[PurePosixPath, list[str]] = {}
    for file in files:
        folders.setdefault(PurePosixPath(file).parent, []).append(file)
    kept: dict[str, list[PurePosixPath]] = {}
    for folder in folders:
        of_name = kept.setdefault(folder.name, [])
        if not any(_is_copy(data, folders[folder], folders[other]) for other in of_name):
            of_name.append(folder)
    once = sorted(file for same in kept.values() for folder in same for file in folders[folder])
    if repeated := len(files) - len(once):
        log.warning("%s: %d files are there twice under the same name; the first of each is read", data, repeated)
    return once


def _is_copy(data: Path, files: Sequence[str], others: Sequence[str]) -> bool:
    """Whether all names are there already, and the first with the same content."""
    known = {PurePosixPath(other).name: other for other in others}
    if any(PurePosixPath(file).name not in known for file in files):
        return False
    return filecmp.cmp(data / files[0], data / known[PurePosixPath(files[0]).name], shallow=False)


def _with_masks(files: Sequence[str], findings: Findings) -> list[str]:
    """The slices that have a mask beside them; what lies alone is bad."""
    known = set(files)
    slices = [file for file in files if _is_slice(file)]
    masks = {_mask_of(file) for file in slices}
    for file in files:
        if _is_slice(file) and _mask_of(file) not in known:
            findings.add(file, f"has no mask {PurePosixPath(_mask_of(file)).name} beside it")
        elif not _is_slice(file) and file not in masks:
            findings.add(file, "is a mask without its image")
    return [file for file in slices if _mask_of(file) in known]


def _mask(path: Path) -> np.ndarray:
    mask: np.ndarray = read_pixels(path, 1)[:, :, 0] > 0
    return mask


def _shows_tumor(path: Path, mask_file: Path) -> bool:
    """Whether the mask marks anything; it must fit the image."""
    mode, size = _header(path)
    if mode != "RGB":
        raise DataError(f"{path}: has mode {mode}; three channels (pre-contrast, FLAIR, post-contrast) are read")
    try:
        mask = _mask(mask_file)
    except DataError as error:
        reason = str(error).removeprefix(f"{mask_file}: ")
        raise DataError(f"{path}: its mask {mask_file.name} {reason}") from error
    if mask.shape != size:
        sizes = [f"{width}x{height}" for height, width in (size, mask.shape)]
        raise DataError(f"{path}: is {sizes[0]} and its mask {sizes[1]} pixels; make them equal")
    return bool(mask.any())


def _header(path: Path) -> tuple[str, tuple[int, int]]:
    """Mode and (height, width) of an image, without decoding it."""
    try:
        with Image.open(path, formats=("TIFF",)) as image:
            return image.mode, (image.height, image.width)
    except Exception as error:  # as in `decoding.open_image`: Pillow raises anything on bad bytes
        reason = "is empty" if path.stat().st_size == 0 else "is no TIFF that can be read"
        raise DataError(f"{path}: {reason}") from error
