"""Full runs of the benchmark on real MRI, each a command that can be given again; results go to `results/verdict-*`.

Usage: python benchmarks/verdicts.py NAME DATA OUT [--jobs 2]

NAME is one of RUNS below, DATA the folder that it names (lgg-flair, cheng, kaggle-yesno), OUT a folder for everything
that is made. A stopped run goes on. What is published has no pictures: JSON, table and report.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path
from typing import Any

import braingan
from publish import publish

RARE = ("real", "real+classic", "real+mixup", "synthetic", "combined", "combined+classic", "oracle-same-patients")
# What the verdict is about, without the controls: on two cores without bfloat16 these take two and a half hours.
CONTRAST = ("real", "real+classic", "real+mixup", "synthetic", "combined", "combined+classic")
# Of these, what the primary contrast needs; `real+mixup` was best in no fold with `dcgan`, whose folds are the same.
SIDES = ("real", "real+classic", "combined", "combined+classic")
ORIGINAL = ("real", "synthetic", "combined")  # the three training sets of the report that this project goes back to
# 160 training images: 200 steps see each 40 times.
YES_NO = {
    "backend": "dcgan", "steps": 600, "folds": 5, "generators": 1, "classifier_steps": 200, "arms": ORIGINAL,
}  # fmt: skip

RUNS: dict[str, dict[str, Any]] = {
    "lgg-flair-dcgan-quick": {"preset": "quick", "backend": "dcgan"},
    "lgg-flair-dcgan": {"preset": "standard", "backend": "dcgan", "arms": CONTRAST},
    "lgg-flair-insert-quick": {"preset": "quick", "backend": "insert", "batch_size": 24},
    "lgg-flair-insert": {"preset": "standard", "backend": "insert", "batch_size": 24, "arms": SIDES},
    "lgg-flair-wgan-gp": {"preset": "quick", "backend": "wgan-gp"},
    "lgg-flair-rare": {
        "preset": "standard", "backend": "insert", "batch_size": 24, "limit": {"tumor": 60}, "ratio": (5, 13),
        "share": 0.5, "arms": RARE,
    },
    "lgg-flair-rare-dcgan": {
        "preset": "standard", "backend": "dcgan", "limit": {"tumor": 60}, "ratio": (5, 13), "share": 0.5, "arms": RARE,
    },
    "cheng-dcgan": {"preset": "quick", "backend": "dcgan"},
    "kaggle-yesno-grouped": YES_NO,
    "kaggle-yesno-not-grouped": YES_NO | {"group_duplicates": False, "allow_leakage": True},
}  # fmt: skip


def main() -> None:
    """Run one, and publish it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=RUNS)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    result = braingan.benchmark(asked.data, asked.out, **RUNS[asked.name], jobs=asked.jobs, without_images=True)
    publish(result, f"verdict-{asked.name}", report=asked.out / "report.html", name=asked.name)


if __name__ == "__main__":
    main()
