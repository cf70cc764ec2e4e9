"""What a training step of the DCGAN consists of: shares of the time, by kind of work.

Usage: python benchmarks/step_profile.py [--json FILE] [--precision bfloat16] [--threads N] [--steps 5]

The network of `throughput.py` (64x64 pixels, 64 channels, batch 64) on random images, seen by torch.profiler: own time
of each operator on the CPU, after five steps of warm-up. Shares move by a few points from run to run on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from braingan import ImageSpec, TrainingData, TrainingRun
from braingan.generation.training import Training
from braingan.versions import versions
from braingan_dcgan import DCGAN

WARM_UP = 5
KINDS = {  # the first whose word is in an operator's name
    "convolutions backward": ("convolution_backward",),
    "convolutions forward": ("convolution",),
    "matrix products": ("::mm", "::addmm", "::bmm"),
    "batch normalisation": ("batch_norm",),
    "activations": ("relu", "threshold", "clamp", "tanh"),
    "optimisers and average": ("adam", "Adam", "lerp"),
    "random numbers": ("uniform", "normal_", "bernoulli", "random"),
    "copies: casts and layouts": ("copy", "contiguous"),
    "patches": ("im2col", "col2im", "unfold"),
}
REST = "host and the rest"


def kind_of(operator: str) -> str:
    """The kind of work that an operator is."""
    return next((kind for kind, words in KINDS.items() if any(word in operator for word in words)), REST)


def shares(precision: str, steps: int) -> dict[str, float]:
    """Kind of work -> share of a step's time, the largest first."""
    spec = ImageSpec(64, 1, ("no_tumor", "tumor"))
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (512, *spec.shape), dtype=torch.uint8, generator=random)
    data = TrainingData(images, torch.arange(512) % 2, spec)
    with tempfile.TemporaryDirectory() as folder:
        training = Training(DCGAN(base_channels=64), data, TrainingRun(Path(folder), precision=precision))
        for step in range(WARM_UP):
            training.step(step)
        with profile(activities=[ProfilerActivity.CPU]) as seen:
            for step in range(steps):
                training.step(step)
    spent: dict[str, float] = {}
    for operator in seen.key_averages():
        kind = kind_of(operator.key)
        spent[kind] = spent.get(kind, 0.0) + operator.self_cpu_time_total
    total = sum(spent.values())
    return {kind: round(spent[kind] / total, 3) for kind in sorted(spent, key=lambda kind: -spent[kind])}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found = shares(asked.precision, asked.steps)
    for name, share in found.items():
        print(f"| {share:.0%} | {name} |")
    if asked.json:
        about = {"precision": asked.precision, "threads": asked.threads, "versions": versions()}
        asked.json.write_text(json.dumps({"shares": found, **about}, indent=1) + "\n", encoding="utf-8")
