"""Time and memory of the search for twins among 1,000, 10,000 and 100,000 images.

Usage: python benchmarks/twin_scale.py DATA [OUT.json] [--sizes 1000,10000,100000]

Heads are made from the views of DATA: two of them blended and moved a little, so that they lie as densely as real
ones; one in a hundred gets a twin with noise. Each size runs in a process of its own, on one thread. "candidates" is
the search by descriptors with its index; "all" is the whole search, with candidates judged on pixels. The exponent is
that of time against number, from one size to the next: 2 would be quadratic.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import braingan
from braingan.data.views import VIEW, view_of
from braingan.duplicates.descriptor import describe, orientations
from braingan.duplicates.index import Index
from braingan.duplicates.twins import LEAST, NEIGHBOURS, Looks, find_twins
from braingan.versions import versions

TWINS = 0.01  # share of images that get one


def heads(views: np.ndarray, count: int) -> np.ndarray:
    """(count, 64, 64) uint8: blends of two views, turned, scaled and shifted; the last hundredth are noisy twins."""
    random = np.random.default_rng(0)
    made = np.zeros((count, VIEW, VIEW), np.uint8)
    doubles = round(count * TWINS)
    for number in range(count - doubles):
        one, other = random.integers(len(views), size=2)
        share = random.uniform(0.1, 0.9)
        blended = Image.fromarray((views[one] * share + views[other] * (1 - share)).astype(np.uint8))
        turn, scale = random.uniform(-0.2, 0.2), random.uniform(0.9, 1.1)
        x, y = random.uniform(-3, 3, 2)
        cosine, sine, middle = math.cos(turn) * scale, math.sin(turn) * scale, VIEW / 2
        affine = (cosine, -sine, middle - cosine * middle + sine * middle + x,
                  sine, cosine, middle - sine * middle - cosine * middle + y)  # fmt: skip
        made[number] = np.asarray(
            blended.transform((VIEW, VIEW), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR)
        )
    noise = random.normal(0, 2, (doubles, VIEW, VIEW))
    made[count - doubles :] = np.clip(made[:doubles] + noise, 0, 255).astype(np.uint8)
    return made


def planted(count: int) -> set[tuple[int, int]]:
    """The pairs of heads and their noisy twins."""
    doubles = round(count * TWINS)
    return {(number, count - doubles + number) for number in range(doubles)}


def candidates(views: np.ndarray) -> tuple[int, float]:
    """How many pairs the descriptors propose, in all orientations, and the share of planted twins among them."""
    described, proposed, found = describe(views), 0, set()
    index, wanted = Index.build(described), planted(len(views))
    for _, queries in orientations(described):
        for first, second in index.nearest(queries, NEIGHBOURS, LEAST):
            proposed += len(first)
            found |= wanted & set(zip(first.tolist(), second.tolist(), strict=True))
    return proposed, len(found) / len(wanted)


def measure(views: np.ndarray, count: int, whole: bool, answers: multiprocessing.Queue[dict[str, float]]) -> None:
    """One size, in this process."""
    torch.set_num_threads(1)
    made = heads(views, count)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    proposed, found = candidates(made)
    figures = {
        "images": count,
        "candidates_seconds": round(time.perf_counter() - started, 2),
        "candidates_per_image": round(proposed / count, 2),
        "planted_among_candidates": round(found, 4),
        "candidates_more_mib": round((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, 1),
    }
    if whole:
        names = [str(number) for number in range(count)]
        started = time.perf_counter()
        twins = {(twin.first, twin.second) for twin in find_twins(Looks(made, names), names)}
        figures |= {
            "all_seconds": round(time.perf_counter() - started, 1),
            "peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
            "planted_found": round(len(twins & planted(count)) / len(planted(count)), 4),
        }
    answers.put(figures)


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--whole-up-to", type=int, default=10_000, help="largest size for the whole search")
    asked = parser.parse_args()
    images = braingan.read_images(asked.data)
    pixels = (np.asarray(images[number][0].convert("L"), np.float32)[:, :, None] for number in range(len(images)))
    views = np.stack([view_of(values) for values in pixels])
    rows = []
    for count in map(int, asked.sizes.split(",")):
        answers: multiprocessing.Queue[dict[str, float]] = multiprocessing.get_context("spawn").Queue()
        process = multiprocessing.get_context("spawn").Process(
            target=measure, args=(views, count, count <= asked.whole_up_to, answers)
        )
        process.start()
        rows.append(answers.get())
        process.join()
        print(json.dumps(rows[-1]), flush=True)
    report(rows)
    if asked.out:
        figures = {"data": asked.data.resolve().name, "rows": rows, "versions": versions()}
        asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def report(rows: list[dict[str, float]]) -> None:
    """Print a table in Markdown."""
    titles = [
        "images",
        "candidates: s",
        "exponent",
        "more memory, MiB",
        "twins in",
        "all: s",
        "peak, MiB",
        "twins found",
    ]
    print(f"\n| {' | '.join(titles)} |")
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for before, row in zip([None, *rows], rows, strict=False):
        steps = math.log(row["images"] / before["images"]) if before else 0
        power = math.log(row["candidates_seconds"] / before["candidates_seconds"]) / steps if before else math.nan
        cells = [row.get(key, "") for key in ("planted_among_candidates", "all_seconds", "peak_mib", "planted_found")]
        print(f"| {row['images']:,} | {row['candidates_seconds']} | {power:.2f} | {row['candidates_more_mib']} | "
              + " | ".join(map(str, cells)) + " |")  # fmt: skip


if __name__ == "__main__":
    main()
