"""DICOM: files of one slice or of many frames, sorted into series.

Names and ids of patients never leave this module, neither in records nor in messages. pydicom quotes values of
a file in what it raises, warns and logs, so nothing of that is passed on: reasons name tags and no values.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from braingan.data import decoding
from braingan.data.building import Found, build_set, folder_label
from braingan.data.findings import Findings
from braingan.data.records import ImageSet
from braingan.data.volumes import files_below, need_package, remember_latest, stamp
from braingan.errors import DataError, SettingsError

log = logging.getLogger("braingan")

SUFFIXES = (".dcm", ".dicom", ".ima")
BESIDE = (*decoding.SUFFIXES, ".gif", ".txt", ".csv", ".tsv", ".json", ".xml", ".html", ".htm", ".pdf", ".md")
NO_SLICES = {
    "SEG": "a segmentation",
    "RTDOSE": "a dose map",
    "DOC": "a document",
}  # images in DICOM's words, but not of a scanner
BESIDE_NAMES = {"dicomdir", "license", "readme", "version", "lockfile", "thumbs.db", "desktop.ini"}
WINDOWS = ("auto", "file", "none")
PIXELS = 0x7FE00010
NEEDED = [
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
]
MOSAIC_TILES = (0x0019, 0x100A)  # Siemens' number of slices in a mosaic
DEFLATED = b"1.2.840.10008.1.2.1.99"  # pydicom would inflate all of it before its size can be judged
JP2 = b"\0\0\0\x0cjP  "  # pydicom walks a JP2's boxes, and for ever around one whose length is 0
MOST_STORED = 2**30  # numbers in a file: 4,096 frames of 512x512
SALT = b"braingan patient id"


@dataclass(frozen=True)
class Dicom:
    """Slices and multi-frame files of DICOM; the class is the folder at the top.

    Attributes:
        window: what becomes of grey values after rescale slope and intercept: `none` leaves them, `file` maps the
            file's own window to 0..255, `auto` does so for CT and leaves MR, which preparation normalises.
    """

    window: str = "auto"

    def __post_init__(self) -> None:
        if self.window not in WINDOWS:
            raise SettingsError(f"window {self.window!r} was asked; {', '.join(WINDOWS)} work")

    def recognises(self, files: Sequence[str]) -> bool:
        """A DICOMDIR, or files named as DICOM that pictures do not outnumber."""
        suffixes = [PurePosixPath(file).suffix.lower() for file in files]
        named = sum(suffix in SUFFIXES for suffix in suffixes)
        pictures = sum(suffix in decoding.SUFFIXES for suffix in suffixes)
        return 0 < named >= pictures or any(PurePosixPath(file).name.upper() == "DICOMDIR" for file in files)

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """Read the headers of all files but pictures and texts.

        Colour becomes grey (ITU-R 601 luma). Each image has the columns `slice`, its place by position in its
        series, from 1, and `series`. A patient is named by a hash of the id, else of the study.

        Raises:
            DataError: see `build_set`; or pydicom is missing.
        """
        need_package("pydicom", "dicom", data)
        files = []
        for file, outcome in _examine_all(data, findings):
            if isinstance(outcome, str):
                findings.add(file, outcome)
            else:
                files.append(outcome)
        _warn_of_unknown(files)
        return build_set(data, _found(files, self.window), findings)


@dataclass(frozen=True)
class DicomImage:
    """One frame of a DICOM file, from 0; None where the file has only one."""

    path: Path
    frame: int | None
    window: str

    @property
    def paths(self) -> tuple[Path, ...]:
        """The file."""
        return (self.path,)

    @property
    def mask_paths(self) -> tuple[Path, ...]:
        """None."""
        return ()

    @property
    def key(self) -> str:
        """The frame, and what is made of its values."""
        return f"frame {self.frame or 0}, window {self.window}"

    def pixels(self) -> np.ndarray:
        """(height, width, 1) float32; see `PixelSource.pixels`."""
        try:
            with _quiet:
                return self._pixels()
        except DataError as error:
            raise DataError(f"{self.path}: {error}") from None

    def _pixels(self) -> np.ndarray:
        with _told("cannot be read"):
            header, frames = _decode(self.path) if self.frame is None else _decode_once(self.path, stamp(self.path))
        with _told("holds values that its pixels cannot be computed with"):
            grey = _grey(header, frames[self.frame or 0], self.frame or 0, self.window).astype(np.float32)
        if not np.isfinite(grey).all():
            raise DataError("holds pixels that are not finite numbers")
        return grey[:, :, None]

    def mask(self) -> None:
        """None: DICOM images come without tumour masks."""
        return


# What is in a folder


@dataclass(frozen=True)
class _File:
    """What a header says. `positions`: of each frame along the normal of its slice, in mm, where known.

    `by_study`: whether no patient is named, so that `patient` is the study.
    """

    file: str
    path: Path
    patient: str
    by_study: bool
    series: str
    instance: int
    positions: tuple[float | None, ...]

    def name(self, frame: int) -> str:
        """How the image is named in splits and results."""
        count = len(self.positions)
        return self.file if count == 1 else f"{self.file}#frame{frame + 1:0{max(3, len(str(count)))}d}"


def _examine_all(data: Path, findings: Findings) -> Iterator[tuple[str, _File | str]]:
    """Each file that may be DICOM with what its header says, or why it cannot be used."""
    names = [name for name in files_below(data, findings) if not _is_beside(PurePosixPath(name).name.lower())]

    def examine(file: str) -> _File | str:
        try:
            return _examine(data / file, file)
        except DataError as error:
            return str(error)

    with _quiet, ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from zip(names, pool.map(examine, names), strict=True)


def _warn_of_unknown(files: Sequence[_File]) -> None:
    """Say so where patients are not known, which a split by patient rests on."""
    studies = sum(bool(file.patient) and file.by_study for file in files)
    if studies:
        log.warning("%d of %d files have no PatientID: each study counts as a patient, and whoever has several may "
                    "stand on both sides of a split", studies, len(files))  # fmt: skip
    nobody = sum(not file.patient for file in files)
    if 0 < nobody < len(files):
        log.warning("%d of %d files name neither patient nor study, so that the patients of all count as unknown; take "
                    "them out", nobody, len(files))  # fmt: skip


def _is_beside(name: str) -> bool:
    return name.endswith(BESIDE) or name in BESIDE_NAMES


def _found(files: Sequence[_File], window: str) -> list[Found]:
    series: dict[str, list[tuple[_File, int]]] = {}
    for file in files:
        series.setdefault(file.series, []).extend((file, frame) for frame in range(len(file.positions)))
    found = []
    for uid, members in series.items():
        for number, (file, frame) in enumerate(_sorted(members), start=1):
            source = DicomImage(file.path, frame if len(file.positions) > 1 else None, window)
            columns = (("slice", str(number)), ("series", hashlib.sha256(uid.encode()).hexdigest()[:8]))
            label = folder_label(file.file)
            found.append(Found(file.path, file.name(frame), label, file.patient, source=source, columns=columns))
    return found


def _sorted(members: Sequence[tuple[_File, int]]) -> list[tuple[_File, int]]:
    """By position where every one is known, else by number."""
    known = all(file.positions[frame] is not None for file, frame in members)

    def place(member: tuple[_File, int]) -> tuple[float, int, str, int]:
        file, frame = member
        position = file.positions[frame] if known else None
        return position or 0.0, file.instance, file.file, frame

    return sorted(members, key=place)


# Headers


def _examine(path: Path, file: str) -> _File:
    """Read a header.

    Raises:
        DataError: the file cannot be used; the message is the reason only.
    """
    header, length, rest = _read_header(path)
    frames = _check_pixels(header, length, rest)
    with _told("has a PatientID or StudyInstanceUID that cannot be read"):
        named = str(header.get("PatientID") or "").strip()
        patient = named or str(header.get("StudyInstanceUID") or "")
    with _told("has a SeriesInstanceUID that cannot be read"):
        series = str(header.get("SeriesInstanceUID") or PurePosixPath(file).parent)
    with _told("has an InstanceNumber that cannot be read"):
        instance = int(header.get("InstanceNumber") or 0)
    with _told("has an ImagePositionPatient or ImageOrientationPatient that cannot be read"):
        positions = tuple(_position(header, frame) for frame in range(frames))
    return _File(file, path, _pseudonym(patient), not named, series, instance, positions)


def _read_header(path: Path) -> tuple[Any, int, int]:
    """The elements before the pixels, the length given for these, and the bytes that follow."""
    from pydicom.filereader import read_partial

    lengths = []

    def at_pixels(tag: Any, vr: str | None, length: int) -> bool:
        if tag == PIXELS:
            lengths.append(length)
        return bool(lengths)

    with _told("cannot be read"), path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        start = stream.read(4096)
        _check_start(start, path)
        stream.seek(0)
        with _told("is no DICOM file" if start[128:132] != b"DICM" else "has a header that cannot be read"):
            header = read_partial(stream, stop_when=at_pixels, force=True)
            rest = size - stream.tell() - (8 if header.original_encoding[0] else 12)
    if not lengths:
        if not {"SOPClassUID", "Rows"} & set(header.dir()):
            raise DataError("is no DICOM file")
        raise DataError("ends before its pixels" if "Rows" in header else "holds no image")
    return header, lengths[0], rest


def _check_start(start: bytes, path: Path) -> None:
    if not start:
        raise DataError("is empty")
    if start[128:132] != b"DICM" and path.suffix.lower() not in SUFFIXES:
        raise DataError("is no DICOM file")
    if DEFLATED in start:
        raise DataError("is in Deflated Explicit VR Little Endian, which is not read; save it without compression")


def _check_pixels(header: Any, length: int, rest: int) -> int:
    """The number of frames.

    Args:
        header: see `_read_header`.
        length: of the pixels, as given.
        rest: the bytes that there are.

    Raises:
        DataError: what the header says of the pixels is incomplete, wrong or too much.
    """
    if missing := [keyword for keyword in NEEDED if keyword not in header]:
        raise DataError(f"has no {missing[0]}")
    rows, columns, samples, bits = (_number(header, keyword) for keyword in NEEDED[:4])
    frames = _number(header, "NumberOfFrames", 1) or 1
    size = f"{columns}x{rows} pixels" if frames == 1 else f"{frames} frames of {columns}x{rows} pixels"
    if min(rows, columns, frames, bits) < 1 or samples not in {1, 3}:
        raise DataError(f"has {size} with {samples} samples of {bits} bits each; 1 and 3 samples are read")
    if wrong := decoding.size_problem(columns, rows):
        raise DataError(wrong)
    if rows * columns * samples * frames > MOST_STORED:
        raise DataError(f"is too large: {size}")
    with _told("has a Modality, ImageType or TransferSyntaxUID that cannot be read"):
        _check_kind(header, rows, columns)
        compressed, subsampled = _syntax(header).is_encapsulated, header.PhotometricInterpretation == "YBR_FULL_422"
        if compressed:
            _check_decoder(header)
    bits_a_row = columns * samples * bits * 2 // (3 if subsampled else 2)
    needed = 8 * frames if compressed else math.ceil(bits_a_row * rows * frames / 8)  # 8 is a fragment's header
    if needed > min(rest, rest if compressed else length):
        raise DataError(f"ends before its pixels do: {size} need {needed:,} bytes")
    if not compressed and length - needed > bits_a_row / 8:  # what is less is taken for padding
        raise DataError(f"has {length:,} bytes of pixels but {size} need {needed:,}")
    return frames


def _check_decoder(header: Any) -> None:
    from pydicom.pixels.decoders.base import get_decoder

    syntax = _syntax(header)
    name = syntax.name if syntax.name != str(syntax) else "in a way that is not known"
    try:
        usable = get_decoder(syntax).is_available
    except NotImplementedError:
        raise DataError(f"is compressed as {name}, which is not read; save it without compression") from None
    if not usable:
        raise DataError(f"is compressed as {name}; pip install 'pylibjpeg[all]', or save it without compression")


def _check_kind(header: Any, rows: int, columns: int) -> None:
    """Refuse what is no slice. Siemens' mosaic is all slices of a volume side by side."""
    if header.get("Modality") in NO_SLICES:
        raise DataError(f"is {NO_SLICES[header.Modality]}, no image of a scanner")
    kinds = header.get("ImageType") or ()
    if "LOCALIZER" in kinds:
        raise DataError("is a localizer, no slice; take it out")
    if "SCREEN SAVE" in kinds or str(header.get("BurnedInAnnotation") or "").upper() == "YES":
        raise DataError("has text burned into its pixels, by its header, which may name a patient; take it out")
    if "MOSAIC" in kinds:
        tiles = header.get(MOSAIC_TILES)
        side = math.ceil(math.sqrt(int(tiles.value))) if tiles else 1
        if rows % side == columns % side == 0:
            raise DataError("is a mosaic of slices; convert the series to NIfTI (dcm2niix does)")


