"""Predictions of all arms -> scores, choices, comparisons, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from braingan.data.folds import Folds
from braingan.data.split import SplitFile
from braingan.errors import DataError
from braingan.evaluation.patients import per_patient
from braingan.evaluation.positive import positive_label
from braingan.evaluation.scores import SPECIFICITIES, measures
from braingan.evaluation.thresholds import threshold_for_f1, threshold_for_specificity
from braingan.evaluation.variance import split_variance
from braingan.experiment.contrasts import Choice, choose, compare_arms, recommended_ratio
from braingan.experiment.curve import PATIENTS, learning_curve
from braingan.experiment.pooling import Cells, Pooled, ScoredImages, batch_of, chosen, pool, scored_images
from braingan.experiment.result import summarise
from braingan.experiment.settings import BenchmarkSettings
from braingan.experiment.subgroups import compare_subgroups

WITH_THRESHOLD = ("per_class", "macro", "accuracy", "balanced_accuracy", "confusion")  # what a threshold changes
Json = dict[str, Any]
Labels = Mapping[str, tuple[str, float]]  # how results call an arm -> its name and ratio


def analyse(
    splits: Folds,
    classes: Sequence[str],
    settings: BenchmarkSettings,
    cells: Cells,
    labels: Labels,
    *,
    repeats: int,
    unit: str = "patient",
    external: Sequence[SplitFile] = (),
    external_unit: str = "patient",
    columns: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[Json, list[str]]:
    """What follows from the predictions.

    Args:
        splits: the folds that count, of all repeats.
        classes: names in label order.
        settings: of the benchmark.
        cells: finished ones: (label, fold, seed) -> what their files say.
        labels: label -> arm and ratio.
        repeats: how many the folds are of.
        unit: what the groups of the tested images are, in words.
        external: another site's images.
        external_unit: what their groups are: "patient" or "file".
        columns: column of the metadata -> file -> text, for subgroups.

    Returns:
        Fields of a `BenchmarkResult`, and why some comparisons could not be made.
    """
    arms = settings.registered_arms()
    tested = scored_images(splits, classes, repeats)
    drawn = {label: settings.generators_of(arm) for label, (arm, _) in labels.items()}
    pooled = {label: pool(label, cells, tested, range(settings.seeds), drawn[label]) for label in labels}
    targets = {number: _targets(fold.split.val, classes) for number, fold in enumerate(splits.folds)}
    declared = {label: own for label, own in labels.items() if not label.endswith(PATIENTS)}
    choice = choose(declared, arms, pooled, targets)
    positive = positive_label(classes, settings.positive)
    comparisons, failed = compare_arms(
        declared, pooled, tested, choice, margin=settings.margin, unit=unit,
        one_generator=len(splits) == settings.generators == 1,
    )  # fmt: skip
    scores = [
        {"arm": label, "repeat": repeat, "seed": seed} | _scored(tested, own, run, classes, targets, positive)
        for label, own in pooled.items()
        for run, (repeat, seed) in enumerate(own.runs)
    ]
    summary = summarise(scores)
    found = {
        "scores": scores,
        "summary": summary,
        "choice": choice.to_json() if choice else None,
        "comparisons": comparisons,
        "recommended_ratio": recommended_ratio(declared, choice, comparisons),
        "variance": _variance(cells, labels, settings, len(splits)),
        "curve": learning_curve(
            settings.curve_arm or "",
            settings.curve,
            summary,
            splits,
            next((own for own in comparisons if own["primary"]), None),
        ),
        "subgroups": compare_subgroups(tested, pooled, choice, classes, columns or {}),
    }
    if external:
        found["external"], more = _external(
            external, classes, cells, declared, choice, settings, len(splits), external_unit
        )
        failed += more
    named = ", ".join(f"{label} is {name}" for label, name in enumerate(classes))  # statistics know labels only
    return found, [f"{line} (Of the classes, {named}.)" for line in failed]


def _targets(files: Sequence[SplitFile], classes: Sequence[str]) -> np.ndarray:
    return np.array([classes.index(file.label) for file in files], dtype=np.int64)


def _scored(
    tested: ScoredImages,
    own: Pooled,
    run: int,
    classes: Sequence[str],
    targets: Mapping[int, np.ndarray],
    positive: int,
) -> Json:
    """All measures of a run: of images, of patients, and with thresholds that were chosen on validation images."""
    probabilities, folds = own.probabilities[run], own.folds[run]
    found = measures(tested.targets, probabilities, classes, folds=folds, positive=positive)
    found["patients"] = per_patient(
        tested.targets, probabilities, tested.patients, classes, folds=folds, positive=positive
    )
    found |= {"at_threshold": None, "at_specificity": None}
    if len(classes) != 2:
        return found

    def with_thresholds(choose_one: Callable[[np.ndarray, np.ndarray], float]) -> tuple[Json, Json]:
        chosen_ones = _thresholds(own, run, targets, choose_one)
        each = np.array([chosen_ones[fold] for fold in folds.tolist()])
        used = {str(fold): value for fold, value in chosen_ones.items() if fold in folds}
        said = measures(tested.targets, probabilities, classes, folds=folds, threshold=each, positive=positive)
        return {"thresholds": used}, said

    with suppress(DataError):  # a class that validation lacks
        used, said = with_thresholds(partial(threshold_for_f1, positive=positive))
        found["at_threshold"] = used | {name: said[name] for name in WITH_THRESHOLD}
        found["at_specificity"] = {}
        for least in SPECIFICITIES:
            used, said = with_thresholds(
                partial(threshold_for_specificity, specificity=float(least), positive=positive)
            )
            recalls = [said["per_class"][name]["recall"] for name in classes]
            reached = {"sensitivity": recalls[positive], "specificity": recalls[1 - positive]}
            found["at_specificity"][least] = used | reached
    return found


def _thresholds(
    own: Pooled, run: int, targets: Mapping[int, np.ndarray], choose_one: Callable[[np.ndarray, np.ndarray], float]
) -> dict[int, float]:
    """What is chosen for each fold's classifier on its validation images.

    Raises:
        DataError: a class that validation lacks.
    """
    seeds = [seed for repeat, seed in own.runs if repeat == own.runs[0][0]]
    place = seeds.index(own.runs[run][1])
    return {fold: choose_one(targets[fold], said[place]) for fold, said in own.validation.items()}


def _variance(cells: Cells, labels: Labels, settings: BenchmarkSettings, folds: int) -> Json:
    """Where the macro-F1 of each arm's single classifiers differs."""
    found = {}
    for label, (arm, _) in labels.items():
        f1 = np.array([[cells[label, fold, seed]["macro"]["f1"] for seed in range(settings.seeds)]
                       for fold in range(folds)])  # fmt: skip
        generators = settings.generators_of(arm)
        each = settings.seeds // generators  # seeds take generators in turn; what is left over would unbalance them
        f1 = f1[:, : each * generators].reshape(folds, each, generators).transpose(0, 2, 1)
        found[label] = split_variance(f1).to_json()
    return found


