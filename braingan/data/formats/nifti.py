"""NIfTI volumes, cut into slices."""

from __future__ import annotations

import gzip
import importlib
import logging
import math
import os
import threading
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from braingan.data.building import Found, build_set
from braingan.data.decoding import SUFFIXES, size_problem
from braingan.data.findings import BadFile, Findings
from braingan.data.records import ImageSet
from braingan.data.studies import MOST_SEQUENCES, Study, find_studies
from braingan.data.volumes import (
    AXES,
    files_below,
    foreground_shares,
    need_package,
    one_line,
    plane,
    plane_spacing,
    remember_latest,
    square,
    square_factors,
    stamp,
)
from braingan.errors import DataError, SettingsError
from braingan.progress import Progress

log = logging.getLogger("braingan")

ENDINGS = (".nii", ".nii.gz")
PAIR = (".hdr", ".img")  # header and voxels apart
MOST_VOXELS = 2**29  # 2 GiB as float32; a head at 0.5 mm has a tenth of that
DEFLATED = 1032  # how many bytes one byte of a gzip file can hold at most
SAME_PLACE = 0.25  # how far apart the corners of two equal grids may lie, in voxels
MOST_OF_HEAD = 0.5  # of a head, which no tumour fills
COUNTED_ON = 256 * 256  # pixels of the slices on which a lesion's size is counted


@dataclass(frozen=True)
class NiftiSlice:
    """A slice of one volume, or of several on one grid; see `braingan.data.records.PixelSource`.

    Attributes:
        volumes: the files, one a channel.
        mask_file: the volume of the mask.
        axis: `axial`, `coronal` or `sagittal`.
        index: counted from the bottom, the back or the left.
        time: which volume is taken of a file that holds several.
    """

    volumes: tuple[Path, ...]
    mask_file: Path | None
    axis: str
    index: int
    time: int = 0

    @property
    def paths(self) -> tuple[Path, ...]:
        """The volumes, with the .img of a .hdr; a mask is no part of the pixels."""
        return tuple(path for volume in self.volumes for path in _files_of(volume))

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """The volume of the mask, with its .img."""
        return _files_of(self.mask_file) if self.mask_file else ()

    @property
    def key(self) -> str:
        """Axis and place, and the time where it is not the first."""
        return f"{self.axis}:{self.index}" + (f":{self.time}" if self.time else "")

    def pixels(self) -> np.ndarray:
        """(height, width, channels)."""
        with self._named_after_the_first():
            volumes = _volumes(self.volumes, self.time, _stamps(self.volumes))
            planes = [self._plane(volume, order=1) for volume in volumes]
        return np.stack(planes, axis=2).astype(np.float32, copy=False)

    def mask(self) -> np.ndarray | None:
        """(height, width) bool."""
        if self.mask_file is None:
            return None
        with self._named_after_the_first():
            (volume,) = _mask(self.mask_file, _stamps((self.mask_file,)))
            return self._plane(volume, order=0)

    def _plane(self, volume: Volume, order: int) -> np.ndarray:
        pixels = plane(volume.voxels, self.axis, self.index)
        return np.ascontiguousarray(square(pixels, plane_spacing(volume.spacing, self.axis), order))

    @contextmanager
    def _named_after_the_first(self) -> Iterator[None]:
        try:
            yield
        except _UnusableError as error:
            other = "" if error.path == self.volumes[0] else f"{error.path.name} "
            raise DataError(f"{self.volumes[0]}: {other}{error.reason}") from error