def _syntax(header: Any) -> Any:
    """The transfer syntax; the one that fits where the file does not say."""
    from pydicom import uid

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is None:
        implicit, little = header.original_encoding
        explicit = uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian
        syntax = header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else explicit
    return syntax


def _number(header: Any, keyword: str, default: int | None = None) -> int:
    with _told(f"has a {keyword} that cannot be read"):
        value = header.get(keyword, default)
        if value is not None:
            return int(value)
    raise DataError(f"has no {keyword}")


def _lookup(header: Any, frame: int, group: str, keyword: str) -> Any:
    """A value of a frame: its own, else that of all frames, else that of the file; None where there is none."""
    own = header.get("PerFrameFunctionalGroupsSequence") or ()
    shared = header.get("SharedFunctionalGroupsSequence") or ()
    for groups in (*own[frame : frame + 1], *shared[:1]):
        for item in (groups.get(group) or ())[:1]:
            if item.get(keyword) is not None:
                return item.get(keyword)
    return header.get(keyword)


def _position(header: Any, frame: int) -> float | None:
    """How far the slice lies along its normal, in mm, to 0.001."""
    position = _lookup(header, frame, "PlanePositionSequence", "ImagePositionPatient")
    orientation = _lookup(header, frame, "PlaneOrientationSequence", "ImageOrientationPatient")
    if not position or not orientation:
        return None
    axes = np.array(orientation, dtype=float).reshape(2, 3)
    along = float(np.cross(axes[0], axes[1]) @ np.array(position, dtype=float))
    return round(along, 3) if math.isfinite(along) else None