def _external(
    files: Sequence[SplitFile], classes: Sequence[str], cells: Cells, labels: Labels, choice: Choice | None,
    settings: BenchmarkSettings, folds: int, unit: str,
) -> tuple[Json, list[str]]:  # fmt: skip
    """Scores on another site's images: every classifier of every fold is a run, and those of a fold are a batch.

    With a single fold, classifiers that share a generator are one.
    """
    runs = [(fold, seed) for fold in range(folds) for seed in range(settings.seeds)]
    tested = ScoredImages(
        files=[file.file for file in files],
        targets=_targets(files, classes),
        patients=[file.group for file in files],
        folds=np.zeros((1, len(files)), int),
        rows=np.arange(len(files))[None],
    )
    pooled = {
        label: Pooled(
            np.array([cells[label, fold, seed]["predictions"]["external"] for fold, seed in runs]),
            runs,
            np.array([np.full(len(files), fold) for fold, _ in runs]),
            batches=[(fold, 0 if folds > 1 else batch_of(seed, settings.generators_of(arm))) for fold, seed in runs],
        )
        for label, (arm, _) in labels.items()
    }
    positive = positive_label(classes, settings.positive)
    scores = [
        {"arm": label, "fold": fold, "seed": seed}
        | measures(tested.targets, pooled[label].probabilities[run], classes, positive=positive)
        for label in labels
        for run, (fold, seed) in enumerate(runs)
    ]
    both = (chosen(pooled, choice.baseline), chosen(pooled, choice.augmented)) if choice else None
    comparisons, failed = compare_arms(
        labels, pooled, tested, None, margin=settings.margin, pair=both, declared=False, unit=unit
    )
    found = {
        "images": len(files),
        "patients": len(set(tested.patients)),
        "unit": unit,
        "summary": summarise(scores),
        "comparisons": comparisons,
    }
    return found, [f"External images: {line}" for line in failed]
