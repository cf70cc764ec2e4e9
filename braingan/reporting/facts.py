"""What the tables and the page both say of a result: its words and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from braingan.data.split import PARTS
from braingan.experiment.result import BenchmarkResult

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1", "accuracy": "accuracy"}

SPREAD = (
    "Scores are means ± standard deviations over seeds; whether a difference is more than chance is said by the "
    "intervals, which are over patients and seeds."
)
NO_VERDICT = (
    "No verdict: it takes an arm with synthetic images, one without and validation images; a difference about as large "
    "as the spread over seeds means nothing."
)
ONE_SPLIT = (
    "All seeds share one split: only its test patients count, and another split would give other numbers; "
    "--folds 5 tests every patient once."
)
ONE_SEED = "One seed shows no spread at all; --seeds 3 or more does."
ONE_GENERATOR = (
    "One generator serves all seeds, so that another training of it gives another one is in no interval; "
    "--generators 3 shows it."
)
GENERATOR_A_FOLD = (
    "Each fold has one generator, so what another training of it would change is in the intervals only as far as folds "
    "differ; --generators 3 shows it."
)
NO_DEVICE = "Research software, not a medical device."


def score_text(score: Mapping[str, float | None]) -> str:
    """Mean and standard deviation as a reader wants them.

    >>> score_text({"mean": 0.8121, "std": 0.0131}), score_text({"mean": 0.8, "std": None})
    ('0.812 ± 0.013', '0.800')
    """
    spread = "" if score["std"] is None else f" ± {score['std']:.3f}"
    return f"{score['mean']:.3f}{spread}"


def signed_text(score: Mapping[str, float | None]) -> str:
    """A difference, with its sign.

    >>> signed_text({"mean": 0.02, "std": 0.01}), signed_text({"mean": -0.02, "std": None})
    ('+0.020 ± 0.010', '-0.020')
    """
    return ("" if (score["mean"] or 0) < 0 else "+") + score_text(score)


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "seed"), plural(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def runs_of(result: BenchmarkResult, arm: str) -> list[dict[str, Any]]:
    """The runs of one arm, in the order in which they ran."""
    return [run for run in result.runs if run["arm"] == arm]


def images_text(result: BenchmarkResult, arm: str, key: str) -> str:
    """How many training images an arm had: one number, or from-to where runs differ."""
    counts = sorted({int(run[key]) for run in runs_of(result, arm)})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]}-{counts[-1]}"


def class_f1(result: BenchmarkResult, arm: str) -> dict[str, list[float]]:
    """F1 of each class over the images of all folds, one value for each repeat and seed."""
    own = [entry for entry in result.scores if entry["arm"] == arm]
    return {name: [entry["per_class"][name]["f1"] for entry in own] for name in result.classes}


def class_f1_text(result: BenchmarkResult, arm: str) -> list[str]:
    """F1 of each class, the mean over runs."""
    return [f"{np.mean(values):.3f}" for values in class_f1(result, arm).values()]


def difference(result: BenchmarkResult) -> dict[str, float | None] | None:
    """Macro F1 of `combined` minus `real`, each run against the one of the same seed; None where an arm is missing."""
    f1 = {(own["arm"], own["repeat"], own["seed"]): own["macro"]["f1"] for own in result.scores}
    pairs = [(value, f1.get(("real", *at))) for (arm, *at), value in f1.items() if arm == "combined"]
    gains = [combined - real for combined, real in pairs if real is not None]
    if not gains:
        return None
    return {"mean": float(np.mean(gains)), "std": float(np.std(gains, ddof=1)) if len(gains) > 1 else None}


def seeds(result: BenchmarkResult) -> int:
    """How many seeds ran."""
    return len({run["seed"] for run in result.runs})


def caveats(result: BenchmarkResult) -> list[str]:
    """How far the numbers can be believed: what every reader must be told, whatever the result."""
    said = [SPREAD if result.primary else NO_VERDICT]
    if seeds(result) == 1:
        said.append(ONE_SEED)
    elif result.folds == 1:
        said.append(ONE_SPLIT)
    trained = {(own["fold"], own["seed"]) for own in result.generators}
    if trained and len(trained) == result.folds:
        said.append(ONE_GENERATOR if result.folds == 1 else GENERATOR_A_FOLD)
    return said


def verdict_line(result: BenchmarkResult) -> str:
    """The verdict in a few words; nothing where there is none."""
    primary = result.primary
    if primary is None:
        return ""
    points = [f"{100 * primary[key]:+.1f}" for key in ("difference", "low", "high")]
    return (
        f"Verdict: {primary['verdict']}. {primary['arm']} against {primary['baseline']}: macro F1 {points[0]} points "
        f"(95 % interval {points[1]} to {points[2]}), p {primary['p_holm']:.2g}. Recommended ratio: "
        f"{result.recommended_ratio:g}."
    )


def tested_files(result: BenchmarkResult) -> list[dict[str, Any]]:
    """The images that scores come from, of all folds."""
    files, folds = result.splits["files"], result.splits["folds"]
    return [files[place] for place in dict.fromkeys(place for fold in folds for place in fold["test"])]


def chosen_text(result: BenchmarkResult) -> list[str]:
    """What was chosen on validation patients, a line a contrast side."""
    if result.choice is None:
        return []
    sides = (("with synthetic images", "augmented"), ("best without", "baseline"))
    return [f"{name} (chosen on validation patients in each fold): {', '.join(result.choice[side])}"
            for name, side in sides]  # fmt: skip


def ratios(result: BenchmarkResult) -> str:
    """The ratios that were tried; a result of an earlier version has one."""
    given = result.settings["ratio"]
    return ", ".join(f"{ratio:g}" for ratio in (given if isinstance(given, list) else [given]))


def groups_in(files: Iterable[Mapping[str, Any]]) -> int:
    """How many patients (or files, where no patients are known) some images come from."""
    return len({file["group"] for file in files})


_TOGETHER = {"twins": " with twins kept together"}


def leaks(result: BenchmarkResult) -> list[str]:
    """What was allowed although it leaks, each as a line that cannot be overlooked."""
    return [f"LEAKAGE ALLOWED, these scores are no evidence: {line}" for line in result.leakage]


def test_images(result: BenchmarkResult) -> str:
    """What the scores come from, and what the split kept together."""
    files, kind = tested_files(result), result.splits["grouped_by"]
    images = plural(len(files), "test image")
    if result.settings.get("test"):
        images += f" from {result.settings['test']}"
    folds = f" in {result.folds} folds" if result.folds > 1 else ""
    if kind != "patient":
        return f"{images}, split by file{_TOGETHER.get(kind, '')}{folds} (no patients known)"
    return f"{images} of {plural(groups_in(files), 'patient')}, split by patient{folds}"


def description(result: BenchmarkResult) -> str:
    """In one line: what was measured, with what, on what."""
    settings = result.settings
    return "; ".join(
        [
            f"{settings['data']}",
            f"{settings['backend']} generator at {settings['size']} px, ratio {ratios(result)}"
            + (f", share {settings['share']:g}" if settings.get("share") is not None else ""),
            f"{settings['model']} classifier",
            plural(seeds(result), "seed"),
            test_images(result),
        ]
    )


def split_rows(result: BenchmarkResult) -> list[tuple[str, list[tuple[int, int]]]]:
    """For each class, and for all together: (images, groups) of each part of the split."""
    rows, split = [], result.split
    for name in (*result.classes, None):
        chosen = [[file for file in split[part] if name in (None, file["label"])] for part in PARTS]
        rows.append((name or "all", [(len(files), groups_in(files)) for files in chosen]))
    return rows


def darkest(result: BenchmarkResult) -> str:
    """How many of the pixels are in the darkest bin of the histograms."""
    return " and ".join(f"{shares[0]:.0%} of {name} pixels" for name, shares in result.intensity.items() if shares)