@lru_cache(maxsize=4096)
def _pseudonym(patient: str) -> str:
    """A name that does not tell the id, slow to guess from a list of ids; empty for an empty one."""
    digest = hashlib.scrypt(patient.encode(errors="replace"), salt=SALT, n=2**14, r=8, p=1)
    return f"p{digest.hex()[:12]}" if patient else ""


# Pixels


def _decode(path: Path) -> tuple[Any, np.ndarray]:
    """The header, and the stored values: (frames, height, width), or one axis more for colour, which is RGB."""
    import pydicom
    from pydicom.pixels.utils import pixel_array

    with _told("has a header that cannot be read"):
        header = pydicom.dcmread(path, force=True)
        syntax, frames = _syntax(header), int(header.get("NumberOfFrames") or 1)
    if syntax.is_encapsulated and JP2 in header.PixelData:
        raise DataError("has JPEG 2000 pixels in a JP2 file, which is no DICOM; save it without compression")
    with _told(f"has pixels that cannot be decoded as {syntax.name}"):
        stored = pixel_array(header, allow_excess_frames=False)
    del header.PixelData
    return header, stored if frames > 1 else stored[None]


@remember_latest
def _decode_once(path: Path, stamp: tuple[int, int]) -> tuple[Any, np.ndarray]:
    """`_decode`, once for the frames of a file that are asked for in a row."""
    return _decode(path)


