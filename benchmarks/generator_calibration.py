"""How often the verdict is a false alarm where the generator is trained once in each fold, and its luck differs.

Usage: python benchmarks/generator_calibration.py [--studies 400]

The simulated A/A studies of `verdict_calibration.py`, with patients dealt into 5 folds and 3 runs an arm. Arm b's three
classifiers of a fold share a generator, whose luck is worth something to all of them: a deviation in points of accuracy
for each fold. On average over generators b is as good as a. With "3 generators", every classifier of a fold has one of
its own; with "1" the luck of the five is in the interval only as far as folds differ. The same every time; about five
minutes in one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

import braingan
from braingan.evaluation.verdict import judge
from braingan.versions import versions
from comparison_calibration import EFFECTS, RIGHT, SPREAD, study
from publish import RESULTS
from verdict_calibration import MARGIN, RESAMPLES, RUNS, VERDICTS

FOLDS = 5
PATIENTS = (20, 55, 200)
RUN_EFFECT = 1.5
LUCK = EFFECTS


def lucky(random: np.random.Generator, patients: int, luck: float, generators: int) -> tuple[np.ndarray, ...]:
    """One study, and folds (N,): as `study`, and b's runs are moved by the luck of each fold's generators."""
    targets, a, b, groups = study(random, patients, RUNS, RUN_EFFECT, 0.0)
    folds = groups % FOLDS
    moved = luck / 100 / slope() * random.standard_normal((generators, FOLDS))
    logits = np.log(b[..., 1]) - np.log(b[..., 0])
    per_run = moved[np.arange(RUNS) % generators][:, folds]
    tumour = 1 / (1 + np.exp(-logits - np.where(targets == 1, per_run, -per_run)))
    return targets, a, np.stack([1 - tumour, tumour], axis=2), groups, folds


def slope() -> float:
    """Accuracy for each unit of the margin by which slices are classified rightly."""
    normal = statistics.NormalDist()
    return normal.pdf(normal.inv_cdf(RIGHT)) / SPREAD


def simulate(studies: int, patients: int, luck: float, generators: int) -> dict[str, Any]:
    """What is said of so many studies of one kind."""
    random = np.random.default_rng([patients, round(10 * luck), generators])
    counts: Counter[str] = Counter()
    for seed in range(studies):
        targets, a, b, groups, folds = lucky(random, patients, luck, generators)
        found = braingan.compare(targets, a, b, groups, folds=folds, resamples=RESAMPLES, seed=seed)
        counts[judge(found, margin=MARGIN).verdict] += 1
    row: dict[str, Any] = {"patients": patients, "luck": luck, "generators": generators}
    return row | {verdict: counts[verdict] for verdict in VERDICTS}


def table(rows: list[dict[str, Any]], studies: int, seconds: int) -> str:
    """In Markdown: a line for each number of patients and luck."""
    most = int(stats.binom.ppf(0.975, studies, 0.05))
    text = (
        f"{studies} simulated A/A studies a cell, {FOLDS} folds, {RUNS} runs an arm with a run effect of {RUN_EFFECT} "
        "points: how many are called *helps* or *hurts*, by the luck of a fold's generator (a standard deviation in "
        f"points) and the number of generators a fold. A perfect test at 5 % stays at {most} or fewer (97.5 %).\n\n"
        "| patients | luck | 1 generator a fold | 3 generators a fold |\n| ---: | ---: | ---: | ---: |\n"
    )
    alarms = {(row["patients"], row["luck"], row["generators"]): row["helps"] + row["hurts"] for row in rows}
    for patients in PATIENTS:
        for luck in LUCK:
            cells = [patients, luck, alarms[patients, luck, 1], alarms.get((patients, luck, 3), "")]
            text += f"| {' | '.join(map(str, cells))} |\n"
    made = ", ".join(f"{package} {version}" for package, version in versions().items())
    text += f"\nCommand: `python benchmarks/generator_calibration.py --studies {studies}`; {RESAMPLES} resamples, "
    return text + f"{seconds} s on one thread beside other work; {made}.\n"


def main() -> None:
    """Simulate every setting; write `results/generator-calibration.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args()
    started, rows = time.perf_counter(), []
    for patients in PATIENTS:
        for luck in LUCK:
            for generators in (1, 3) if luck else (1,):
                rows.append(simulate(asked.studies, patients, luck, generators))
                print(json.dumps(rows[-1]), flush=True)
    seconds = round(time.perf_counter() - started)
    facts = {"studies": asked.studies, "folds": FOLDS, "runs": RUNS, "run_effect": RUN_EFFECT, "resamples": RESAMPLES}
    head = json.dumps(facts | {"seconds": seconds, "versions": versions()})[1:-1]
    lines = ",\n  ".join(map(json.dumps, rows))
    asked.out.mkdir(parents=True, exist_ok=True)
    (asked.out / "generator-calibration.md").write_text(table(rows, asked.studies, seconds), encoding="utf-8")
    (asked.out / "generator-calibration.json").write_text(f'{{{head},\n "rows": [\n  {lines}\n ]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
