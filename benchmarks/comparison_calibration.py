"""How often `braingan.compare` finds a difference where there is none, and where there is one of 5 points.

Usage: python benchmarks/comparison_calibration.py [--studies 400] [--metric macro_f1]
       python benchmarks/comparison_calibration.py --rare [--studies 400]

Studies are simulated: patients with 5 to 60 slices each, 35 % of them with tumour, and two classifiers that are right
in 80 % (b in 85 % where there is a gain). Whether a slice is classified rightly depends on the patient and the slice
(the same for all), on the patient for a way of training, on the patient for a training run, on the run for all
patients (the run effect, a standard deviation in points of accuracy) and on chance.

With --rare, all slices of a patient have one class, few of 40 patients have tumour, and several measures are tried.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
import time
from collections.abc import Sequence

import numpy as np

import braingan
from publish import made_with, publish_rows

PATIENTS = (10, 20, 55, 200)
RUNS = (3, 5)
EFFECTS = (0.0, 1.5, 3.0)
GAIN = 0.05
RIGHT = 0.8
TUMOURS = (2.0, 3.7)  # beta distribution of a patient's share of slices with tumour: 35 % on average
# Standard deviations of the margin by which a slice is classified rightly.
PATIENT, SLICE, WAY, RUN, CHANCE = 0.7, 0.8, 0.35, 0.25, 0.5
SPREAD = math.hypot(PATIENT, SLICE, WAY, RUN, CHANCE)
RESAMPLES = 500
OF, POSITIVE = 40, (2, 3, 5, 10, 20)  # with --rare: how many of these patients have tumour
RARE_RUNS = (1, 3)
RARE_METRICS = ("macro_f1", "recall:1", "balanced_accuracy", "auroc")
NORMAL = statistics.NormalDist()
SLOPE = NORMAL.pdf(NORMAL.inv_cdf(RIGHT)) / SPREAD  # accuracy for each unit of the margin


def study(
    random: np.random.Generator, patients: int, runs: int, effect: float, gain: float, positive: int | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Targets (N,), probabilities of a and of b (runs, N, 2), and patients (N,) of one simulated study.

    Args:
        random: source of random numbers.
        patients: how many.
        runs: training runs of a, and of b.
        effect: standard deviation of the run effect, in points of accuracy.
        gain: how much more often b is right.
        positive: how many patients have tumour, in all slices, and the others in none; None: all have it in some.
    """
    targets, (a, b), groups = arms_of(random, patients, runs, effect, (RIGHT, RIGHT + gain), positive)
    return targets, a, b, groups