def _grey(header: Any, stored: np.ndarray, frame: int, window: str) -> np.ndarray:
    """(height, width): luma of colour, else rescaled values with what is bright on the screen high."""
    if header.PhotometricInterpretation == "PALETTE COLOR":
        from pydicom.pixels.processing import apply_color_lut

        stored = apply_color_lut(stored, header)
    if stored.ndim == 3:
        luma: np.ndarray = stored[:, :, :3] @ np.array([0.299, 0.587, 0.114])
        return luma
    slope = _lookup(header, frame, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _lookup(header, frame, "PixelValueTransformationSequence", "RescaleIntercept")
    slope, intercept = float(1 if slope is None else slope), float(intercept or 0)
    values = stored.astype(np.float64) * slope + intercept
    low, high = (value * slope + intercept for value in _stored_range(header))
    if window == "file" or (window == "auto" and header.get("Modality") == "CT"):
        if limits := _window(header, frame):
            values, low, high = _through(values, *limits), 0.0, 255.0
        elif window == "file":
            raise DataError("has no WindowCenter and WindowWidth; window=auto goes without")
    if header.PhotometricInterpretation == "MONOCHROME1":
        values = low + high - values
    padding = _padding(header, stored)
    values[padding] = 0 if padding.all() else values[~padding].min()
    return values


def _stored_range(header: Any) -> tuple[int, int]:
    """What can be stored: the same for all slices of a series, so that what is inverted stays comparable."""
    steps = 2 ** int(header.BitsStored)
    return (-steps // 2, steps // 2 - 1) if header.PixelRepresentation == 1 else (0, steps - 1)


def _padding(header: Any, stored: np.ndarray) -> np.ndarray:
    """Where there is no image: bool."""
    value = header.get("PixelPaddingValue")
    if value is None:
        return np.zeros(stored.shape, bool)
    limit = header.get("PixelPaddingRangeLimit")
    # A conversion wraps around: some files give -2000 as 63536.
    ends = np.array([value, value if limit is None else limit], np.int64).astype(stored.dtype)
    padding: np.ndarray = (stored >= ends.min()) & (stored <= ends.max())
    return padding


def _window(header: Any, frame: int) -> tuple[float, float, str] | None:
    """Centre, width and function of the first window; None where there is none."""
    found = [_lookup(header, frame, "FrameVOILUTSequence", f"Window{part}") for part in ("Center", "Width")]
    centre, width = (next(iter(value if isinstance(value, Sequence) else [value]), None) for value in found)
    if centre is None or width is None:
        return None
    function = _lookup(header, frame, "FrameVOILUTSequence", "VOILUTFunction") or "LINEAR"
    return float(centre), float(width), str(function)


def _through(values: np.ndarray, centre: float, width: float, function: str) -> np.ndarray:
    """DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3: values seen through a window, 0 to 255."""
    if not width >= (1 if function == "LINEAR" else np.finfo(float).tiny):
        raise DataError("has a WindowWidth that is too small")
    if function == "SIGMOID":
        return 255 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -500, 500)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, np.finfo(float).tiny)
    return np.clip((values - centre) / width + 0.5, 0, 1) * 255


# What pydicom says


@contextmanager
def _told(reason: str) -> Iterator[None]:
    """Whatever goes wrong inside becomes this reason; the exception itself may quote the file."""
    try:
        yield
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"{reason} ({error.strerror})" if error.strerror else reason) from None
    except Exception:  # pydicom and Pillow raise anything on bad bytes
        raise DataError(reason) from None


class _Quiet:
    """Keeps back pydicom's warnings and log lines.

    Threads share filters and levels: the first to enter sets them, the last to leave puts them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._undo = threading.Lock(), 0, ExitStack()

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                logger = logging.getLogger("pydicom")
                self._undo.enter_context(warnings.catch_warnings())
                self._undo.callback(logger.setLevel, logger.level)
                warnings.simplefilter("ignore")
                logger.setLevel(logging.CRITICAL + 1)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._undo.close()


_quiet = _Quiet()
