"""DCGAN on the LGG FLAIR slices, tumour against no tumour, split by patient.

Usage: python benchmarks/lgg_flair.py DATA OUT

DATA holds `tumor/`, `no_tumor/` and a `metadata.csv` with patients. A stopped run goes on.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import braingan
from publish import publish

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    data, out = map(Path, sys.argv[1:])
    three = ["real", "synthetic", "combined"]
    result = braingan.benchmark(
        data, out, backend="dcgan", size=64, ratio=1, steps=1000, seeds=3, generators=3, arms=three
    )
    publish(result, "lgg-flair")