def arms_of(
    random: np.random.Generator, patients: int, runs: int, effect: float, rights: Sequence[float],
    positive: int | None = None,
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:  # fmt: skip
    """As `study`, of any number of ways to train: `rights` says how often each is right."""
    groups = np.repeat(np.arange(patients), random.integers(5, 61, patients))
    drawn = random.random(len(groups))
    shares = random.beta(*TUMOURS, patients) if positive is None else (np.arange(patients) < positive).astype(float)
    targets = (drawn < shares[groups]).astype(int)
    shared = PATIENT * random.standard_normal(patients)[groups] + SLICE * random.standard_normal(len(groups))
    found = []
    for right in rights:
        margin = SPREAD * NORMAL.inv_cdf(right) + shared + WAY * random.standard_normal(patients)[groups]
        margin = margin + effect / 100 / SLOPE * random.standard_normal((runs, 1))
        margin = margin + RUN * random.standard_normal((runs, patients))[:, groups]
        margin = margin + CHANCE * random.standard_normal((runs, len(groups)))
        tumour = 1 / (1 + np.exp(np.where(targets == 1, -margin, margin)))
        found.append(np.stack([1 - tumour, tumour], axis=2))
    return targets, found, groups


def significant(
    studies: int, metric: str, patients: int, runs: int, effect: float, gain: float, positive: int | None = None
) -> int:
    """How many of so many studies find a difference at 5 %."""
    setting = [patients, runs, round(10 * effect), round(100 * gain)]
    random = np.random.default_rng(setting if positive is None else [*setting, positive])
    count = 0
    for seed in range(studies):
        targets, a, b, groups = study(random, patients, runs, effect, gain, positive)
        result = braingan.compare(targets, a, b, groups, metric=metric, resamples=RESAMPLES, seed=seed)
        count += result.p_value < 0.05
    return count


def main() -> None:
    """Simulate every setting; write `results/comparison-calibration.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--metric", default="macro_f1")
    parser.add_argument("--rare", action="store_true")
    asked = parser.parse_args()
    if asked.rare:
        rare(asked.studies)
        return
    started = time.perf_counter()
    rows = []
    for patients in PATIENTS:
        for runs in RUNS:
            for effect in EFFECTS:
                setting = (asked.studies, asked.metric, patients, runs, effect)
                counts = {"false_alarms": significant(*setting, 0.0), "found": significant(*setting, GAIN)}
                rows.append({"patients": patients, "runs": runs, "run_effect": effect} | counts)
                print(json.dumps(rows[-1]), flush=True)
    name = "comparison-calibration" + ("" if asked.metric == "macro_f1" else f"-{asked.metric.replace(':', '-')}")
    facts = {"metric": asked.metric, "studies": asked.studies, "resamples": RESAMPLES, "gain": GAIN}
    seconds = round(time.perf_counter() - started)
    text = table(rows, asked.studies, asked.metric, seconds)
    publish_rows(name, facts | {"seconds": seconds}, rows, text)


def rare(studies: int) -> None:
    """False alarms where few patients have one of the classes; write `results/comparison-calibration-rare.*`."""
    started, rows = time.perf_counter(), []
    for positive, runs in itertools.product(POSITIVE, RARE_RUNS):
        counts = {metric: significant(studies, metric, OF, runs, 0.0, 0.0, positive) for metric in RARE_METRICS}
        rows.append({"positive_patients": positive, "runs": runs} | counts)
        print(json.dumps(rows[-1]), flush=True)
    seconds = round(time.perf_counter() - started)
    text = (
        f"{studies} simulated studies a cell of {OF} patients, some of whom have tumour in all their slices and the "
        "others in none; no run effect, no difference: how many per cent find one at 5 %.\n\n"
        f"| patients with tumour | runs | {' | '.join(RARE_METRICS)} |\n|{' ---: |' * (2 + len(RARE_METRICS))}\n"
    )
    for row in rows:
        shares = [f"{100 * row[metric] / studies:.1f}" for metric in RARE_METRICS]
        text += f"| {row['positive_patients']} | {row['runs']} | {' | '.join(shares)} |\n"
    text += f"\nCommand: `python benchmarks/comparison_calibration.py --rare --studies {studies}`\n"
    text += f"\n{RESAMPLES} resamples; {seconds} s on one thread; {made_with()}.\n"
    facts = {"patients": OF, "studies": studies, "resamples": RESAMPLES, "seconds": seconds}
    publish_rows("comparison-calibration-rare", facts, rows, text)


def table(rows: list[dict[str, float]], studies: int, metric: str, seconds: int) -> str:
    """In Markdown: a line for each number of patients and runs, a column for each run effect."""
    text = (
        f"{studies} simulated studies a cell, {metric}: how many per cent find a difference at 5 %, where there is "
        f"none, and where b is right {round(100 * GAIN)} points more often.\n\n"
        f"| patients | runs | {' | '.join(f'none, run effect {effect}' for effect in EFFECTS)} | "
        f"{' | '.join(f'gain, run effect {effect}' for effect in EFFECTS)} |\n|{' ---: |' * (2 + 2 * len(EFFECTS))}\n"
    )
    for patients in PATIENTS:
        for runs in RUNS:
            own = [row for row in rows if (row["patients"], row["runs"]) == (patients, runs)]
            shares = [f"{100 * row[name] / studies:.1f}" for name in ("false_alarms", "found") for row in own]
            text += f"| {patients} | {runs} | {' | '.join(shares)} |\n"
    text += f"\nCommand: `python benchmarks/comparison_calibration.py --studies {studies} --metric {metric}`\n"
    return text + f"\nRun effects in points; {RESAMPLES} resamples; {seconds} s on one thread; {made_with()}.\n"


if __name__ == "__main__":
    main()
