"""How often `braingan.evaluation.verdict.judge` says which word, where there is no difference and where there is one.

Usage: python benchmarks/verdict_calibration.py [--studies 400]

The simulated studies are those of `comparison_calibration.py`, with 3 runs an arm, judged by macro-F1 with a margin of
5 points. In an A/A study the two classifiers are equally good, and *helps* or *hurts* is a false alarm; in the others b
has 5 points more. A/A studies are also judged as if every image were a patient of its own, which is what resampling
images does.

1000 resamples instead of 10000: they know the standard error to 2 % (1 / sqrt(2 * 1000)), far better than the patients
do. How many verdicts change with 10000 is counted in one setting. The numbers are the same on every run; it
takes some minutes in one thread.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import braingan
from braingan.evaluation.verdict import Judgement, Verdict, judge
from comparison_calibration import EFFECTS, PATIENTS, study
from publish import RESULTS, made_with, publish_rows

RUNS = 3
GAIN = 0.05  # of macro-F1
GAIN_OF_ACCURACY = 0.0483  # which gives that, from 80 % right and 35 % of slices with tumour, without a run effect
MARGIN = 0.05
RESAMPLES = 1000
USUAL_RESAMPLES = 10_000
CHECKED = (20, 1.5)  # patients and run effect of the setting that is judged with both
VERDICTS: tuple[Verdict, ...] = ("helps", "hurts", "under-powered", "no evidence")


def judged(
    studied: tuple[np.ndarray, ...], groups: np.ndarray, seed: int, resamples: int = RESAMPLES
) -> tuple[float, Judgement]:
    """Difference and judgement of one study."""
    targets, a, b, _ = studied
    found = braingan.compare(targets, a, b, groups, resamples=resamples, seed=seed)
    return found.difference, judge(found, margin=MARGIN)


def simulate(studies: int, patients: int, effect: float, gain: float) -> dict[str, Any]:
    """What is said of so many studies of one kind."""
    random = np.random.default_rng([patients, RUNS, round(10 * effect), round(10_000 * gain)])
    by_patients, by_images, changed = [], [], 0
    for seed in range(studies):
        studied = study(random, patients, RUNS, effect, gain)
        groups = studied[3]
        by_patients.append(judged(studied, groups, seed))
        if not gain:
            by_images.append(judged(studied, np.arange(len(groups)), seed)[1].verdict)
        if not gain and (patients, effect) == CHECKED:
            again = judged(studied, groups, seed, USUAL_RESAMPLES)[1]
            changed += again.verdict != by_patients[-1][1].verdict
    judgements = [judgement for _, judgement in by_patients]
    counts = Counter(judgement.verdict for judgement in judgements)
    needed = statistics.median_low([judgement.patients_needed or math.inf for judgement in judgements])
    row: dict[str, Any] = {"patients": patients, "run_effect": effect, "gain": GAIN if gain else 0.0}
    row |= {verdict: counts[verdict] for verdict in VERDICTS}
    row["mean_difference"] = round(statistics.mean(difference for difference, _ in by_patients), 4)
    row["smallest_difference"] = round(statistics.median(found.smallest_difference for found in judgements), 4)
    row["patients_needed"] = int(needed) if math.isfinite(needed) else None
    if by_images:
        row["images_instead"] = sum(verdict in ("helps", "hurts") for verdict in by_images)
    if not gain and (patients, effect) == CHECKED:
        row["changed_by_more_resamples"] = changed
    return row


def table(rows: list[dict[str, Any]], studies: int, seconds: int) -> str:
    """In Markdown: a line for each number of patients and run effect."""
    most = int(stats.binom.ppf(0.975, studies, 0.05))
    text = (
        f"{studies} simulated A/A studies a line, and {studies} where b has 5 points of macro-F1 more; 3 runs an arm, "
        f"a margin of 5 points. A perfect test at 5 % calls at most {most} A/A studies helped or hurt (97.5 %). Run "
        "effects in points. The smallest difference that shows in 80 of 100 studies, and the number of patients that 5 "
        "points would take, are medians of what the studies with a gain said.\n\n"
        "| patients | run effect | A/A: helps or hurts | resampling images instead | gain: helps, % | hurts, % "
        "| under-powered, % | no evidence, % | smallest difference | patients needed |\n" + "| ---: " * 10 + "|\n"
    )
    same = {(row["patients"], row["run_effect"]): row for row in rows if not row["gain"]}
    for row in (row for row in rows if row["gain"]):
        nothing = same[row["patients"], row["run_effect"]]
        shares = [f"{100 * row[verdict] / studies:.1f}" for verdict in VERDICTS]
        alarms = nothing["helps"] + nothing["hurts"]
        cells = [row["patients"], row["run_effect"], alarms, nothing["images_instead"], *shares]
        cells += [f"{100 * row['smallest_difference']:.1f}", row["patients_needed"] or "unknown"]
        text += f"| {' | '.join(map(str, cells))} |\n"
    changed = next(row["changed_by_more_resamples"] for row in rows if "changed_by_more_resamples" in row)
    text += (
        f"\nWith {USUAL_RESAMPLES} resamples instead of {RESAMPLES}, {changed} of {studies} verdicts change (A/A, "
        f"{CHECKED[0]} patients, run effect {CHECKED[1]}).\n"
    )
    text += f"\nCommand: `python benchmarks/verdict_calibration.py --studies {studies}`\n"
    return text + f"\n{RESAMPLES} resamples; {seconds} s on one thread; {made_with()}.\n"


def main() -> None:
    """Simulate every setting; write `results/verdict-calibration.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args()
    started = time.perf_counter()
    rows = []
    for patients in PATIENTS:
        for effect in EFFECTS:
            for gain in (0.0, GAIN_OF_ACCURACY):
                rows.append(simulate(asked.studies, patients, effect, gain))
                print(json.dumps(rows[-1]), flush=True)
    facts = {"metric": "macro_f1", "studies": asked.studies, "runs": RUNS, "resamples": RESAMPLES, "margin": MARGIN}
    seconds = round(time.perf_counter() - started)
    text = table(rows, asked.studies, seconds)
    publish_rows("verdict-calibration", facts | {"seconds": seconds}, rows, text, asked.out)


if __name__ == "__main__":
    main()
