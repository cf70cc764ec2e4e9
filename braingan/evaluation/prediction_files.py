"""A CSV file of predictions, whoever made them -> a table; or one line that says why not."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braingan.data.walking import file_problem, printable
from braingan.errors import DataError, SettingsError
from braingan.evaluation.predictions import SUM_TOLERANCE

IMAGE = ("file", "image")  # a column of one of these names
REQUIRED = ("file", "target", "predicted")  # never empty where they are there
RUN = ("run", "seed")  # what tells the training runs apart; with both, each pair is a run
BATCH = "batch"  # what training runs have in common; of runs that are told apart by `run`, only within each
PICTURE = "picture"  # a column: images of the same picture have the same text; counts where no patients are known
OTHERS = ("target", "predicted", "patient", PICTURE, *RUN, BATCH, "fold", "arm")
PROBABILITY = "p_"  # and the name of a class
LONGEST = 100  # characters of a stranger's text in a message


@dataclass(frozen=True)
class PredictionTable:
    """Rows of a file, those of one arm.

    Attributes:
        path: of the file.
        arm: which rows these are, None for all.
        lines: (rows,) where each ends.
        columns: name -> (rows,) texts; always `file` and `target`, the others if they are there and not empty.
        runs: (rows,) what names the training run, () where nothing does.
        classes: sorted names of those with probabilities.
        probabilities: (rows, classes).
    """

    path: Path
    arm: str | None
    lines: list[int]
    columns: dict[str, list[str]]
    runs: list[tuple[str, ...]]
    classes: tuple[str, ...]
    probabilities: np.ndarray

    def __getitem__(self, column: str) -> list[str]:
        return self.columns[column]

    @property
    def source(self) -> str:
        """What a message calls it."""
        return source_of(self.path, self.arm)

    def place(self, row: int) -> str:
        """Where a row stands, for the beginning of a message."""
        return f"{self.path}, line {self.lines[row]}"


def source_of(path: Path | str, arm: str | None) -> str:
    """A file, and the arm if one was asked for."""
    return f"{path}, arm {arm}" if arm is not None else str(path)


def shortened(text: str) -> str:
    """A text of a stranger's file, fit for one line."""
    return printable(text if len(text) <= LONGEST else f"{text[:LONGEST]}...")


def count_of(number: int, noun: str) -> str:
    """Such as `1 run` and `2 runs`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def read_predictions(path: Path, arm: str | None, flag: str) -> PredictionTable:
    """Read one file.

    Args:
        path: the CSV file.
        arm: keep its rows only; None for a file of one arm, or none.
        flag: the option that chooses the arm.

    Raises:
        DataError: it cannot be read, lacks columns, or has rows that cannot be.
        SettingsError: there is no such arm, or several and none was asked for.
    """
    header, numbered = _read_rows(path)
    where = _find_columns(path, header)  # before rows are looked at: it knows of wrong separators
    lines, rows = _whole_rows(path, numbered, len(header))
    if arm is not None or "arm" in where:
        lines, rows = _rows_of_arm(path, lines, rows, where.get("arm"), arm, flag)
    texts = {name: [row[place].strip() for row in rows] for name, place in where.items() if name != "arm"}
    columns = {name: texts[name] for name in texts if name in REQUIRED or any(texts[name])}
    _check_texts(path, lines, columns)
    named = [columns[name] for name in RUN if name in columns]
    places = {name.removeprefix(PROBABILITY): place for place, name in enumerate(header) if _is_probability(name)}
    classes = tuple(sorted(places))
    probabilities = _numbers(path, lines, rows, [places[name] for name in classes])
    runs: list[tuple[str, ...]] = list(zip(*named, strict=True)) if named else [()] * len(rows)
    return PredictionTable(path, arm, lines, columns, runs, classes, probabilities)


def _check_texts(path: Path, lines: list[int], columns: dict[str, list[str]]) -> None:
    for name, column in columns.items():
        for line, text in zip(lines, column, strict=True):
            if not text:
                raise DataError(f"{path}, line {line}: {name} is empty; a value in each row works")
            if not text.isprintable() and text != printable(text):  # the first is quick, and too strict
                raise DataError(
                    f"{path}, line {line}: {name} {shortened(text)!r} holds a control character; is a quote left open?"
                )


def _is_probability(name: str) -> bool:
    return name.startswith(PROBABILITY) and name != PROBABILITY


def _read_rows(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Names of columns; of each row the number of its last line, and its cells. Empty lines are passed over."""
    if wrong := file_problem(path):
        inside = path / "predictions.csv"
        raise DataError(f"{path} {wrong}; give {inside if inside.is_file() else 'a CSV file of predictions'}")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            try:
                header = next(filter(None, reader), [])
                numbered = [(reader.line_num, row) for row in reader if row]
            except csv.Error as error:
                raise DataError(f"{path}, line {reader.line_num}: {error}; is a quote left open?") from error
    except (UnicodeDecodeError, OSError) as error:
        raise DataError(f"{path} cannot be read as CSV in UTF-8: {error}") from error
    if not header:
        raise DataError(f"{path} is empty; a CSV file of predictions works")
    return [name.strip() for name in header], numbered