@dataclass(frozen=True)
class Nifti:
    """NIfTI volumes (.nii, .nii.gz) as slices; the mask of a tumour beside them gives the classes.

    A volume called mask, seg, label, truth, lesion, roi, OT or VOI is the mask of the volumes beside it: those
    are the sequences of one patient and become channels. A slice shows a tumour where the mask has at least
    `lesion` pixels and none where it has none; slices in between are left out, as they are neither. Without
    masks the class is the folder at the top; volumes without a mask among others with one are `unlabelled`.

    Attributes:
        axis: how to cut: `axial`, `coronal` or `sagittal`.
        sequences: parts of the names of the volumes that become channels, in this order; none: all beside a mask.
        content: the share of a slice's pixels that the head must cover.
        lesion: pixels of the mask that make a tumour, counted on slices of 256x256.
        time: which volume to take of files that hold several.
    """

    axis: str = "axial"
    sequences: tuple[str, ...] = ()
    content: float = 0.08
    lesion: int = 40
    time: int = 0

    def __post_init__(self) -> None:
        if self.axis not in AXES:
            raise SettingsError(f"axis {self.axis!r} was asked; {', '.join(AXES)} work")
        if len(self.sequences) > MOST_SEQUENCES or not all(self.sequences):
            raise SettingsError(f"sequences={','.join(self.sequences)} was asked; up to {MOST_SEQUENCES} names work")
        if not 0 <= self.content < 1:
            raise SettingsError(f"content={self.content} was asked; a share from 0 to below 1 works")
        if self.lesion < 1:
            raise SettingsError(f"lesion={self.lesion} was asked; at least 1 pixel makes a tumour")
        if self.time < 0:
            raise SettingsError(f"time={self.time} was asked; volumes are counted from 0")

    def recognises(self, files: Sequence[str]) -> bool:
        """Whether there are NIfTI files, and no pictures."""
        names = [file.lower() for file in files]
        return any(name.endswith(ENDINGS) for name in names) and not any(name.endswith(SUFFIXES) for name in names)

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """See `braingan.data.reading.Reader`. Every volume is read, as its content says which slices to keep."""
        data = Path(data)
        need_package("nibabel", "nifti", data)
        studies = find_studies(_volume_names(files_below(data, findings, (*ENDINGS, *PAIR))), self.sequences, findings)
        found: list[Found] = []
        several: list[str] = []
        for cut in self._cut_all(data, studies):
            found += cut.found
            several += cut.several
            findings.bad += cut.bad
        if several:
            log.warning("%s: %d files hold several volumes, %s first; volume %d of each is read",
                        data, len(several), several[0], self.time)  # fmt: skip
        return build_set(data, found, findings)

    def _cut_all(self, data: Path, studies: Sequence[Study]) -> Iterator[_Cut]:
        with (
            warnings.catch_warnings(),  # here and not around each file: threads share the filters
            Progress("reading volumes", len(studies), "volumes") as progress,
            ThreadPoolExecutor(os.cpu_count()) as pool,
        ):
            warnings.simplefilter("ignore")
            for cut in pool.map(lambda study: self._cut(data, study), studies):
                progress.advance(1)
                yield cut

    def _cut(self, data: Path, study: Study) -> _Cut:
        """The slices of a study that can be used, or why there are none."""
        try:
            found, several = self._slices(data, study)
        except _UnusableError as error:
            others = "; its other sequences are left out with it" if len(study.images) > 1 else ""
            return _Cut(bad=(BadFile(error.path.relative_to(data).as_posix(), error.reason + others),))
        if not found:
            reason = f"gives no slice: the head covers less than {self.content:.0%} of each"
            reason += f", or lesions have less than {self.lesion} pixels" if study.mask else ""
            return _Cut(bad=(BadFile(study.images[0], reason),))
        return _Cut(tuple(found), tuple(several))

    def _slices(self, data: Path, study: Study) -> tuple[list[Found], list[str]]:
        paths = tuple(data / image for image in study.images)
        mask_file = data / study.mask if study.mask else None
        volumes = _volumes(paths, self.time, _stamps(paths))
        shares = np.max([foreground_shares(volume.voxels, self.axis) for volume in volumes], axis=0)
        labels = self._labels(volumes[0], mask_file, float(shares.mean())) if mask_file else [study.label] * len(shares)
        self._check_size(paths[0], volumes[0])
        found = []
        for index in np.flatnonzero((shares >= self.content) & (shares > 0)):
            if label := labels[index]:
                source = NiftiSlice(paths, mask_file, self.axis, int(index), self.time)
                found.append(self._found(study, source, label))
        several = [name for name, volume in zip(study.images, volumes, strict=True) if volume.times > 1]
        return found, several

    def _found(self, study: Study, source: NiftiSlice, label: str) -> Found:
        file = f"{study.images[0]}#{self.axis}{source.index:03d}"
        sequences = (("sequences", "+".join(study.names)),) if study.names else ()
        columns = (("slice", str(source.index)), *sequences)
        return Found(source.volumes[0], file, label, study.patient, source=source, columns=columns)

    def _labels(self, volume: Volume, mask_file: Path, head: float) -> list[str]:
        """The class of each slice; empty where the mask marks too little to say. `head`: its share of the volume."""
        (mask,) = _mask(mask_file, _stamps((mask_file,)))
        _check_same_grid(volume, mask, "the volume beside it")
        if mask.voxels.mean() > MOST_OF_HEAD * head:
            reason = f"marks more than {MOST_OF_HEAD:.0%} of the head: is it a mask of the brain?"
            raise _UnusableError(mask_file, reason)
        others = tuple(other for other in range(3) if other != AXES.index(self.axis))
        areas = mask.voxels.mean(axis=others) * COUNTED_ON
        return ["tumor" if area >= self.lesion else "" if area else "no_tumor" for area in areas]

    def _check_size(self, path: Path, volume: Volume) -> None:
        """Stretched to square pixels, a slice must still be one that can be held."""
        columns, rows = np.delete(volume.voxels.shape, AXES.index(self.axis))
        stretch = square_factors(plane_spacing(volume.spacing, self.axis))
        if wrong := size_problem(round(columns * stretch[1]), round(rows * stretch[0])):
            sides = " x ".join(f"{side:.3g}" for side in volume.spacing)
            raise _UnusableError(path, f"has voxels of {sides} mm; with square pixels a slice {wrong}")


