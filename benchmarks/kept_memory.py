"""What it is worth that braingan's processes keep the memory that they free (`braingan.memory`), on a CPU with glibc.

Usage: python benchmarks/kept_memory.py [--rounds 4]

Two processes with one thread each, one that keeps it and one that gives it back, train in turn: a few steps of the
default DCGAN (64x64 pixels, batch 64) and of the default classifier (resnet10t, batch 32). Of each side's times the
least counts: what else the machine does only adds. Page faults are those of one step. Writes
`results/kept-memory.json` and `.md`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from braingan import ImageSpec, TrainingData, TrainingRun
from braingan.evaluation.classifier import ClassifierSettings, _Learner
from braingan.evaluation.recipes import PLAIN, RecipeSampler
from braingan.generation.training import Training
from braingan.memory import keep_freed_memory
from braingan_dcgan import DCGAN
from publish import made_with, publish_rows

WARM_UP, STEPS = 5, 5
SIDES = ("given back", "kept")


def measured(step: Callable[[int], object]) -> dict[str, float]:
    """Least milliseconds of a step, and page faults of the median one."""
    for number in range(WARM_UP):
        step(number)
    least, faults = float("inf"), []
    for number in range(STEPS):
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        step(WARM_UP + number)
        least = min(least, 1000 * (time.perf_counter() - started))
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt)
    return {"milliseconds": least, "faults": sorted(faults)[STEPS // 2]}


def one_side(side: str) -> dict[str, dict[str, float]]:
    """What a process of that side measures."""
    if side == "kept" and not keep_freed_memory():
        sys.exit("this system's allocator is not glibc's; nothing to measure")
    torch.set_num_threads(1)
    spec = ImageSpec(64, 1, ("no_tumor", "tumor"))
    images = torch.randint(0, 256, (256, *spec.shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(256) % 2
    with tempfile.TemporaryDirectory() as folder:
        data = TrainingData(images, labels, spec)
        dcgan = Training(DCGAN(), data, TrainingRun(Path(folder), precision="float32"))
        found = {"DCGAN": measured(dcgan.step)}
    settings = ClassifierSettings(steps=WARM_UP + STEPS)
    sampler = RecipeSampler(labels, PLAIN, settings.steps, seed=0)
    learner = _Learner(images, labels, spec, settings, sampler, torch.device("cpu"), "float32")
    return found | {"classifier": measured(learner.step)}


def table(rows: list[dict[str, Any]], rounds: int) -> str:
    """For people."""
    text = "| a step of | given back, ms | kept, ms | ratio | page faults | kept |\n|---|---:|---:|---:|---:|---:|\n"
    for row in rows:
        text += (
            f"| {row['what']} | {row['given back']:.0f} | {row['kept']:.0f} | {row['ratio']:.2f} | "
            f"{row['faults given back']} | {row['faults kept']} |\n"
        )
    return f"{text}\nCommand: `python benchmarks/kept_memory.py --rounds {rounds}`, float32; {made_with()}.\n"


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(one_side(asked.side)))
        return
    found: dict[str, list[Any]] = {side: [] for side in SIDES}
    for _ in range(asked.rounds):
        for side in SIDES:
            command = [sys.executable, __file__, "--side", side]
            found[side].append(json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            print(side, found[side][-1], flush=True)
    rows = []
    for what in found["kept"][0]:
        least = {side: min(each[what]["milliseconds"] for each in found[side]) for side in SIDES}
        faults = {f"faults {side}": found[side][0][what]["faults"] for side in SIDES}
        rows.append({"what": what, **least, "ratio": round(least["given back"] / least["kept"], 2), **faults})
    publish_rows("kept-memory", {"rounds": asked.rounds}, rows, table(rows, asked.rounds))


if __name__ == "__main__":
    main()
