"""Two files of predictions -> their comparison."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from braingan.errors import DataError, SettingsError
from braingan.evaluation.comparison import Comparison, compare
from braingan.evaluation.measures import PER_CLASS, Measure
from braingan.evaluation.positive import positive_label
from braingan.evaluation.prediction_files import (
    BATCH,
    PICTURE,
    PredictionTable,
    count_of,
    read_predictions,
    shortened,
    source_of,
)

log = logging.getLogger("braingan")

NO_PATIENTS = (
    "No patients are known, so every {} was taken as a patient of its own: the interval is too narrow if a patient "
    "has several images; a column patient in one of the files helps"
)


@dataclass(frozen=True)
class FileComparison:
    """A comparison of predictions in files. `print` shows it for people.

    Attributes:
        comparison: its measure is named as asked, with the class's name.
        files: of a and of b.
        arms: of a and of b, None where not asked.
        classes: names in label order.
        grouped_by: what was resampled: "patient", or "picture" or "file" where no patients are known.
        notes: what a reader must know before believing the numbers.
    """

    comparison: Comparison
    files: tuple[str, str]
    arms: tuple[str | None, str | None]
    classes: tuple[str, ...]
    grouped_by: str
    notes: tuple[str, ...]

    @property
    def positive(self) -> str | None:
        """The class that counts as 1, of two."""
        return self.classes[1] if len(self.classes) == 2 else None

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary: all of the comparison, and what was compared."""
        return self.comparison.to_json() | {
            "files": list(self.files),
            "arms": list(self.arms),
            "classes": list(self.classes),
            "positive": self.positive,
            "grouped_by": self.grouped_by,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        found = self.comparison
        p_value = "p < 0.0001" if found.p_value < 0.0001 else f"p = {found.p_value:.3g}"
        rows = zip("ab", (found.value_a, found.value_b), self.files, self.arms, found.runs, strict=True)
        positive = f" (positive: {self.positive})" if self.positive else ""
        known = {"patient": f"{found.patients} patients", PICTURE: f"{found.patients} pictures, patients unknown"}
        units = known.get(self.grouped_by, "patients unknown")
        return "\n".join(
            [
                f"{found.metric}, b minus a: {found.difference:+.4f}, {100 * found.confidence:g} % interval "
                f"{found.low:+.4f} to {found.high:+.4f}, {p_value}",
                *(
                    f"  {name}  {value:.4f}  {source_of(file, arm)}, {count_of(runs, 'run')}"
                    for name, value, file, arm, runs in rows
                ),
                f"{units}, {count_of(found.images, 'image')}; classes {shortened(', '.join(self.classes))}{positive}",
                *_meaning(found, self.grouped_by),
                *(f"warning: {note}" for note in self.notes),
            ]
        )


def _meaning(found: Comparison, unit: str) -> Iterator[str]:
    """What the sign, and the interval, do and do not say."""
    if found.metric == "brier":
        yield "Smaller is better: a negative difference favours b."
    others = "other hospitals and scanners, choices made on these images, or the best of many comparisons."
    if found.covers_runs:
        yield f"The interval contains the choice of {unit}s and the luck of training. It does not contain {others}"
    else:
        yield (
            f"The interval contains the choice of {unit}s only. It does not contain the luck of training, as there is "
            f"one run of each: it holds for these two trained classifiers. Nor does it contain {others}"
        )


def compare_files(
    a: Path,
    b: Path,
    *,
    metric: str = "macro_f1",
    arm_a: str | None = None,
    arm_b: str | None = None,
    positive: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> FileComparison:
    """Compare predictions in CSV files; the statistics are those of `braingan.compare`.

    Columns: `file` (or `image`), `target`, and `predicted` (names of classes) or `p_<class>` for each class
    (probabilities); also `patient`, `picture`, `run` or `seed`, `batch`, `fold` and `arm`. Others are left alone. With
    both `predicted` and probabilities, measures of classes take `predicted` and the others take the probabilities.
    Rows of a and b are matched by `file`; every run has the same images. What only one of the two tells of patients and
    folds holds for both. Label 1 of two classes is the one that is not named like healthy (`positive_label`), else the
    latter in the order of their names, unless `positive` is given.

    Args:
        a: CSV file in UTF-8.
        b: the same of the other classifier; the same file if arms are given.
        metric: as of `compare`, but `f1:CLASS` with the class's name.
        arm_a: take only the rows of this arm from a.
        arm_b: the same from b.
        positive: name of the class that is label 1 of two.
        resamples: of patients, 2 or more.
        seed: of the resamples, 0 or more.
        confidence: of the interval, between 0 and 1.

    Raises:
        DataError: a file that cannot be read, or files that do not fit each other.
        SettingsError: a metric, arm or class that there is not.
    """
    if Path(a).resolve() == Path(b).resolve() and arm_a == arm_b:
        raise SettingsError(f"{a} was given twice; give two files, or --arm-a and --arm-b for two arms of one")
    ours, theirs = read_predictions(Path(a), arm_a, "--arm-a"), read_predictions(Path(b), arm_b, "--arm-b")
    classes = _classes(ours, theirs, positive)
    labelled = _with_label(metric, classes)
    measure = Measure.named(labelled)
    parts = _matched(ours, theirs)
    targets, patients = _agreed("target", parts), _agreed("patient", parts)
    pictures = [] if patients else _agreed(PICTURE, parts)
    label = {name: number for number, name in enumerate(classes)}
    first, second = (_predictions(part, label, measure, metric) for part in parts)
    try:
        found = compare(
            np.array([label[name] for name in targets]),
            first,
            second,
            patients or pictures or parts[0].values("file"),
            metric=labelled,
            folds=_folds(parts) if measure.per_fold else None,
            batches=(_batches(parts[0]), _batches(parts[1])),
            resamples=resamples,
            seed=seed,
            confidence=confidence,
        )
    except DataError as error:  # it knows labels only
        names = ", ".join(f"{number} is {name}" for name, number in label.items())
        raise DataError(f"{ours.path} and {theirs.path}: {error} (class {shortened(names)})") from error
    kind = "patient" if patients else PICTURE if pictures else "file"
    notes = () if patients else (NO_PATIENTS.format(kind),)
    for note in notes:
        log.warning("warning: %s", note)
    return FileComparison(
        comparison=replace(found, metric=metric),
        files=(str(a), str(b)),
        arms=(arm_a, arm_b),
        classes=classes,
        grouped_by=kind,
        notes=notes,
    )


def _classes(a: PredictionTable, b: PredictionTable, positive: str | None) -> tuple[str, ...]:
    """Names in label order, after a look at every target and every predicted class."""
    if a.classes and b.classes and a.classes != b.classes:
        differing = sorted(set(a.classes) ^ set(b.classes))
        has, lacks = (a, b) if differing[0] in a.classes else (b, a)
        raise DataError(f"{has.path} has a column p_{shortened(differing[0])} and {lacks.path} has not; the same work")
    classes = list(a.classes or b.classes or sorted({*a["target"], *b["target"]}))
    known, listed = set(classes), shortened(", ".join(classes))
    why = "has no column p_<class>" if a.classes or b.classes else "is no image's target"
    for table in (a, b):
        for column in ("target", "predicted"):
            names = table.columns.get(column, [])
            if unknown := set(names) - known:
                row = next(row for row, name in enumerate(names) if name in unknown)
                raise DataError(
                    f"{table.place(row)}: {column} {shortened(names[row])!r} {why}; the classes are {listed}"
                )
    try:
        label = positive_label(classes, positive)
    except SettingsError:
        shown = f"positive class {shortened(str(positive))!r} was asked and the classes are {listed}; one of two works"
        raise SettingsError(shown) from None
    return tuple(classes if label else reversed(classes))


def _with_label(metric: str, classes: Sequence[str]) -> str:
    """`f1:tumor` -> `f1:1`."""
    kind, colon, name = metric.partition(":")
    if not colon or kind not in PER_CLASS:
        return metric
    if name not in classes:
        raise SettingsError(f"metric {metric!r} was asked; the classes are {shortened(', '.join(classes))}")
    return f"{kind}:{classes.index(name)}"


@dataclass(frozen=True)
class _Matched:
    """A table with rows (runs, N); column i is the same image in a and in b."""

    table: PredictionTable
    rows: np.ndarray

    def values(self, column: str) -> list[str]:
        """(N,) texts of the first run."""
        texts = self.table[column]
        return [texts[row] for row in self.rows[0].tolist()]


def _matched(a: PredictionTable, b: PredictionTable) -> tuple[_Matched, _Matched]:
    ours, theirs = _by_run(a), _by_run(b)
    first, other = next(iter(ours.values())), next(iter(theirs.values()))
    if not first.keys() & other.keys():
        one, two = (shortened(next(iter(images))) for images in (first, other))
        raise DataError(
            f"{a.source} and {b.source} have no image in common: a has {one!r}, b has {two!r}; the same names work"
        )
    _check_complete(first, other, a, b.source, "a and b")
    _check_complete(other, first, b, a.source, "a and b")
    return _Matched(a, _rows_of(ours, first)), _Matched(b, _rows_of(theirs, first))


def _rows_of(runs: dict[tuple[str, ...], dict[str, int]], files: Iterable[str]) -> np.ndarray:
    order = list(files)
    return np.array([[run[file] for file in order] for run in runs.values()])


def _by_run(table: PredictionTable) -> dict[tuple[str, ...], dict[str, int]]:
    """Run -> file -> row, with the same files in every run."""
    runs: dict[tuple[str, ...], dict[str, int]] = {}
    for row, (run, file) in enumerate(zip(table.runs, table["file"], strict=True)):
        images = runs.setdefault(run, {})
        if file in images:
            hint = f"one row in run {_run(run)} works" if run else "if these are training runs, a column run works"
            before = table.lines[images[file]]
            raise DataError(f"{table.place(row)}: {shortened(file)} has a row already, line {before}; {hint}")
        images[file] = row
    (start, first), *others = runs.items()
    for run, images in others:
        _check_complete(first, images, table, f"run {_run(run)}", "all runs")
        _check_complete(images, first, table, f"run {_run(start)}", "all runs")
    return runs


def _run(run: tuple[str, ...]) -> str:
    return shortened(" ".join(run))


def _check_complete(
    has: dict[str, int], lacks: dict[str, int], table: PredictionTable, name: str, needing: str
) -> None:
    """Refuse images (file -> row of the table) that the other has not, whose name and need are told."""
    if missing := [file for file in has if file not in lacks]:
        more = f" and {len(missing) - 1} more are" if len(missing) > 1 else " is"
        raise DataError(
            f"{table.place(has[missing[0]])}: {shortened(missing[0])}{more} not in {name}; {needing} need the same "
            "images"
        )


def _agreed(column: str, parts: Sequence[_Matched]) -> list[str]:
    """(N,) texts of a column, the same in all runs of all tables that have it; none where none has it."""
    parts = [part for part in parts if column in part.table.columns]
    if not parts:
        return []
    first, values = parts[0], parts[0].values(column)
    for part in parts:
        texts = part.table[column]
        for run in part.rows.tolist():
            for image, row in enumerate(run):
                if texts[row] != values[image]:
                    file, text, other = (
                        shortened(name) for name in (part.table["file"][row], texts[row], values[image])
                    )
                    raise DataError(
                        f"{part.table.place(row)}: {file} has {column} {text!r}, and {other!r} in "
                        f"{first.table.place(int(first.rows[0, image]))}; the same {column} works"
                    )
    return values


def _folds(parts: Sequence[_Matched]) -> list[str] | np.ndarray | None:
    """(N,) folds, or (runs, N) where each repeat of a cross-validation dealt anew, alike in both tables."""
    dealt: list[np.ndarray] = []
    for part in parts:
        if "fold" in part.table.columns:
            texts = np.array(part.table["fold"])
            dealt.append(texts[part.rows])
    same = len(dealt) == 2 and dealt[0].shape == dealt[1].shape and bool((dealt[0] == dealt[1]).all())
    if same and not (dealt[0] == dealt[0][0]).all():
        return dealt[0]
    return _agreed("fold", parts) or None


def _batches(part: _Matched) -> list[tuple[str, ...]]:
    """(runs,) what each has in common with others."""
    table, found = part.table, []
    for rows in part.rows.tolist():
        own = table.runs[rows[0]]
        if BATCH in table.columns:
            named = {table[BATCH][row] for row in rows}
            if len(named) > 1:
                listed = shortened(", ".join(sorted(named)))
                raise DataError(f"{table.source}: run {_run(own)} is of the batches {listed}; one for each run works")
            repeat = (table["run"][rows[0]],) if "run" in table.columns and "seed" in table.columns else ()
            own = (*repeat, *named)
        found.append(own)
    return found


def _predictions(part: _Matched, label: dict[str, int], measure: Measure, metric: str) -> np.ndarray:
    """(runs, N) labels or (runs, N, classes) probabilities."""
    table = part.table
    if "predicted" in table.columns and not measure.needs_probabilities:
        values = np.array([label[name] for name in table["predicted"]])
    elif table.classes:
        values = table.probabilities[:, [table.classes.index(name) for name in label]]
    else:
        raise SettingsError(f"metric {metric} was asked and {table.path} has no probabilities; columns p_<class> work")
    chosen: np.ndarray = values[part.rows]
    return chosen
