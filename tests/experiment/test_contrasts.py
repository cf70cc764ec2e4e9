"""What is compared, what is chosen and by which images, and that the verdict is that of the predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import braingan
from braingan.data.folds import Fold, Folds
from braingan.data.split import Split, SplitFile
from braingan.evaluation.comparison import compare
from braingan.evaluation.verdict import holm, judge
from braingan.experiment.analysis import analyse
from braingan.experiment.arms import arms_named
from braingan.experiment.contrasts import (
    IN_WORDS,
    ONE_TRAINING,
    Choice,
    choose,
    compare_arms,
    no_verdict,
    recommended_ratio,
)
from braingan.experiment.pooling import Pooled, ScoredImages
from braingan.experiment.result import AUGMENTED, BASELINE
from braingan.experiment.settings import PRESETS, BenchmarkSettings

Options = dict[str, Any]
Table = dict[tuple[str, int, int, str], dict[str, str]]

# --- hand-made predictions ----------------------------------------------------------------------------------------

PATIENTS, IMAGES = 16, 4  # of each patient, of each class as many
TARGETS = np.tile([0, 1], PATIENTS * IMAGES // 2)
VALIDATION = {fold: np.tile([0, 1], 10) for fold in range(2)}
TESTED = ScoredImages(
    files=[f"{number}.png" for number in range(len(TARGETS))],
    targets=TARGETS,
    patients=[f"P{number // IMAGES}" for number in range(len(TARGETS))],
    folds=(np.arange(len(TARGETS)) // (len(TARGETS) // 2))[None],
    rows=(np.arange(len(TARGETS)) % (len(TARGETS) // 2))[None],
)
LABELS = {"real": ("real", 0.0), "real+classic": ("real+classic", 0.0), "combined@0.5": ("combined", 0.5),
          "combined@1": ("combined", 1.0), "combined@2": ("combined", 2.0),
          "combined+classic@1": ("combined+classic", 1.0)}  # fmt: skip
SEEDS = 3
CLASSES = ["no_tumor", "tumor"]


def said(targets: np.ndarray, right: float, seed: int) -> np.ndarray:
    """Probabilities (N, 2), of which a share is right."""
    random = np.random.default_rng(seed)
    correct = random.permutation(len(targets)) < round(right * len(targets))
    sure = random.uniform(0.6, 0.9, len(targets))
    positive = np.where(correct == (targets == 1), sure, 1 - sure)
    return np.stack([1 - positive, positive], axis=1)


def arm(test: float, validation: tuple[float, float], seed: int = 0) -> Pooled:
    """How often an arm is right on test images, and on the validation images of two folds."""
    return Pooled(
        np.array([said(TARGETS, test, 10 * seed + run) for run in range(SEEDS)]),
        [(0, run) for run in range(SEEDS)],
        np.repeat(TESTED.folds, SEEDS, axis=0),
        {fold: np.array([said(VALIDATION[fold], right, 10 * seed + run) for run in range(SEEDS)])
         for fold, right in enumerate(validation)},
    )  # fmt: skip


def labels_of(pooled: dict[str, Pooled]) -> dict[str, tuple[str, float]]:
    return {label: LABELS[label] for label in pooled}


def chosen_of(pooled: dict[str, Pooled], targets: dict[int, np.ndarray] | None = None) -> Choice:
    labels = labels_of(pooled)
    choice = choose(labels, arms_named(sorted({name for name, _ in labels.values()})), pooled, targets or VALIDATION)
    assert choice is not None
    return choice


def test_of_equally_good_ratios_the_smallest_is_taken_whatever_their_order() -> None:
    pooled = {"real": arm(0.5, (0.5, 0.5), 1), "combined@2": arm(0.9, (0.9, 0.9), 2),
              "combined@0.5": arm(0.9, (0.9, 0.9), 2)}  # fmt: skip
    choice = chosen_of(pooled)
    assert choice.augmented == ["combined@0.5"] * 2
    comparisons, _ = compare_arms(labels_of(pooled), pooled, TESTED, choice, margin=0.02)
    assert comparisons[0]["verdict"] == "helps"
    assert recommended_ratio(labels_of(pooled), choice, comparisons) == 0.5


# The better on validation images, the worse on test images.
MISLEADING = {
    "real": arm(0.9, (0.6, 0.9), 1),
    "real+classic": arm(0.7, (0.9, 0.6), 2),
    "combined@0.5": arm(0.9, (0.6, 0.7), 3),
    "combined@1": arm(0.8, (0.7, 0.8), 4),
    "combined@2": arm(0.6, (0.9, 0.6), 5),
}


def test_what_is_best_on_validation_images_is_chosen_though_it_is_worst_on_test_images() -> None:
    choice = chosen_of(MISLEADING)
    assert choice.baseline == ["real+classic", "real"]
    assert choice.augmented == ["combined@2", "combined@1"]
    assert choice.arm == "combined"
    comparisons, failed = compare_arms(labels_of(MISLEADING), MISLEADING, TESTED, choice, margin=0.02)
    assert failed == []
    first = np.arange(len(TARGETS)) < len(TARGETS) // 2
    by_hand = [np.where(first[:, None], MISLEADING[one].probabilities, MISLEADING[other].probabilities)
               for one, other in (choice.baseline, choice.augmented)]  # fmt: skip
    expected = compare(TARGETS, by_hand[0], by_hand[1], TESTED.patients)
    assert comparisons[0]["difference"] == expected.difference
    best = max((arms.probabilities.argmax(axis=2) == TARGETS).mean() for arms in MISLEADING.values())
    assert expected.value_b < best  # a choice by test images would have looked better


def test_the_choice_does_not_know_the_test_images() -> None:
    blind = {label: Pooled(np.empty((0, 0, 2)), [], np.empty((0, 0), int), own.validation)
             for label, own in MISLEADING.items()}  # fmt: skip
    assert chosen_of(blind) == chosen_of(MISLEADING)
    swapped = {fold: 1 - targets for fold, targets in VALIDATION.items()}
    assert chosen_of(MISLEADING, swapped).baseline == ["real", "real+classic"]  # it is by these labels


def test_what_the_images_do_is_told_apart_from_what_augmentation_does() -> None:
    real, worse = arm(0.9, (0.9, 0.9), 1), arm(0.7, (0.6, 0.6), 2)  # strong augmentation does harm
    pooled = {"real": real, "real+classic": worse, "combined+classic@1": arm(0.75, (0.7, 0.7), 3)}
    choice = chosen_of(pooled)
    primary, alone, *others = compare_arms(labels_of(pooled), pooled, TESTED, choice, margin=0.02)[0]
    assert (primary["arm"], primary["baseline"], choice.baseline) == (AUGMENTED, BASELINE, ["real", "real"])
    assert (alone["arm"], alone["baseline"], alone["family"]) == (AUGMENTED, "real+classic", "exploratory")
    assert (alone["verdict"], alone["p_holm"]) == ("exploratory", None)
    by_hand = compare(TARGETS, worse.probabilities, pooled["combined+classic@1"].probabilities, TESTED.patients)
    assert alone["difference"] == by_hand.difference > 0 > primary["difference"]
    assert [own["baseline"] for own in others] == [BASELINE, BASELINE, "real", "real"]


@pytest.mark.parametrize(
    ("best", "arms"),
    [
        ("real+classic", ["real", "real+classic", "combined+classic@1"]),  # the primary contrast is just that
        ("real", ["real", "combined+classic@1"]),  # there is nothing to compare with
        ("real", ["real", "real+classic", "combined@1"]),  # the declared family has it
    ],
)
def test_it_is_not_told_twice_nor_made_up(best: str, arms: list[str]) -> None:
    pooled = {label: arm(0.8, (0.9, 0.9) if label == best else (0.6, 0.6), seed) for seed, label in enumerate(arms)}
    found, _ = compare_arms(labels_of(pooled), pooled, TESTED, chosen_of(pooled), margin=0.02)
    assert [own["baseline"] for own in found if own["arm"] == AUGMENTED] == [BASELINE] * 3


def test_of_equally_good_arms_the_first_is_chosen() -> None:
    same = arm(0.8, (0.8, 0.8))
    choice = chosen_of({"real": same, "real+classic": same, "combined@1": same, "combined@2": same})
    assert (choice.baseline, choice.augmented) == (["real"] * 2, ["combined@1"] * 2)
    assert chosen_of({"real+classic": same, "real": same, "combined@1": same}).baseline == ["real"] * 2


def test_the_strongly_augmented_arm_is_that_of_the_primary_contrast_where_it_was_run() -> None:
    labels = {"combined": ("combined", 1.0), "combined+classic": ("combined+classic", 1.0), "real": ("real", 0.0)}
    pooled = {"combined": arm(0.9, (0.9, 0.9)), "combined+classic": arm(0.7, (0.7, 0.7)), "real": arm(0.8, (0.8, 0.8))}
    choice = choose(labels, arms_named(list(pooled)), pooled, VALIDATION)
    assert choice is not None
    assert choice.augmented == ["combined+classic"] * 2  # declared before, not the one that is better


def test_an_arm_of_ones_own_does_not_take_the_place_of_the_declared_one_by_standing_first() -> None:
    labels = {"mine": ("mine", 1.0), "combined": ("combined", 1.0), "real": ("real", 0.0)}
    arms = arms_named(["combined", "real"])
    pooled = {name: arm(0.8, (0.8, 0.8)) for name in labels}
    choice = choose(labels, {"mine": arms["combined"]} | arms, pooled, VALIDATION)
    assert choice is not None
    assert choice.arm == "combined"


def test_a_verdict_from_a_single_generator_says_so() -> None:
    pooled = {"real": arm(0.5, (0.5, 0.5), 1), "real+classic": arm(0.9, (0.1, 0.1), 3), "combined@1": arm(1, (1, 1), 2)}
    labels = labels_of(pooled)
    for alone in (True, False):
        found, _ = compare_arms(labels, pooled, TESTED, chosen_of(pooled), margin=0.02, one_generator=alone)
        told = {own["arm"]: ONE_TRAINING in own["reason"] for own in found if own["verdict"] == "helps"}
        assert told == {AUGMENTED: alone, "real+classic": False, "combined@1": alone}


@pytest.mark.parametrize(("folds", "generators", "alone"), [(1, 1, True), (1, 3, False), (2, 1, False)])
def test_a_benchmark_knows_whether_it_has_a_single_generator(folds: int, generators: int, alone: bool) -> None:
    shown = zip(TESTED.files, TARGETS.tolist(), TESTED.patients, strict=True)
    files = [SplitFile(file, "0", CLASSES[target], patient) for file, target, patient in shown]
    val = tuple(
        SplitFile(f"v{place}.png", "0", CLASSES[target], f"V{place}") for place, target in enumerate([0, 1] * 5)
    )
    each = len(files) // folds
    splits = Folds(tuple(Fold(Split((), val, tuple(files[each * fold : each * (fold + 1)]), "patient"))
                         for fold in range(folds)))  # fmt: skip
    cells = {
        (label, fold, seed): {"macro": {"f1": right}, "predictions": {
            "test": said(TARGETS[:each], right, 10 * fold + seed).tolist(),
            "val": said(np.array([0, 1] * 5), right, seed).tolist(),
        }}
        for label, right in (("real", 0.5), ("combined", 1.0)) for fold in range(folds) for seed in range(SEEDS)
    }  # fmt: skip
    settings = BenchmarkSettings(arms=("real", "combined"), folds=folds, generators=generators, seeds=SEEDS)
    labels = {"real": ("real", 0.0), "combined": ("combined", 1.0)}
    found, _ = analyse(splits, CLASSES, settings, cells, labels, repeats=1)
    assert found["comparisons"][0]["verdict"] == "helps"
    assert (ONE_TRAINING in found["comparisons"][0]["reason"]) == alone


@pytest.mark.parametrize("names", [["real"], ["combined@1"], ["real", "real+classic"]])
def test_without_two_sides_there_is_no_primary_contrast(names: list[str]) -> None:
    labels, pooled = {name: LABELS[name] for name in names}, {name: MISLEADING[name] for name in names}
    arms = arms_named([name for name, _ in labels.values()])
    assert choose(labels, arms, pooled, VALIDATION) is None
    comparisons, _ = compare_arms(labels, pooled, TESTED, None, margin=0.02)
    assert not any(own["primary"] for own in comparisons)
    assert recommended_ratio(labels, None, comparisons) is None


def test_without_validation_images_nothing_is_chosen() -> None:
    assert choose(labels_of(MISLEADING), arms_named(["real", "real+classic", "combined"]), MISLEADING,
                  VALIDATION | {1: np.array([], int)}) is None  # fmt: skip


@pytest.mark.parametrize(
    ("level", "verdict", "ratio"),
    [(0.97, "helps", 2.0), (0.40, "hurts", 0.0), (0.69, "under-powered", 0.0)],
)
def test_the_recommended_ratio_is_the_best_on_validation_images_where_synthetic_images_help_and_else_none(
    level: float, verdict: str, ratio: float
) -> None:
    pooled = {"real": arm(0.7, (0.7, 0.7), 1), "combined@0.5": arm(level, (0.6, 0.95), 2),
              "combined@2": arm(level, (0.8, 0.9), 3)}  # fmt: skip
    labels, choice = labels_of(pooled), chosen_of(pooled)
    comparisons, _ = compare_arms(labels, pooled, TESTED, choice, margin=0.02)
    assert comparisons[0]["verdict"] == verdict
    assert recommended_ratio(labels, choice, comparisons) == ratio


def test_a_ratio_that_the_verdict_is_not_about_is_not_recommended() -> None:
    """1 is the best on average, and in no fold the best."""
    pooled = {"real": arm(0.7, (0.7, 0.7), 1), "combined@0.5": arm(0.97, (0.6, 0.95), 2),
              "combined@1": arm(0.97, (0.85, 0.9), 4), "combined@2": arm(0.97, (0.9, 0.8), 3)}  # fmt: skip
    labels, choice = labels_of(pooled), chosen_of(pooled)
    assert choice.augmented == ["combined@2", "combined@0.5"]
    comparisons, _ = compare_arms(labels, pooled, TESTED, choice, margin=0.02)
    assert recommended_ratio(labels, choice, comparisons) == 2


def test_fewer_than_three_runs_are_never_called_helping() -> None:
    pooled = {"real": arm(0.5, (0.5, 0.5), 1), "combined@1": arm(1.0, (1.0, 1.0), 2)}
    two = {label: Pooled(own.probabilities[:2], own.runs[:2], own.folds[:2], own.validation)
           for label, own in pooled.items()}  # fmt: skip
    labels = labels_of(pooled)
    verdicts = [compare_arms(labels, given, TESTED, chosen_of(given), margin=0.02)[0][0]["verdict"]
                for given in (pooled, two)]  # fmt: skip
    assert verdicts == ["helps", "under-powered"]


def test_a_class_of_a_single_patient_is_told_and_nothing_is_made_up() -> None:
    targets = (np.arange(len(TARGETS)) < 2).astype(int)  # one patient is positive
    tested = ScoredImages(TESTED.files, targets, TESTED.patients, TESTED.folds, TESTED.rows)
    pooled = {label: MISLEADING[label] for label in ("real", "combined@1")}
    labels = labels_of(pooled)
    comparisons, failed = compare_arms(labels, pooled, tested, chosen_of(pooled), margin=0.02)
    assert not any(own["metric"] == "macro_f1" for own in comparisons)
    assert any("macro_f1" in line and "1 patient has images of class 1" in line for line in failed)


DESIGNS = {
    "no arm of real, synthetic is real and synthetic images together": {"arms": ("real", "synthetic")},
    "no arm of combined is real images alone": {"arms": ("combined",)},
    "it takes 3 training runs, and there will be 2; --seeds 3 or more would do": {"seeds": 2},
    "will be 2; --seeds 3 or more with --generators 1, or with 3 or more, would do": {"seeds": 4, "generators": 2},
}


@pytest.mark.parametrize("reason", DESIGNS)
def test_a_design_that_can_say_neither_helps_nor_hurts_is_known_as_such(reason: str) -> None:
    assert reason in no_verdict(BenchmarkSettings(**DESIGNS[reason]))[0]


@pytest.mark.parametrize("own", [*PRESETS.values(), {"seeds": 2, "folds": 2, "repeats": 2, "generators": 2}])
def test_a_design_that_can_have_a_verdict_is_not_warned_of(own: Options) -> None:
    assert no_verdict(BenchmarkSettings(**own)) == []


# --- a benchmark ---------------------------------------------------------------------------------------------------


def table_of(study: Any) -> Table:
    return {(row["arm"], int(row["run"]), int(row["seed"]), row["file"]): row for row in study.rows()}


def arrays_of(
    study: Any, pick: Callable[[dict[str, str]], str]
) -> tuple[np.ndarray, list[str], np.ndarray, np.ndarray]:
    """Targets, patients, probabilities (runs, N, C) and folds (runs, N), from the file of predictions alone.

    Args:
        study: the benchmark.
        pick: which arm's predictions count, from a row of the same image, repeat and seed.
    """
    table, classes = table_of(study), study.result.classes
    files = sorted({file for *_, file in table})
    some = [table["real", 0, 0, file] for file in files]
    targets = np.array([classes.index(row["target"]) for row in some])
    probabilities, folds = [], []
    for run in (0, 1):
        for seed in (0, 1):
            rows = [table[pick(table["real", run, seed, file]), run, seed, file] for file in files]
            probabilities.append([[float(row[f"p_{name}"]) for name in classes] for row in rows])
            folds.append([int(row["fold"]) for row in rows])
    return targets, [row["patient"] for row in some], np.array(probabilities), np.array(folds)


def assert_found(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """All that a comparison or a judgement says."""
    for name, value in expected.items():
        assert found[name] == (pytest.approx(value) if isinstance(value, float) else value), name


def test_choices_are_those_of_the_validation_predictions_of_each_fold(study: Any) -> None:
    result, folds = study.result, study.result.splits["folds"]
    label_at = {place: result.classes.index(file["label"]) for place, file in enumerate(result.splits["files"])}
    cells = study.cells()
    ratio = {"combined+classic@0.5": "combined+classic-ratio0.5", "combined+classic@1": "combined+classic-ratio1"}
    for fold, own in enumerate(folds):
        targets = np.array([label_at[place] for place in own["val"]])
        scores = {}
        for label in ("real", "real+classic", *ratio):
            said = [cells[f"{ratio.get(label, label)}-fold{fold}-seed{seed}"]["predictions"]["val"] for seed in (0, 1)]
            scores[label] = np.mean([macro_f1(targets, np.array(rows).argmax(axis=1)) for rows in said])
            assert result.choice["scores"][label][fold] == pytest.approx(scores[label])
        assert result.choice["baseline"][fold] == max(("real", "real+classic"), key=lambda name, of=scores: of[name])
        assert result.choice["augmented"][fold] == max(ratio, key=lambda name, of=scores: of[name])
    assert len(result.choice["baseline"]) == len(folds) == 4


def macro_f1(targets: np.ndarray, said: np.ndarray) -> float:
    values = []
    for label in (0, 1):
        true = ((targets == label) & (said == label)).sum()
        values.append(2 * true / max(1, (targets == label).sum() + (said == label).sum()))
    return float(np.mean(values))


def test_the_primary_verdict_is_that_of_comparing_the_written_predictions_by_hand(study: Any) -> None:
    choice, (primary, *others) = study.result.choice, study.result.comparisons
    targets, patients, a, folds = arrays_of(study, lambda row: choice["baseline"][int(row["fold"])])
    *_, b, _ = arrays_of(study, lambda row: choice["augmented"][int(row["fold"])])
    by_hand = compare(targets, a, b, patients)
    judged = judge(by_hand, names=(IN_WORDS[BASELINE], IN_WORDS[AUGMENTED]))
    assert (primary["arm"], primary["baseline"], primary["family"], primary["primary"]) == (
        AUGMENTED, BASELINE, "primary", True,
    )  # fmt: skip
    assert_found(primary, {**by_hand.to_json(), **judged.to_json()})
    assert primary["patients"] == 10
    assert primary["runs"] == [4, 4]
    assert study.result.primary == primary
    assert not any(own["primary"] for own in others)
    explored = {own["metric"]: own for own in others if own["family"] == "exploratory" and own["arm"] == AUGMENTED}
    for metric in ("auroc", "balanced_accuracy"):
        assert_found(explored[metric], compare(targets, a, b, patients, metric=metric, folds=folds).to_json())
        assert (explored[metric]["verdict"], explored[metric]["p_holm"]) == ("exploratory", None)


def test_the_declared_family_is_every_arm_against_real_and_corrected_for_their_number(study: Any) -> None:
    declared = [own for own in study.result.comparisons if own["family"] == "declared"]
    assert [own["arm"] for own in declared] == [arm for arm in study.result.arms if arm != "real"]
    assert {own["baseline"] for own in declared} == {"real"}
    targets, patients, real, _ = arrays_of(study, lambda _: "real")
    found = []
    for own in declared:
        *_, probabilities, _ = arrays_of(study, lambda _, name=own["arm"]: name)
        found.append(compare(targets, real, probabilities, patients))
    corrected = holm([comparison.p_value for comparison in found])
    for own, comparison, p_value in zip(declared, found, corrected, strict=True):
        judged = judge(comparison, p_corrected=p_value, comparisons=len(declared), names=("real", own["arm"]))
        assert_found(own, {**comparison.to_json(), **judged.to_json()})


def test_labels_of_test_images_change_verdicts_and_never_a_choice(
    data: Path, tmp_path: Path, single: Options, write_data: Callable[..., Path]
) -> None:
    test = write_data("elsewhere", patients=5, seed=9)
    for label, folder in (("no_tumor", "first"), ("tumor", "second")):  # folders that are not named like a class
        (test / label).rename(test / folder)
    text = (test / "metadata.csv").read_text().replace("\nno_tumor/", "\nfirst/").replace("\ntumor/", "\nsecond/")
    (test / "metadata.csv").write_text(text)
    turned = tmp_path / "turned" / "elsewhere"
    shutil.copytree(test, turned)
    for before, after in ((",tumor,", ",x,"), (",no_tumor,", ",tumor,"), (",x,", ",no_tumor,")):
        text = text.replace(before, after)
    (turned / "metadata.csv").write_text(text)
    options = single | {"arms": ["real", "real+classic", "combined"], "ratio": [0.5, 1], "classifier_steps": 5}
    results = [braingan.benchmark(data, tmp_path / f"out{number}", **options, test=folder)
               for number, folder in enumerate((test, turned))]  # fmt: skip
    assert results[0].choice is not None
    assert results[0].choice == results[1].choice
    values = [{own["arm"]: own["value_b"] for own in result.comparisons if own["metric"] == "balanced_accuracy"}
              for result in results]  # fmt: skip
    assert values[0].keys() == values[1].keys() == {AUGMENTED}
    assert values[0][AUGMENTED] == pytest.approx(1 - values[1][AUGMENTED])
