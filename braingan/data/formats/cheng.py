"""Cheng's brain tumour set (figshare 1512427): a MATLAB 7.3 file a slice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from braingan.data.building import Found, build_set
from braingan.data.decoding import MOST_PIXELS, size_problem
from braingan.data.findings import Findings
from braingan.data.records import ImageSet
from braingan.data.volumes import files_below, need_package, one_line
from braingan.errors import DataError

SUFFIX, STRUCT = ".mat", "cjdata"
CLASSES = {1: "meningioma", 2: "glioma", 3: "pituitary"}
FOLDS = "cvind.mat"  # the authors' folds lie beside the images
BESIDE = (".txt", ".csv", ".zip", ".m", ".md")  # what is published with the images
LONGEST_PID = 64


@dataclass(frozen=True)
class MatSlice:
    """Image and mask of a file; see `braingan.data.records.PixelSource`."""

    path: Path

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """The same file."""
        return (self.path,)

    @property
    def key(self) -> str:
        """The struct's name: a file holds one image."""
        return STRUCT

    def pixels(self) -> np.ndarray:
        """(height, width, 1)."""
        pixels = self._array("image").astype(np.float32)[:, :, None]
        if not np.isfinite(pixels).all():
            raise DataError(f"{self.path}: holds pixels that are not finite numbers")
        return pixels

    def mask(self) -> np.ndarray:
        """(height, width) bool."""
        mask: np.ndarray = self._array("tumorMask") > 0
        return mask

    def _array(self, name: str) -> np.ndarray:
        try:
            return _array(self.path, name)
        except _UnusableError as error:
            raise DataError(f"{self.path}: {error}") from error


@dataclass(frozen=True)
class Cheng:
    """Cheng's brain tumour set (figshare 1512427): MATLAB 7.3 files with class, patient and mask."""

    def recognises(self, files: Sequence[str]) -> bool:
        """Whether more than half of the files are .mat, not counting what is published beside them."""
        paths = [PurePosixPath(file) for file in files]
        data = [p for p in paths if p.suffix.lower() not in BESIDE and not p.name.lower().startswith("readme")]
        mats = [path for path in data if path.suffix.lower() == SUFFIX and path.name != FOLDS]
        return 2 * len(mats) > len(data)

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """See `braingan.data.reading.Reader`. Class and patient are read, images are not."""
        need_package("h5py", "mat", data)
        found = []
        for file in files_below(data, findings, (SUFFIX,)):
            if PurePosixPath(file).name != FOLDS:
                try:
                    found.append(_found(data / file, file))
                except _UnusableError as error:
                    findings.add(file, str(error))
        return build_set(data, found, findings)


def patient_of(scan: str) -> str:
    """The patient, from the published id of a scan: repeat scans end in a letter.

    >>> patient_of("MR040224B"), patient_of("100820"), patient_of("MRX")
    ('MR040224', '100820', 'MRX')
    """
    return re.sub(r"(?<=\d)[A-Z]$", "", scan)


class _UnusableError(Exception):
    """Why a file cannot be used."""


def _found(path: Path, file: str) -> Found:
    label, scan = _header(path)
    return Found(path, file, label, patient_of(scan), None, MatSlice(path), (("scan", scan),))


def _header(path: Path) -> tuple[str, str]:
    """Class and published id."""
    with _struct(path) as struct:
        label = _numbers(struct, "label", 1).item()
        codes = _numbers(struct, "PID", LONGEST_PID)
    if label not in CLASSES:
        raise _UnusableError(f"has label {label:g}; 1 (meningioma), 2 (glioma) and 3 (pituitary) are known")
    scan = "".join(map(chr, codes)).strip(" \0") if codes.dtype.kind == "u" else ""
    if not scan or not scan.isprintable():
        raise _UnusableError("has a PID that is no text")
    return CLASSES[label], scan


def _array(path: Path, name: str) -> np.ndarray:
    """An image or mask: MATLAB stores columns first, so HDF5 shows it transposed."""
    with _struct(path) as struct:
        values: np.ndarray = _read(struct, name, MOST_PIXELS).T
        image = struct["image"].shape[::-1]
    if values.ndim != 2:
        raise _UnusableError(f"its {name} has {values.ndim} dimensions; 2 are read")
    if values.shape != image:
        raise _UnusableError(f"its {name} is {_size(values.shape)} and its image {_size(image)} pixels")
    if wrong := size_problem(*image[::-1]):
        raise _UnusableError(wrong)
    return values


def _size(shape: Sequence[int]) -> str:
    return "x".join(str(length) for length in reversed(shape))


def _numbers(struct: Any, name: str, most: int) -> np.ndarray:
    values = _read(struct, name, most).ravel()
    if not values.size or "MATLAB_empty" in struct[name].attrs:
        raise _UnusableError(f"its {name} is empty")
    return values


def _read(struct: Any, name: str, most: int) -> np.ndarray:
    """The numbers of a field; its size is judged before anything is allocated."""
    field = struct.get(name)
    if getattr(field, "dtype", None) is None or field.dtype.kind not in "iufb":
        raise _UnusableError(f"has no {STRUCT}.{name} of numbers")
    if field.size is None or field.size > most:
        raise _UnusableError(f"its {name} has {field.size} values; at most {most:,} are read")
    values: np.ndarray = field[()]
    return np.asarray(values)


@contextmanager
def _struct(path: Path) -> Iterator[Any]:
    """The struct of a file, open; anything that h5py raises becomes one line."""
    import h5py

    if not h5py.is_hdf5(path):
        raise _UnusableError(_why_not_hdf5(path))
    try:
        with h5py.File(path, "r") as file:
            struct = file.get(STRUCT)
            if not isinstance(struct, h5py.Group):
                raise _UnusableError(f"holds no struct {STRUCT}")
            yield struct
    except _UnusableError:
        raise
    except Exception as error:  # damaged files raise OSError, RuntimeError, KeyError
        raise _UnusableError(f"cannot be read: {one_line(error)}") from error


def _why_not_hdf5(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        return f"cannot be read: {error.strerror or error}"
    if not start:
        return "is empty"
    if start.startswith(b"MATLAB 5.0"):
        return "is a MATLAB 5 file and the set's are 7.3; save it in MATLAB with -v7.3"
    return "is no MATLAB 7.3 file (HDF5)"
