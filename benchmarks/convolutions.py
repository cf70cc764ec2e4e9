"""What the quick ways of `braingan.engine.convolutions` are worth, on a CPU: against torch's own, both in turn.

Usage: python benchmarks/convolutions.py [--threads 1] [--rounds 15]

A row for each layer (forward, and the gradients of images and weights) and for a whole timm classifier (resnet10t,
64x64 grey images, forward and backward). Of each side's times the least counts: what else the machine does only adds.
Writes `results/convolutions.json` and `.md`.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import timm
import torch
from torch import Tensor, nn

from braingan.engine.convolutions import take_quick_ways
from publish import made_with, publish_rows

# Channels in and out, kernel, stride, padding, side of the images, batch.
LAYERS = (
    (512, 512, 3, 1, 1, 2, 32), (256, 512, 3, 2, 1, 4, 32), (256, 512, 1, 1, 0, 2, 32), (512, 512, 3, 1, 1, 2, 64),
    (512, 512, 3, 1, 1, 1, 32), (256, 256, 3, 1, 1, 4, 32), (128, 256, 3, 2, 1, 8, 32), (128, 128, 3, 1, 1, 8, 32),
)  # fmt: skip
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def step(network: nn.Module, images: Tensor, precision: str) -> Callable[[], None]:
    """Forward and backward, under autocast, as in a training."""

    def run() -> None:
        with torch.autocast("cpu", PRECISIONS[precision], enabled=precision != "float32"):
            made = network(images)
        made.float().square().mean().backward()

    return run


def milliseconds(sides: tuple[Callable[[], None], ...], rounds: int) -> list[float]:
    """The least time of each, taken in turn."""
    least = [float("inf")] * len(sides)
    for _ in range(rounds + 1):
        for place, side in enumerate(sides):
            started = time.perf_counter()
            side()
            least[place] = min(least[place], 1000 * (time.perf_counter() - started))
    return least


def compared(name: str, network: nn.Module, images: Tensor, rounds: int) -> list[dict[str, Any]]:
    """A row for each precision."""
    theirs = network.to(memory_format=torch.channels_last).train()
    own = take_quick_ways(copy.deepcopy(theirs))
    images = images.to(memory_format=torch.channels_last).requires_grad_(images.shape[1] > 1)
    rows = []
    for precision in PRECISIONS:
        torchs, quick = milliseconds((step(theirs, images, precision), step(own, images, precision)), rounds)
        rows.append({"what": name, "precision": precision, "torch": round(torchs, 2), "quick": round(quick, 2),
                     "ratio": round(torchs / quick, 2)})  # fmt: skip
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Time them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=15)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    torch.manual_seed(0)
    rows = []
    for given, made, kernel, stride, padding, side, batch in LAYERS:
        name = f"{given} to {made} channels, kernel {kernel}, stride {stride}, {side}x{side}, batch {batch}"
        layer = nn.Sequential(nn.Conv2d(given, made, kernel, stride, padding, bias=False))
        rows += compared(name, layer, torch.randn(batch, given, side, side), asked.rounds)
    model = timm.create_model("resnet10t", num_classes=2, in_chans=1)
    rows += compared("resnet10t, batch 32", model, torch.randn(32, 1, 64, 64), asked.rounds)
    capability = torch.backends.cpu.get_cpu_capability()
    text = "| what | precision | torch, ms | quick, ms | ratio |\n| --- | --- | ---: | ---: | ---: |\n"
    text += "".join(f"| {' | '.join(map(str, row.values()))} |\n" for row in rows)
    text += f"\nCommand: `python benchmarks/convolutions.py --threads {asked.threads} --rounds {asked.rounds}`; "
    text += f"{capability}; {made_with()}.\n"
    facts = {"threads": asked.threads, "rounds": asked.rounds, "capability": capability}
    publish_rows("convolutions", facts, rows, text)


if __name__ == "__main__":
    main()