def _whole_rows(path: Path, numbered: list[tuple[int, list[str]]], columns: int) -> tuple[list[int], list[list[str]]]:
    for line, row in numbered:
        if len(row) != columns:
            raise DataError(f"{path}, line {line}: {count_of(len(row), 'cell')} for {count_of(columns, 'column')}")
    if not numbered:
        raise DataError(f"{path} has no rows; one for each image works")
    return [line for line, _ in numbered], [row for _, row in numbered]


def _find_columns(path: Path, header: list[str]) -> dict[str, int]:
    """Column name -> its place; an `image` column is `file`."""
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise DataError(f"{path} has the column {shortened(twice[0])!r} twice; remove or rename one")
    image = next((name for name in IMAGE if name in header), None)
    missing = [] if image else ["file"]
    missing += [] if "target" in header else ["target"]
    missing += [] if "predicted" in header or any(map(_is_probability, header)) else ["predicted or p_<class>"]
    if missing:
        other = next((mark for mark in ";\t|" if mark in header[0]), "") if len(header) <= 2 else ""
        hint = f"it seems to be separated by {other!r}, and commas work" if other else "a column of that name works"
        raise DataError(f"{path} has no column {missing[0]}; its columns are {shortened(', '.join(header))}: {hint}")
    if sum(map(_is_probability, header)) == 1:
        raise DataError(f"{path} has probabilities of one class; a column p_<class> for each class works")
    _refuse_like_patient(path, header)
    found = {"file": header.index(image or "file")}
    return found | {name: header.index(name) for name in OTHERS if name in header}


def _refuse_like_patient(path: Path, header: list[str]) -> None:
    """Images taken as patients by a slip of the pen would be the worst mistake here."""
    others = [name for name in header if name not in (*IMAGE, *OTHERS) and not _is_probability(name)]
    if "patient" in header or not others:
        return
    from braingan.data.folders import LIKE_PATIENT  # brings torch: seconds that most files need not wait for

    for name in others:
        if "".join(filter(str.isalnum, name.lower())) in LIKE_PATIENT:
            raise DataError(f"{path} has a column {name!r}; patients are read from 'patient': rename it")


def _rows_of_arm(
    path: Path, lines: list[int], rows: list[list[str]], place: int | None, arm: str | None, flag: str
) -> tuple[list[int], list[list[str]]]:
    if place is None:
        raise SettingsError(f"{flag} {arm} was asked and {path} has no column arm; leave {flag} out")
    arms = list(dict.fromkeys(row[place].strip() for row in rows))
    listed = shortened(", ".join(arms))
    if arm is None:
        if len(arms) > 1:
            raise SettingsError(f"{path} has the arms {listed}; {flag} NAME takes one of them")
        return lines, rows
    chosen = [number for number, row in enumerate(rows) if row[place].strip() == arm]
    if not chosen:
        raise SettingsError(f"{flag} {arm} was asked; {path} has {listed}")
    return [lines[number] for number in chosen], [rows[number] for number in chosen]


def _numbers(path: Path, lines: list[int], rows: list[list[str]], places: list[int]) -> np.ndarray:
    """(rows, classes) probabilities."""
    values = np.empty((len(rows), len(places)))
    for number, row in enumerate(rows):
        try:
            values[number] = [float(row[place]) for place in places]
        except ValueError:
            values[number] = np.nan
    with np.errstate(invalid="ignore"):  # infinity less infinity
        sums = values.sum(axis=1)
    wrong = ~((values >= 0).all(axis=1) & (np.abs(sums - 1) <= SUM_TOLERANCE)) if places else np.zeros(0, bool)
    if wrong.any():
        first = int(wrong.argmax())
        shown = shortened(", ".join(rows[first][place].strip() for place in places))
        total = f" with the sum {sums[first]:g}" if np.isfinite(sums[first]) else ""
        raise DataError(
            f"{path}, line {lines[first]}: {shown}{total} are no probabilities; numbers from 0 to 1 with the sum 1 work"
        )
    return values
