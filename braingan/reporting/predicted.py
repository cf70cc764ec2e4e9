"""`predictions.csv` -> what the classifiers of each arm say of each tested image."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from braingan.errors import OutputError
from braingan.experiment.result import AUGMENTED, BASELINE, BenchmarkResult
from braingan.reporting.facts import counted

REAL = "real"
Run = tuple[int, int]  # repeat, seed


@dataclass(frozen=True)
class View:
    """The predictions of an arm, or of one that was put together from others fold by fold.

    Attributes:
        name: for people.
        made_of: which arms it was put together from; empty for an arm of its own.
        probabilities: (runs, N, C); NaN for images that a run has not tested (yet).
        folds: (runs, N) where each was tested, by its number over all repeats; -1 where it was not.
    """

    name: str
    made_of: str
    probabilities: np.ndarray
    folds: np.ndarray

    def tested(self, run: int) -> np.ndarray:
        """(N,) bool: what a run has tested."""
        own: np.ndarray = self.folds[run] >= 0
        return own


@dataclass(frozen=True)
class Predicted:
    """All predictions of a benchmark.

    Attributes:
        classes: C names in label order.
        files: (N,) names of images.
        patients: (N,) whose they are; empty where no patients are known.
        targets: (N,) labels.
        arms: name -> run -> (N, C) probabilities, NaN where there are none.
        folds: name -> run -> (N,) where each was tested, -1 where it was not.
    """

    classes: list[str]
    files: list[str]
    patients: list[str]
    targets: np.ndarray
    arms: dict[str, dict[Run, np.ndarray]]
    folds: dict[str, dict[Run, np.ndarray]]

    def view(self, arm: str) -> View:
        """The predictions of an arm."""
        runs = sorted(self.arms[arm])
        probabilities, folds = ([own[arm][run] for run in runs] for own in (self.arms, self.folds))
        return View(arm, "", np.stack(probabilities), np.stack(folds))

    def chosen(self, name: str, arms: Sequence[str]) -> View | None:
        """The predictions of one arm in some folds and of another in others.

        Args:
            name: of the whole.
            arms: for each fold, by its number over all repeats, whose predictions count.

        Returns:
            None where predictions of one of them are missing.
        """
        if not set(arms) <= self.arms.keys():
            return None
        runs = sorted(set.intersection(*(set(self.arms[arm]) for arm in arms)))
        shape = (len(runs), len(self.files), len(self.classes))
        probabilities, folds = np.full(shape, np.nan), np.full(shape[:2], -1)
        for number, run in enumerate(runs):
            for fold, arm in enumerate(arms):
                here = self.folds[arm][run] == fold
                probabilities[number, here], folds[number, here] = self.arms[arm][run][here], fold
        return View(name, counted(arms), probabilities, folds) if runs else None


def read_predicted(path: Path, result: BenchmarkResult) -> Predicted | None:
    """Read what a benchmark wrote.

    Args:
        path: of the CSV file.
        result: of the same benchmark.

    Returns:
        None where there is no such file, or it is about other runs than the result, as when not all is finished.

    Raises:
        OutputError: the file is of another benchmark, or damaged.
    """
    if not path.is_file():
        return None
    labels = {name: label for label, name in enumerate(result.classes)}
    columns = [f"p_{name}" for name in result.classes]
    places: dict[str, int] = {}
    patients: list[str] = []
    targets: list[int] = []
    rows: dict[tuple[str, Run], list[tuple[int, int, list[float]]]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["file"] not in places:
                    places[row["file"]] = len(places)
                    patients.append(row["patient"])
                    targets.append(labels[row["target"]])
                fold = int(row["fold"])
                own = rows.setdefault((row["arm"], (fold // result.folds_a_repeat, int(row["seed"]))), [])
                own.append((places[row["file"]], fold, [float(row[name]) for name in columns]))
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise OutputError(
            f"{path} cannot be read beside this result ({type(error).__name__}: {error}); it is damaged, or of another "
            "benchmark: move it away"
        ) from error
    arms: dict[str, dict[Run, np.ndarray]] = {}
    folds: dict[str, dict[Run, np.ndarray]] = {}
    for (arm, run), said in rows.items():
        probabilities, where = np.full((len(places), len(columns)), np.nan), np.full(len(places), -1)
        at = [place for place, _, _ in said]
        probabilities[at], where[at] = [values for _, _, values in said], [fold for _, fold, _ in said]
        arms.setdefault(arm, {})[run], folds.setdefault(arm, {})[run] = probabilities, where
    told = {(arm, fold, run[1]) for (arm, run), said in rows.items() for _, fold, _ in said}
    if not told or told != {(run["arm"], run.get("fold", 0), run["seed"]) for run in result.runs}:
        return None
    return Predicted(list(result.classes), list(places), patients, np.array(targets), arms, folds)


def views_of(result: BenchmarkResult, predicted: Predicted) -> list[View]:
    """What is worth a closer look: both sides of the primary contrast, the one without synthetic images first.

    Then `real`, if it is not that already. Without a primary contrast, `real` and the first arm with synthetic images.
    """
    choice, views = result.choice, []
    if choice:
        sides = ((BASELINE, "baseline"), (AUGMENTED, "augmented"))
        views = [predicted.chosen(name, choice[side]) for name, side in sides]
    found = [view for view in views if view is not None]
    plain = choice is not None and set(choice["baseline"]) == {REAL}
    if REAL in predicted.arms and not (found and plain):
        found.append(predicted.view(REAL))
    if not choice:
        mixed = [arm for arm in predicted.arms if arm.startswith("combined")]
        found += [predicted.view(arm) for arm in mixed[:1]]
    return found


def contrast_of(result: BenchmarkResult, views: Sequence[View]) -> tuple[View, View] | None:
    """The side without synthetic images and the one with them; None where one of them is missing."""
    if result.choice and len(views) >= 2 and views[0].made_of and views[1].made_of:
        return views[0], views[1]
    named = {view.name: view for view in views}
    mixed = [view for view in views if view.name.startswith("combined")]
    return (named[REAL], mixed[0]) if not result.choice and REAL in named and mixed else None
