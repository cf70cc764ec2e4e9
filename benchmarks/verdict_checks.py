"""What the benchmark says of generators of which it is known what it should say: real trainings, not simulated ones.

Usage: python benchmarks/verdict_checks.py controls OUT [--studies 50] [--first 0]
       python benchmarks/verdict_checks.py controls-table OUT
       python benchmarks/verdict_checks.py oracle-phantom OUT
       python benchmarks/verdict_checks.py oracle-lgg-flair OUT --data DATA

`controls`: each study has 30 phantom patients of its own and a small convolutional network that is trained 3 times in
each of 3 folds. `noise` hands out noise, `copycat` the training images. Compared with `real`: `duplicates` (real images
under another seed, an A/A check), `combined` with copies (nothing new), `combined` with noise, and `shuffled` (copies
with labels drawn at random). Chance alone calls the first two *helps* in 2.5 of 100 studies; the other two should be
called so no more often (noise in images or labels can hold a network back from learning by heart, so that a gain would
not be a miracle). Holm's correction for the two of a benchmark makes false alarms rarer still, so they are also counted
without it. All studies have the same seeds of classifiers (0 to 2), so initial weights repeat and only patients are
new. A stopped run goes on; several processes may share OUT, each with its own `--first`.

`oracle-phantom`: 8 training patients, and an oracle that hands out real images of 60 others; 40 test patients.
`oracle-lgg-flair`: 10 training patients of LGG FLAIR; the oracle has the other training patients' images; a single
split, whose 10 or 11 test patients can show large gains only.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats
from torch import nn

import braingan
from braingan.data.files import read_json, write_json
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.testing import Copycat, Noise, Oracle
from publish import made_with, publish, publish_rows

log = logging.getLogger("braingan")

MODEL = "verdict_checks:small_classifier"
PATIENTS, SLICES, FOLDS, SEEDS, SIZE, STEPS = 30, 6, 3, 3, 32, 60
# What adds nothing: name, backend of the synthetic images, arm.
NULLS = (
    ("duplicates", "noise", "duplicates"),
    ("noise", "noise", "combined"),
    ("copycat", "copycat", "combined"),
    ("shuffled", "copycat", "shuffled"),
)
ARMS = {"noise": ("real", "duplicates", "combined"), "copycat": ("real", "combined", "shuffled")}
VERDICTS, ALONE = ("helps", "hurts", "under-powered", "no evidence"), ("helps alone", "hurts alone")
CHANCE = 0.025  # of *helps*, where nothing is to be found: half of 5 %


def small_classifier(num_classes: int, in_chans: int) -> nn.Module:
    """Four convolutions: quick enough for thousands of trainings on a CPU."""
    widths, layers = (16, 32, 64, 64), []
    for given, made in zip((in_chans, *widths), widths, strict=False):
        layers += [nn.Conv2d(given, made, 3, 2, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(widths[-1], num_classes))


def study(number: int, folder: Path) -> dict[str, Any]:
    """One study: for each of NULLS the difference to `real`, p and verdict."""
    shutil.rmtree(folder, ignore_errors=True)
    braingan.phantom(folder / "data", patients=PATIENTS, seed=1000 + number, slices=SLICES, size=SIZE)
    found: dict[str, Any] = {}
    for backend, arms in ARMS.items():
        result = braingan.benchmark(
            folder / "data", folder / backend, backend=backend, arms=list(arms), size=SIZE, folds=FOLDS, seeds=SEEDS,
            ratio=1, model=MODEL, classifier_steps=STEPS, classifier_precision="float32", device="cpu",
            without_images=True, inspection=False,
        )  # fmt: skip
        for name, own, arm in NULLS:
            if own == backend:
                found[name] = judged(result, arm)
        found[f"real beside {backend}"] = result.summary["real"]["f1"]["mean"]
    shutil.rmtree(folder)
    return found


def judged(result: braingan.BenchmarkResult, arm: str) -> dict[str, Any]:
    """An arm against `real`: the benchmark's verdict, and what it would have been without Holm's correction."""
    own = next(each for each in result.comparisons if (each["arm"], each["baseline"]) == (arm, "real"))
    alone = own["p_value"] < 0.05
    return {
        "difference": own["difference"], "p_value": own["p_value"], "verdict": own["verdict"],
        "helps alone": alone and own["low"] > 0, "hurts alone": alone and own["high"] < 0,
    }  # fmt: skip


def controls(out: Path, studies: int, first: int) -> None:
    """Run the studies that are not there yet."""
    for name, backend in (("noise", Noise), ("copycat", Copycat)):
        braingan.register_backend(name)(backend)
    (out / "studies").mkdir(parents=True, exist_ok=True)
    for number in range(first, first + studies):
        path = out / "studies" / f"{number:03d}.json"
        if not path.exists():
            write_json(path, study(number, out / f"study{number:03d}"))
            log.warning("study %d of %d", number - first + 1, studies)


def controls_table(out: Path) -> None:
    """Write `results/verdict-controls.json` and `.md` from the studies that are there."""
    found = [read_json(path) for path in sorted((out / "studies").glob("*.json"))]
    most = int(stats.binom.ppf(0.975, len(found), CHANCE))
    rows = []
    for name, _, arm in NULLS:
        own = [study[name] for study in found]
        counts = Counter(each["verdict"] for each in own)
        differences = [each["difference"] for each in own]
        rows.append({
            "against real": name, "arm": arm, "studies": len(own),
            "mean_difference": round(float(np.mean(differences)), 4),
            "std": round(float(np.std(differences, ddof=1)), 4), **{verdict: counts[verdict] for verdict in VERDICTS},
            **{kind: sum(each[kind] for each in own) for kind in ALONE},
        })  # fmt: skip
    real = float(np.mean([study["real beside noise"] for study in found]))
    text = (
        f"{len(found)} studies of {PATIENTS} phantom patients each, {FOLDS} folds x {SEEDS} seeds, {SIZE} pixels, "
        f"{STEPS} steps of a small network; macro-F1 of the real images {real:.3f}. Chance alone calls {CHANCE:.1%} "
        f"helpful: of {len(found)}, at most {most} in 97.5 of 100 cases. Differences in points; the last two columns "
        "without Holm's correction.\n\n"
    )
    heads = ("against real", "mean difference", "std over studies", *VERDICTS, *ALONE)
    text += f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}\n"
    for row in rows:
        cells = [row["against real"], f"{100 * row['mean_difference']:+.1f}", f"{100 * row['std']:.1f}"]
        text += f"| {' | '.join(map(str, [*cells, *(row[name] for name in heads[3:])]))} |\n"
    text += f"\nCommand: `python benchmarks/verdict_checks.py controls OUT --studies {len(found)}`; {made_with()}.\n"
    facts = {"studies": len(found), "most_helps": most, "macro_f1_real": real}
    publish_rows("verdict-controls", facts, rows, text)


def oracle(name: str, data: Path, out: Path, *, train_patients: int, others: Path | None, **options: Any) -> None:
    """A benchmark whose generator hands out real images of other patients, published as `verdict-NAME`.

    Args:
        name: of the result.
        data: images.
        out: folder.
        train_patients: how many are learned from.
        others: folder whose images the oracle has; None for the training patients of `data` that are left out.
        **options: of the benchmark.
    """
    size, data, out = options["size"], data.absolute(), out.absolute()
    source = out / "others.safetensors"
    if not source.exists():
        if others is None:
            look = braingan.benchmark(
                data, out / "look", backend="noise", train_patients=train_patients, without_images=True,
                **options | {"arms": ["real"], "seeds": 1, "classifier_steps": 1},
            )  # fmt: skip
            there = prepare_folder(data, Preprocessing(size=size), out / "cache")
            assert look.folds == 1, "an oracle of several folds would know test patients"
            names = [entry["file"] for entry in look.splits["files"]]
            kept = {names[place] for place in look.splits["folds"][0]["left_out"]}
            chosen = [n for n, record in enumerate(there.source.records) if record.file in kept]
            there = there.select(chosen)
        else:
            there = prepare_folder(others, Preprocessing(size=size), out / "cache")
        Oracle.of(there.images, torch.as_tensor(there.labels), source)
    with contextlib.chdir(out):  # the result names the oracle's file; where it lies is nobody's business
        result = braingan.benchmark(
            data, Path("answer"), backend="oracle", hyperparameters={"source": source.name},
            train_patients=train_patients, without_images=True, **options,
        )  # fmt: skip
    given = f"{name} OUT" + (" --data DATA" if others is None else "")
    publish(result, f"verdict-{name}", report=out / "answer" / "report.html", given=given)


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=("controls", "controls-table", "oracle-phantom", "oracle-lgg-flair"))
    parser.add_argument("out", type=Path)
    parser.add_argument("--studies", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--data", type=Path)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", stream=sys.stderr)
    if asked.name == "controls":
        return controls(asked.out, asked.studies, asked.first)
    if asked.name == "controls-table":
        return controls_table(asked.out)
    for name, backend in (("noise", Noise), ("oracle", Oracle)):
        braingan.register_backend(name)(backend)
    arms = ["real", "real+classic", "combined", "combined+classic"]
    if asked.name == "oracle-lgg-flair":
        if asked.data is None:
            parser.error("oracle-lgg-flair needs --data")
        return oracle(asked.name, asked.data, asked.out, train_patients=10, others=None, arms=arms, size=64, ratio=2)
    folders = asked.out / "phantoms", asked.out / "others"
    for folder, patients, seed in zip(folders, (200, 60), (1, 2), strict=True):
        if not folder.exists():
            braingan.phantom(folder, patients=patients, seed=seed, slices=SLICES, size=SIZE)
    return oracle(
        asked.name, folders[0], asked.out, train_patients=8, others=folders[1], arms=arms, size=SIZE, ratio=6,
        classifier_steps=200,
    )  # fmt: skip


if __name__ == "__main__":
    main()
