"""How often the verdict is a false alarm where the generator is trained once in each fold, and its luck differs.

Usage: python benchmarks/generator_calibration.py [--studies 400]

The simulated A/A studies of `verdict_calibration.py`, with patients dealt into 1 or 5 folds and 3 runs an arm. Every
classifier, of each run and fold, has luck of its own. Arm b's three classifiers of a fold share a generator, whose luck
is worth something to all of them: a deviation in points of accuracy for each fold. On average over generators b is as
good as a (but for a tenth of a point, because luck moves what lies on the edge). With "3 generators", every classifier
of a fold has one of its own. The same every time; about ten minutes in one thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import braingan
from braingan.evaluation.verdict import judge
from comparison_calibration import EFFECTS, PATIENTS, SLOPE, study
from publish import RESULTS, made_with, publish_rows
from verdict_calibration import MARGIN, RESAMPLES, RUNS, VERDICTS

FOLDS = (1, 5)
RUN_LUCK = 1.5
LUCK = EFFECTS


def lucky(
    random: np.random.Generator, patients: int, folds: int, luck: float, generators: int
) -> tuple[np.ndarray, ...]:
    """One study, and the fold of each image (N,): as `study`, moved by the luck of each fold's trainings."""
    targets, *arms, groups = study(random, patients, RUNS, 0.0, 0.0)
    dealt = groups % folds
    moved = []
    for number, own in enumerate(arms):
        chance = RUN_LUCK * random.standard_normal((RUNS, folds))
        if number:
            chance += luck * random.standard_normal((generators, folds))[np.arange(RUNS) % generators]
        moved.append(shifted(own, targets, chance[:, dealt]))
    return targets, *moved, groups, dealt


def shifted(said: np.ndarray, targets: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Probabilities (runs, N, 2) of classifiers that are better by so many points (runs, N) of accuracy."""
    margin = np.log(said[..., 1] / said[..., 0]) * np.where(targets == 1, 1, -1) + points / 100 / SLOPE
    tumour = 1 / (1 + np.exp(np.where(targets == 1, -margin, margin)))
    return np.stack([1 - tumour, tumour], axis=2)


def simulate(studies: int, patients: int, folds: int, luck: float, generators: int) -> dict[str, Any]:
    """What is said of so many studies of one kind."""
    random = np.random.default_rng([patients, folds, round(10 * luck), generators])
    counts: Counter[str] = Counter()
    for seed in range(studies):
        targets, a, b, groups, dealt = lucky(random, patients, folds, luck, generators)
        found = braingan.compare(targets, a, b, groups, folds=dealt, resamples=RESAMPLES, seed=seed)
        counts[judge(found, margin=MARGIN).verdict] += 1
    row: dict[str, Any] = {"patients": patients, "folds": folds, "luck": luck, "generators": generators}
    return row | {verdict: counts[verdict] for verdict in VERDICTS}


def table(rows: list[dict[str, Any]], studies: int, seconds: int) -> str:
    """In Markdown: a line for each number of patients and luck."""
    most = int(stats.binom.ppf(0.975, studies, 0.05))
    text = (
        f"{studies} simulated A/A studies a cell, {RUNS} runs an arm, the luck of a classifier {RUN_LUCK} points: how "
        "many are called *helps* or *hurts*, by the luck of a fold's generator (a standard deviation in points), folds "
        f"and generators a fold. A perfect test at 5 % stays at {most} or fewer (97.5 %).\n\n| tested patients | luck "
    )
    designs = [(folds, generators) for folds in FOLDS for generators in (1, RUNS)]
    text += "".join(
        f"| {folds} fold{'s' * (folds > 1)}, {own} generator{'s' * (own > 1)} a fold " for folds, own in designs
    )
    text += f"|\n|{' ---: |' * (2 + len(designs))}\n"
    alarms = {tuple(row[name] for name in ("patients", "luck", "folds", "generators")): row["helps"] + row["hurts"]
              for row in rows}  # fmt: skip
    for patients in PATIENTS:
        for luck in LUCK:
            cells = [patients, luck, *(alarms.get((patients, luck, *design), "") for design in designs)]
            text += f"| {' | '.join(map(str, cells))} |\n"
    text += f"\nCommand: `python benchmarks/generator_calibration.py --studies {studies}`; {RESAMPLES} resamples, "
    return text + f"{seconds} s on one thread; {made_with()}.\n"


def main() -> None:
    """Simulate every setting; write `results/generator-calibration.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args()
    started, rows = time.perf_counter(), []
    for patients in PATIENTS:
        for folds in FOLDS:
            for luck in LUCK:
                for generators in (1, RUNS) if luck else (1,):
                    rows.append(simulate(asked.studies, patients, folds, luck, generators))
                    print(json.dumps(rows[-1]), flush=True)
    seconds = round(time.perf_counter() - started)
    facts = {"studies": asked.studies, "runs": RUNS, "luck_of_classifiers": RUN_LUCK, "resamples": RESAMPLES}
    text = table(rows, asked.studies, seconds)
    publish_rows("generator-calibration", facts | {"seconds": seconds}, rows, text, asked.out)


if __name__ == "__main__":
    main()
