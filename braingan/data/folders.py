"""A folder -> `ImageSet`: class folders, with a `metadata.csv` where there is one."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from braingan.data.building import MASK_FOLDERS, Found, build_set
from braingan.data.decoding import SUFFIXES
from braingan.data.findings import Findings
from braingan.data.records import ImageSet
from braingan.data.walking import file_problem, name_problem, printable, walk
from braingan.errors import DataError

METADATA = "metadata.csv"
BESIDE = r"\.\./[^/\\]+_masks/"  # masks beside the data: in them, others would take their folder for a class
READ = ("file_name", "label", "patient", "mask")  # its columns; others are left alone
LIKE_PATIENT = {
    *("patient", "patients", "patientid", "pid", "subject", "subjectid", "case", "caseid"),
    *("participant", "participantid"),
}
# Columns that are surely meant to be read, by their letters and digits.
LIKE = {"patient": LIKE_PATIENT, "label": {"label", "labels"}, "mask": {"mask", "masks"}}
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".xls", ".xlsx")
MASK_NAME = re.compile(r"(.+)[-_ ]mask", re.IGNORECASE)


@dataclass(frozen=True)
class _Row:
    file: str
    label: str
    patient: str
    mask: str
    columns: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Folders:
    """Class folders of images, with a metadata.csv where there is one."""

    def recognises(self, files: Sequence[str]) -> bool:
        """What nobody else recognises is read as this; see `braingan.data.reading.Reader`."""
        return False

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """See `read_folder`."""
        return read_folder(data, findings)


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
    if not os.path.isdir(data):  # and not Path.is_dir, which raises where a name is too long
        raise DataError(f"{data} is not a folder; give a folder that holds a subfolder of images for each class")
    try:
        has_metadata = os.path.lexists(data / METADATA)  # a link that leads nowhere must not lose the patients
        rows = list(_metadata_rows(data, findings) if has_metadata else _folder_rows(data, findings))
    except OSError as error:
        raise DataError(f"{data} cannot be read: {printable(str(error))}") from error
    _check_patients(data, rows)
    found = [
        Found(
            path=data / row.file,
            file=row.file,
            label=row.label,
            patient=row.patient,
            mask=data / row.mask if row.mask else None,
            columns=row.columns,
        )
        for row in rows
    ]
    return build_set(data, found, findings)


def _folder_rows(data: Path, findings: Findings) -> Iterator[_Row]:
    folders = [entry for entry in sorted(data.iterdir()) if entry.is_dir() and not entry.name.startswith(".")]
    if not folders:
        raise DataError(f"{data} holds no class folders; it needs a subfolder of images for each class")
    _refuse_parts(data, folders)
    _refuse_masks(data, folders)
    for file in sorted(data.iterdir()):
        if file.is_file() and file.suffix.lower() in SUFFIXES:
            findings.add(printable(file.name), "lies in no class folder")
        elif file.is_file() and file.stem.lower() == "metadata" and file.suffix.lower() in TABLES:
            raise DataError(f"{data} holds {printable(file.name)}, which is not read; {METADATA}, with commas, is")
    for folder in folders:
        found, files = 0, list(walk(folder))
        named = {file.with_suffix("") for file in files}
        for file in files:
            name = file.relative_to(data).as_posix()
            mask_of = MASK_NAME.fullmatch(file.stem)
            if wrong := name_problem(name) or file_problem(file):
                findings.add(printable(name), wrong)
            elif mask_of and file.suffix.lower() in SUFFIXES and file.with_name(mask_of[1]) in named:
                findings.add(
                    name, f"is named like the mask of an image beside it; masks stand in {METADATA}, column mask"
                )
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
        example = f"{data / train}" + (f" with --test {data / test} (benchmark, augment, inspect)" if test else "")
        raise DataError(f"{data} holds the parts {', '.join(parts)} and no classes; give {example}")


def _refuse_masks(data: Path, folders: list[Path]) -> None:
    """Masks read as a class of their own would be told from images by anything."""
    masks = [folder.name for folder in folders if folder.name.lower() in MASK_FOLDERS]
    if masks:
        raise DataError(
            f"{data}: the folder {masks[0]!r} would be a class; if it holds masks, write a {METADATA} whose column "
            "mask names them, or take it away"
        )


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
    for file in walk(data):
        path = file.relative_to(data)
        is_mask = path.parent.as_posix() in mask_folders or path.as_posix() in masks
        if file.suffix.lower() in SUFFIXES and not is_mask:
            yield printable(path.as_posix())


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Each row with the number of its last line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = [printable(name) for name in reader.fieldnames or ()]
            if "file_name" not in columns:
                if any("file_name" in name.split(mark) for name in reader.fieldnames or () for mark in ";\t"):
                    raise DataError(f"{path} has columns that are not separated by commas; save it as CSV with commas")
                raise DataError(f"{path} has no column file_name; its columns are {', '.join(columns) or 'none'}")
            if twice := [name for name in READ if columns.count(name) > 1]:
                raise DataError(f"{path} has the column {twice[0]!r} twice; remove or rename one")
            for column, meant in LIKE.items():
                alike = [name for name in columns if _squeezed(name) in meant]
                if alike and column not in columns:
                    raise DataError(f"{path} has a column {alike[0]!r}; {column}s are read from {column!r}: rename it")
            for entry in reader:
                yield reader.line_num, entry
    except (UnicodeDecodeError, csv.Error, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error


def _squeezed(column: str) -> str:
    return "".join(filter(str.isalnum, column.lower()))


def _parse(entry: dict[str, str], number: int, data: Path, findings: Findings) -> _Row | None:
    name, label, patient, mask = ((entry.get(column) or "").strip() for column in READ)
    if not name:
        raise DataError(f"{data / METADATA}, line {number}: file_name is empty")
    if any(text != printable(text) for text in (name, patient, mask)):
        raise DataError(f"{data / METADATA}, line {number}: a name holds a control character; is a quote left open?")
    name = PurePosixPath(name).as_posix()
    for path, what in ((name, ""), (mask, f"its mask {mask} ")):
        if path and (_mask_leaves if what else _leaves)(path):
            findings.add(name, f"{what}leaves the folder ({METADATA}, line {number})")
            return None
        if path and not os.path.isfile(data / path):
            mend = "; write / instead of \\" if "\\" in path else ""
            findings.add(name, f"{what}does not exist but {METADATA}, line {number} names it{mend}")
            return None
    if Path(name).suffix.lower() not in SUFFIXES:
        findings.add(name, f"is no image ({', '.join(SUFFIXES)} are read)")
        return None
    parts = PurePosixPath(name).parts
    label = label or (parts[0] if len(parts) > 1 else "")
    if not label:
        raise DataError(f"{data / METADATA}, line {number}: {name} has no label and lies in no class folder")
    others = tuple((key, (entry[key] or "").strip()) for key in entry if key and key not in READ)
    return _Row(name, label, patient, mask, others)


def _mask_leaves(name: str) -> bool:
    """A mask may lie in a folder of masks beside the data, too."""
    return _leaves(name.removeprefix("../") if re.match(BESIDE, name) else name)


def _leaves(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    return path.is_absolute() or ".." in path.parts or ":" in "".join(path.parts[:1])


def _check_patients(data: Path, rows: list[_Row]) -> None:
    without = [row.file for row in rows if not row.patient]
    if without and len(without) < len(rows):
        raise DataError(
            f"{data / METADATA}: {without[0]} has no patient but others have; give each row one, or "
            "leave such images out (an invented id for each would hide that patients are unknown)"
        )
