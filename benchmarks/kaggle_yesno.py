"""DCGAN on the "Brain MRI Images for Brain Tumor Detection" set, yes against no; patients are unknown.

Usage: python benchmarks/kaggle_yesno.py DATA OUT

Two runs: all training images, and the setting of the report that this project goes back to, in which 20 random
training images and 10 epochs are all that the generator gets (here the classifiers, too, learn from these 20).
Both use one split and the same test images. A stopped run goes on.
"""

from __future__ import annotations

import logging
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import braingan
from publish import publish

IMAGES, EPOCHS, BATCH = 20, 10, 10
ARMS = ("real", "synthetic", "combined")


def few(split: braingan.Split) -> braingan.Split:
    """The same split with 20 random training images."""
    chosen = random.Random(0).sample(list(split.train), IMAGES)
    return replace(split, train=tuple(sorted(chosen, key=lambda file: file.file)))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data, out = map(Path, sys.argv[1:])
    three: dict[str, Any] = {"backend": "dcgan", "size": 64, "ratio": 1, "seeds": 3, "generators": 3, "arms": ARMS}
    everything = braingan.benchmark(data, out / "all", steps=600, **three)
    publish(everything, "kaggle-yesno")
    few(braingan.Split.load(out / "all" / "split.json")).save(out / "few.json")
    original = braingan.benchmark(
        data, out / "few", split=out / "few.json", steps=EPOCHS * IMAGES // BATCH, batch_size=BATCH, **three
    )
    publish(original, "kaggle-yesno-20-images-10-epochs")
