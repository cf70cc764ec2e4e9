"""A folder -> `ImageSet`: class folders, with a `metadata.csv` where there is one."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from braingan.data.decoding import SUFFIXES
from braingan.data.records import ImageRecord, ImageSet, class_name_problem
from braingan.errors import DataError

METADATA = "metadata.csv"
LIKE_PATIENT = {"patient", "patientid", "pid", "subject", "subjectid", "case", "caseid"}
CLUTTER = {"thumbs.db", "desktop.ini"}  # left by file managers, nobody's data


@dataclass(frozen=True)
class BadFile:
    """A file that cannot be used, and why."""

    file: str
    reason: str


@dataclass
class Findings:
    """The bad files so far: kept where the user asked to go on without them, raised where not."""

    skip_bad: bool
    bad: list[BadFile] = field(default_factory=list)

    def add(self, file: str, reason: str) -> None:
        """Note a bad file."""
        self.bad.append(BadFile(file, reason))

    def refuse(self, data: Path) -> None:
        """Raise a `DataError` in one line, unless bad files are to be skipped."""
        if self.bad and not self.skip_bad:
            first, others = self.bad[0], len(self.bad) - 1
            names = ", ".join(bad.file for bad in self.bad[1:4]) + (", ..." if others > 3 else "")
            more = f" (and {others} more bad: {names})" if others else ""
            raise DataError(f"{data}: {first.file}: {first.reason}{more}; --skip-bad goes on without bad files")


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    patient: str
    mask: str


def read_images(data: str | Path, *, transform: Callable[[Any], Any] | None = None, skip_bad: bool = False) -> ImageSet:
    """A data folder as a dataset of (PIL image, label); see `read_folder`.

    Args:
        data: the folder.
        transform: applied to each image.
        skip_bad: leave out files that are no images, and rows without their file, instead of refusing.

    Raises:
        DataError: the folder cannot be used.
    """
    found = read_folder(Path(data), Findings(skip_bad))
    return ImageSet(found.records, found.classes, has_patients=found.has_patients, transform=transform)


def read_folder(data: Path, findings: Findings) -> ImageSet:
    """Read the structure of a data folder; no image is decoded yet.

    Args:
        data: a folder with a subfolder for each class, or with a `metadata.csv` (columns `file_name`,
            and optionally `label`, `patient`, `mask`), or both.
        findings: receives the files that cannot be used.

    Returns:
        The images in the order of their names; classes in alphabetical order.

    Raises:
        DataError: the folder's structure cannot be used, or a file of it (unless `findings.skip_bad`).
    """
    data = Path(data)
    if not data.is_dir():
        raise DataError(f"{data} is not a folder; give a folder that holds a subfolder of images for each class")
    rows = list(_metadata_rows(data, findings) if (data / METADATA).exists() else _folder_rows(data, findings))
    findings.refuse(data)
    classes = sorted({row.label for row in rows})
    _check_classes(data, classes)
    has_patients = _has_patients(data, rows)
    labels = {name: label for label, name in enumerate(classes)}
    records = [
        ImageRecord(
            path=data / row.file,
            file=row.file,
            label=labels[row.label],
            group=row.patient if has_patients else row.file,
            mask=data / row.mask if row.mask else None,
        )
        for row in sorted(rows, key=lambda row: row.file)
    ]
    return ImageSet(records, classes, has_patients=has_patients)


def _folder_rows(data: Path, findings: Findings) -> Iterator[_Row]:
    folders = [entry for entry in sorted(data.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise DataError(f"{data} holds no class folders; it needs a subfolder of images for each class")
    _refuse_parts(data, folders)
    for file in sorted(data.iterdir()):
        if file.is_file() and file.suffix.lower() in SUFFIXES:
            findings.add(_printable(file.name), "lies in no class folder")
    for folder in folders:
        found = 0
        for file in _files_below(folder):
            name = file.relative_to(data).as_posix()
            if name != _printable(name):
                findings.add(_printable(name), "has a name that is not UTF-8; rename it")
            elif file.suffix.lower() in SUFFIXES:
                found += 1
                yield _Row(name, folder.name, "", "")
            else:
                findings.add(name, f"is no image ({', '.join(SUFFIXES)} are read)")
        if not found:
            raise DataError(f"{data}: class folder {folder.name!r} holds no images; remove it or fill it")


def _refuse_parts(data: Path, folders: list[Path]) -> None:
    """Training/ and Testing/ read as classes would be the worst mistake of all."""
    parts = [folder.name for folder in folders if folder.name.lower().startswith(("train", "test", "val"))]
    nested = [folder for folder in folders if any(entry.is_dir() for entry in folder.iterdir())]
    if parts and len(nested) == len(folders):
        train = next((name for name in parts if name.lower().startswith("train")), parts[0])
        test = next((name for name in parts if name.lower().startswith("test")), None)
        example = f"{data / train}" + (f" with --test {data / test}" if test else "")
        raise DataError(f"{data} holds the parts {', '.join(parts)} and no classes; give {example}")


def _printable(name: str) -> str:
    """The name, with bytes that are not UTF-8 as question marks."""
    return name.encode(errors="replace").decode()


def _files_below(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith(".") or entry.name.lower() in CLUTTER:
            continue
        if entry.is_dir():
            yield from _files_below(entry)
        else:
            yield entry


def _metadata_rows(data: Path, findings: Findings) -> Iterator[_Row]:
    seen: set[str] = set()
    masks: set[str] = set()
    rows: list[_Row] = []
    for number, entry in _read_csv(data / METADATA):
        row = _parse(entry, number, data, findings)
        if row is None:
            continue
        if row.file in seen:
            raise DataError(f"{data / METADATA}, line {number}: {row.file} has a row already")
        seen.add(row.file)
        masks.add(row.mask)
        rows.append(row)
    listed = {row.label for row in rows}
    for row in rows:
        folder = PurePosixPath(row.file).parts[0]
        if folder in listed and folder != row.label:
            raise DataError(f"{data}: {row.file} lies in class folder {folder!r} but {METADATA} says {row.label!r}")
        yield row
    bad = {entry.file for entry in findings.bad}
    for name in _images_without_row(data, masks, seen):
        if name not in seen and name not in bad:
            findings.add(name, f"has no row in {METADATA}")


def _images_without_row(data: Path, masks: set[str], seen: set[str]) -> Iterator[str]:
    """Images that are no masks: neither listed as one, nor in a folder that holds masks only."""
    mask_folders = {str(PurePosixPath(mask).parent) for mask in masks if mask}
    mask_folders -= {str(PurePosixPath(file).parent) for file in seen}
    for file in _files_below(data):
        path = file.relative_to(data)
        is_mask = path.parent.as_posix() in mask_folders or path.as_posix() in masks
        if file.suffix.lower() in SUFFIXES and not is_mask:
            yield _printable(path.as_posix())


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the number of its last line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or ()
            if "file_name" not in columns:
                raise DataError(f"{path} has no column file_name; its columns are {', '.join(columns) or 'none'}")
            alike = [name for name in columns if name != "patient" and _squeezed(name) in LIKE_PATIENT]
            if alike and "patient" not in columns:
                raise DataError(f"{path} has a column {alike[0]!r}; patients are read from 'patient': rename it")
            for entry in reader:
                yield reader.line_num, entry
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _squeezed(column: str) -> str:
    return "".join(filter(str.isalnum, column.lower()))


def _parse(entry: dict[str, str], number: int, data: Path, findings: Findings) -> _Row | None:
    name = (entry.get("file_name") or "").strip()
    mask = (entry.get("mask") or "").strip()
    if not name:
        raise DataError(f"{data / METADATA}, line {number}: file_name is empty")
    if min(name + mask) < " ":
        raise DataError(f"{data / METADATA}, line {number}: a name holds a control character; is a quote left open?")
    name = PurePosixPath(name).as_posix()
    for path, what in ((name, ""), (mask, f"its mask {mask} ")):
        if path and _leaves(path):
            findings.add(name, f"{what}leaves the folder ({METADATA}, line {number})")
            return None
        if path and not os.path.isfile(data / path):
            findings.add(name, f"{what}does not exist but {METADATA}, line {number} names it")
            return None
    if Path(name).suffix.lower() not in SUFFIXES:
        findings.add(name, f"is no image ({', '.join(SUFFIXES)} are read)")
        return None
    parts = PurePosixPath(name).parts
    label = (entry.get("label") or "").strip() or (parts[0] if len(parts) > 1 else "")
    if not label:
        raise DataError(f"{data / METADATA}, line {number}: {name} has no label and lies in no class folder")
    return _Row(name, label, (entry.get("patient") or "").strip(), mask)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])


def _has_patients(data: Path, rows: list[_Row]) -> bool:
    without = [row.file for row in rows if not row.patient]
    if without and len(without) < len(rows):
        raise DataError(f"{data / METADATA}: {without[0]} has no patient but others have; give each row one, or none")
    return not without


def _check_classes(data: Path, classes: list[str]) -> None:
    if not classes:
        raise DataError(f"{data} holds no images that can be used")
    for name in classes:
        if wrong := class_name_problem(name):
            raise DataError(f"{data}: class {name!r} {wrong}")
    folded = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if folded[name.casefold()] > 1]
    if alike:
        raise DataError(f"{data}: classes {_join(alike)} differ only by case; give them one name or two")


def _join(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)
