"""How often the verdict is a false alarm where both of its sides are chosen on validation patients.

Usage: python benchmarks/choice_calibration.py [--studies 400]

Simulated studies as in `generator_calibration.py`, in which all arms are equally good: a classifier of each arm, run
and fold has luck of its own (1.5 points), and the arms with synthetic images share a generator in each fold, or, in
`quick`, in each run, with luck of its own. The benchmark's own `choose` takes the best arm of each side by what these
same classifiers say of validation patients: so a lucky training is taken along to the test patients, and the side with
more arms has more of it. The same every time.
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
from braingan.experiment.arms import arms_named
from braingan.experiment.contrasts import choose
from braingan.experiment.pooling import Pooled, chosen
from comparison_calibration import EFFECTS, RIGHT, arms_of
from generator_calibration import RUN_LUCK, shifted
from publish import RESULTS, made_with, publish_rows
from verdict_calibration import MARGIN, RESAMPLES, RUNS, VERDICTS

PATIENTS = (10, 20, 55)
DESIGNS: dict[str, dict[str, Any]] = {
    "quick": {"folds": 1, "generators": RUNS, "without": ("real", "real+classic"), "ratios": (1.0,)},
    "standard": {
        "folds": 5, "generators": 1, "without": ("real", "real+classic", "real+mixup"), "ratios": (0.5, 2.0),
    },
}  # fmt: skip
AUGMENTED = "combined+classic"


def simulate(studies: int, design: str, patients: int, luck: float) -> dict[str, Any]:
    """What is said of so many studies of one kind."""
    own = DESIGNS[design]
    folds, generators = own["folds"], own["generators"]
    labels = {name: (name, 0.0) for name in own["without"]}
    labels |= {f"{AUGMENTED}@{ratio:g}": (AUGMENTED, ratio) for ratio in own["ratios"]}
    arms = arms_named([*own["without"], AUGMENTED])
    random = np.random.default_rng([patients, folds, round(10 * luck), generators, len(labels)])
    batches = [(0, run % generators if generators > 1 else run) for run in range(RUNS)]
    counts: Counter[str] = Counter()
    differences = []
    for seed in range(studies):
        # One split has validation patients beside those that are tested; folds test all and validate on the next part.
        many = patients if folds > 1 else 2 * patients
        # Twice as many runs: what a network says of validation patients is no other network's word on test patients.
        targets, said, groups = arms_of(random, many, 2 * RUNS, 0.0, [RIGHT] * len(labels))
        part = groups % folds if folds > 1 else groups // patients
        tested = np.flatnonzero(part < folds)
        generator = luck * random.standard_normal((generators, folds))[np.arange(RUNS) % generators]
        pooled = {}
        for (label, (_, ratio)), arm in zip(labels.items(), said, strict=True):
            points = RUN_LUCK * random.standard_normal((RUNS, folds)) + (generator if ratio else 0.0)
            validation = {}
            for fold in range(folds):
                here = np.flatnonzero(part == (fold + 1) % max(folds, 2))
                validation[fold] = shifted(arm[RUNS:, here], targets[here], points[:, fold, None])
            said_of_tested = shifted(arm[:RUNS, tested], targets[tested], points[:, part[tested]])
            dealt = np.tile(part[tested], (RUNS, 1))
            pooled[label] = Pooled(said_of_tested, [(0, run) for run in range(RUNS)], dealt, validation,
                                   batches=batches if ratio else [])  # fmt: skip
        truth = {fold: targets[part == (fold + 1) % max(folds, 2)] for fold in range(folds)}
        choice = choose(labels, arms, pooled, truth)
        assert choice is not None
        a, b = chosen(pooled, choice.baseline), chosen(pooled, choice.augmented)
        found = braingan.compare(
            targets[tested], a.probabilities, b.probabilities, groups[tested], batches=(a.apart, b.apart),
            resamples=RESAMPLES, seed=seed,
        )  # fmt: skip
        counts[judge(found, margin=MARGIN).verdict] += 1
        differences.append(100 * found.difference)
    row: dict[str, Any] = {"design": design, "patients": patients, "luck": luck}
    row |= {verdict: counts[verdict] for verdict in VERDICTS}
    error = float(np.std(differences, ddof=1) / np.sqrt(studies))
    return row | {"mean_difference": round(float(np.mean(differences)), 3), "standard_error": round(error, 3)}


def table(rows: list[dict[str, Any]], studies: int, seconds: int) -> str:
    """In Markdown: a line for each setting."""
    most = int(stats.binom.ppf(0.975, studies, 0.05))
    text = (
        f"{studies} simulated studies a line in which all arms are equally good, {RUNS} runs an arm, the luck of a "
        f"classifier {RUN_LUCK} points, that of a generator as given; both sides chosen on validation patients. A "
        f"perfect test at 5 % calls {most} or fewer *helps* or *hurts* (97.5 %).\n\n"
        "| design | tested patients | luck of generators | helps | hurts | mean difference, points |\n"
        "| --- | ---: | ---: | ---: | ---: | ---: |\n"
    )
    for row in rows:
        mean = f"{row['mean_difference']:+.2f} ± {row['standard_error']:.2f}"
        cells = [row["design"], row["patients"], row["luck"], row["helps"], row["hurts"], mean]
        text += f"| {' | '.join(map(str, cells))} |\n"
    text += f"\nCommand: `python benchmarks/choice_calibration.py --studies {studies}`; {RESAMPLES} resamples, "
    return text + f"{seconds} s on one thread; {made_with()}.\n"


def main() -> None:
    """Simulate every setting; write `results/choice-calibration.json` and `.md`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=400)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder to write to")
    asked = parser.parse_args()
    started, rows = time.perf_counter(), []
    for design in DESIGNS:
        for patients in PATIENTS:
            for luck in EFFECTS:
                rows.append(simulate(asked.studies, design, patients, luck))
                print(json.dumps(rows[-1]), flush=True)
    seconds = round(time.perf_counter() - started)
    facts = {"studies": asked.studies, "runs": RUNS, "luck_of_classifiers": RUN_LUCK, "resamples": RESAMPLES}
    text = table(rows, asked.studies, seconds)
    publish_rows("choice-calibration", facts | {"seconds": seconds}, rows, text, asked.out)


if __name__ == "__main__":
    main()