@dataclass(frozen=True)
class _Cut:
    """What a study gave."""

    found: tuple[Found, ...] = ()
    several: tuple[str, ...] = ()
    bad: tuple[BadFile, ...] = ()


class _UnusableError(Exception):
    """A volume that cannot be used, and why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason


# Files


def _volume_names(files: Sequence[str]) -> list[str]:
    """The NIfTI files; of a pair, the header stands for both."""
    known = set(files)
    return [file for file in files if file.lower().endswith(ENDINGS) or (file.endswith(".hdr") and _img(file) in known)]


def _img(header: str) -> str:
    return header[: -len(".hdr")] + ".img"


def _files_of(volume: Path) -> tuple[Path, ...]:
    return (volume, Path(_img(str(volume)))) if volume.suffix == ".hdr" else (volume,)


def _stamps(volumes: Sequence[Path]) -> tuple[tuple[int, int], ...]:
    stamps = []
    for volume in volumes:
        try:
            stamps += [stamp(path) for path in _files_of(volume)]
        except OSError as error:
            raise _UnusableError(volume, f"cannot be read: {error.strerror or error}") from error
    return tuple(stamps)


# Volumes


@dataclass(frozen=True)
class Volume:
    """Voxels with axes to the right, the front and the top, and where they lie.

    Attributes:
        path: the file.
        voxels: three axes; float32 and finite, or bool for a mask.
        affine: from indices to millimetres.
        times: how many volumes the file holds.
    """

    path: Path
    voxels: np.ndarray
    affine: np.ndarray
    times: int = 1

    @property
    def spacing(self) -> np.ndarray:
        """The sides of a voxel in millimetres."""
        sides: np.ndarray = np.linalg.norm(self.affine[:3, :3], axis=0)
        return sides


@remember_latest
def _volumes(paths: tuple[Path, ...], time: int, stamps: tuple[tuple[int, int], ...]) -> tuple[Volume, ...]:
    """Volumes on one grid."""
    first, *others = [_read(path, time) for path in paths]
    for other in others:
        _check_same_grid(first, other, first.path.name)
    return first, *others


@remember_latest
def _mask(path: Path, stamps: tuple[tuple[int, int], ...]) -> tuple[Volume]:
    volume = _read(path, 0)
    return (Volume(path, volume.voxels > 0.5, volume.affine, volume.times),)


def _check_same_grid(first: Volume, other: Volume, name: str) -> None:
    """Two volumes must show the same place voxel for voxel."""
    shapes = ["x".join(map(str, volume.voxels.shape)) for volume in (first, other)]
    if shapes[0] != shapes[1]:
        raise _UnusableError(other.path, f"has {shapes[1]} voxels and {name} {shapes[0]}; bring them to one grid")
    apart = np.abs(_corners(first) - _corners(other)).max()
    if apart > SAME_PLACE * first.spacing.min():
        raise _UnusableError(other.path, f"lies up to {apart:.3g} mm beside {name}; bring them to one grid")


def _corners(volume: Volume) -> np.ndarray:
    ends = np.array(np.meshgrid(*([0, length - 1] for length in volume.voxels.shape))).reshape(3, -1)
    corners: np.ndarray = volume.affine[:3, :3] @ ends + volume.affine[:3, 3:]
    return corners


def _read(path: Path, time: int) -> Volume:
    """A volume, turned and flipped so that its axes lead to the right, the front and the top."""
    nibabel = importlib.import_module("nibabel")
    with _one_line_errors(path), _quiet_nibabel(), np.errstate(all="ignore"):
        image = nibabel.load(path)
        if reason := _header_problem(image, path, time):
            raise _UnusableError(path, reason)
        times = image.shape[3] if len(image.shape) == 4 else 1
        if len(image.shape) == 4:
            image = image.slicer[:, :, :, time if times > 1 else 0]
        voxels = image.get_fdata(dtype=np.float32, caching="unchanged")
        turned = nibabel.as_closest_canonical(nibabel.Nifti1Image(voxels, image.affine))
    if not np.isfinite(voxels).all():
        raise _UnusableError(path, "holds voxels that are not finite numbers")
    return Volume(path, np.asarray(turned.dataobj), turned.affine, times)


@contextmanager
def _one_line_errors(path: Path) -> Iterator[None]:
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    try:
        yield
    except _UnusableError:
        raise
    except ImageFileError as error:
        raise _UnusableError(path, "is empty" if not path.stat().st_size else "is no NIfTI file") from error
    except HeaderDataError as error:
        reason = one_line(error).partition(";")[0].replace(str(path), path.name)
        raise _UnusableError(path, f"has a header that cannot be read: {reason}") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _UnusableError(path, f"is truncated or damaged: {one_line(error)}") from error
    except Exception as error:  # nibabel raises anything on bad bytes
        raise _UnusableError(path, f"cannot be read: {one_line(error)}".replace(str(path), path.name)) from error


def _header_problem(image: Any, path: Path, time: int) -> str:
    """Why a volume cannot be used, from its header: before anything of its size is allocated."""
    nibabel = importlib.import_module("nibabel")
    if not isinstance(image, nibabel.Nifti1Pair):
        return "is no NIfTI file"
    shape, kind = image.shape, image.get_data_dtype()
    size = "x".join(map(str, shape))
    if len(shape) not in {3, 4} or min(shape) < 1:
        return f"has the dimensions {size}; three are read, or four with several volumes"
    if math.prod(shape) > MOST_VOXELS:
        return f"claims to have {size} voxels; at most {MOST_VOXELS:,} are read"
    if kind.kind not in "iuf":
        return f"holds no plain numbers but {kind.names or kind}"
    if (length := image.dataobj.offset + math.prod(shape) * kind.itemsize) > _most_bytes(path):
        return f"is truncated: by its header it has {length:,} bytes"
    if len(shape) == 4 and 1 < shape[3] <= time:
        return f"holds {shape[3]} volumes and time={time} was asked; 0 to {shape[3] - 1} work"
    if not np.isfinite(image.affine).all() or abs(np.linalg.det(image.affine[:3, :3])) < 1e-9:
        return "does not say where its voxels lie: its affine cannot be inverted"
    return ""


def _most_bytes(path: Path) -> int:
    """How much a file can hold."""
    size = _files_of(path)[-1].stat().st_size
    return size * DEFLATED if path.suffix.lower() == ".gz" else size


_quiet = threading.local()


def _is_loud(record: logging.LogRecord) -> bool:
    return not getattr(_quiet, "on", False)


@contextmanager
def _quiet_nibabel() -> Iterator[None]:
    """Keep what nibabel has to say about a header off stderr, in this thread only."""
    from nibabel.imageglobals import logger

    logger.addFilter(_is_loud)  # a second time does nothing
    _quiet.on = True
    try:
        yield
    finally:
        _quiet.on = False
