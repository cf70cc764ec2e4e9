"""What the tables and the page both say of a result: its words and its numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from braingan.data.split import PARTS
from braingan.experiment.result import BenchmarkResult

MEASURES = {"precision": "precision", "recall": "recall", "f1": "F1", "accuracy": "accuracy"}

NO_TEST = (
    "This version reports scores and their spread over seeds (mean ± standard deviation), no significance test: "
    "a difference about as large as the spread means nothing."
)
ONE_SPLIT = (
    "All seeds share one split, so the spread shows what training varies; "
    "what other patients would change is not in it."
)
ONE_SEED = "One seed shows no spread at all; --seeds 3 or more does."
ONE_GENERATOR = "One given generator serves every seed, so what its training varies is not in the spread either."
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
    """F1 of each class, one value a run."""
    return {name: [run["per_class"][name]["f1"] for run in runs_of(result, arm)] for name in result.classes}


def class_f1_text(result: BenchmarkResult, arm: str) -> list[str]:
    """F1 of each class, the mean over runs."""
    return [f"{np.mean(values):.3f}" for values in class_f1(result, arm).values()]


def difference(result: BenchmarkResult) -> dict[str, float | None] | None:
    """Macro F1 of `combined` minus `real`, each run against the one of the same seed; None where an arm is missing."""
    f1 = {(run["arm"], run["fold"], run["seed"]): run["macro"]["f1"] for run in result.runs}
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
    if seeds(result) == 1:
        return [NO_TEST, ONE_SEED]
    return [NO_TEST, ONE_SPLIT, ONE_GENERATOR] if result.settings.get("generator") else [NO_TEST, ONE_SPLIT]


def groups_in(files: Iterable[Mapping[str, Any]]) -> int:
    """How many patients (or files, where no patients are known) some images come from."""
    return len({file["group"] for file in files})


_TOGETHER = {"twins": " with twins kept together"}


def leaks(result: BenchmarkResult) -> list[str]:
    """What was allowed although it leaks, each as a line that cannot be overlooked."""
    return [f"LEAKAGE ALLOWED, these scores are no evidence: {line}" for line in result.leakage]


def test_images(result: BenchmarkResult) -> str:
    """What the scores come from, and what the split kept together."""
    files = result.split["test"]
    images = plural(len(files), "test image")
    if result.settings.get("test"):
        images += f" from {result.settings['test']}"
    if result.split["grouped_by"] != "patient":
        return f"{images}, split by file{_TOGETHER.get(result.split['grouped_by'], '')} (no patients known)"
    return f"{images} of {plural(groups_in(files), 'patient')}, split by patient"


def description(result: BenchmarkResult) -> str:
    """In one line: what was measured, with what, on what."""
    settings = result.settings
    return "; ".join(
        [
            f"{settings['data']}",
            f"{settings['backend']} generator at {settings['size']} px, ratio {settings['ratio']:g}"
            + (f", share {settings['share']:g}" if settings.get("share") is not None else ""),
            f"{settings['model']} classifier",
            plural(seeds(result), "seed"),
            test_images(result),
        ]
    )


def split_rows(result: BenchmarkResult) -> list[tuple[str, list[tuple[int, int]]]]:
    """For each class, and for all together: (images, groups) of each part of the split."""
    rows = []
    for name in (*result.classes, None):
        chosen = [[file for file in result.split[part] if name in (None, file["label"])] for part in PARTS]
        rows.append((name or "all", [(len(files), groups_in(files)) for files in chosen]))
    return rows


def darkest(result: BenchmarkResult) -> str:
    """How many of the pixels are in the darkest bin of the histograms."""
    return " and ".join(f"{shares[0]:.0%} of {name} pixels" for name, shares in result.intensity.items() if shares)
