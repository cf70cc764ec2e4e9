"""Recall of planted twins, and false alarms, of the search for images of the same picture.

Usage: python benchmarks/planted_twins.py DATA [OUT.json] [--images 150] [--seed 0]

DATA needs patient ids. Random images are altered in one way each, and looked for among all images of the folder: a
twin is found if it is paired with its original. A pair with an image of another patient is a false alarm; so is any
pair across patients in the untouched folder. Fingerprints (what a generator keeps of its training images) are
measured on the same images. Nothing is written but figures.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import braingan
from braingan.data.views import view_of
from braingan.duplicates.fingerprints import fingerprints, matches
from braingan.duplicates.twins import Looks, find_twins, find_twins_across
from braingan.versions import versions

Fault = Callable[[Image.Image], Image.Image]


def encoded(image: Image.Image, quality: int) -> Image.Image:
    """The image after JPEG compression."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(io.BytesIO(stream.getvalue()))


def cropped(image: Image.Image, share: float) -> Image.Image:
    """Without a share of its width and height, half of it at each side."""
    x, y = round(image.width * share / 2), round(image.height * share / 2)
    return image.crop((x, y, image.width - x, image.height - y))


def resized(image: Image.Image, share: float) -> Image.Image:
    """At a share of its width and height."""
    size = round(image.width * share), round(image.height * share)
    return image.resize(size, Image.Resampling.BICUBIC)


FAULTS: dict[str, Fault] = {
    "copied": lambda image: image,
    "brightness x1.3": lambda image: image.point(lambda value: min(255, round(value * 1.3))),
    "gamma 0.7": lambda image: image.point(lambda value: round(255 * (value / 255) ** 0.7)),
    "JPEG 30": lambda image: encoded(image, 30),
    "resized to 90 %": lambda image: resized(image, 0.9),
    "resized to 50 %": lambda image: resized(image, 0.5),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
    "rotated 5 degrees": lambda image: image.rotate(5, Image.Resampling.BICUBIC),
    "cropped by 5 %": lambda image: cropped(image, 0.05),
    "cropped by 10 %": lambda image: cropped(image, 0.10),
}


def view(image: Image.Image) -> np.ndarray:
    """What twins are recognised by."""
    return view_of(np.asarray(image.convert("L"), np.float32)[:, :, None])


def main() -> None:
    """Measure, print a table, and write the figures where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--images", type=int, default=150)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    images = braingan.read_images(asked.data)
    if not images.has_patients:
        raise SystemExit(f"{asked.data} has no patient ids: what is a false alarm cannot be told")
    views = np.stack([view(images[number][0]) for number in range(len(images))])
    groups = [record.group for record in images.records]
    names = [record.file for record in images.records]  # instead of hashes: bytes must not help
    figures = measure(views, groups, names, images, asked.images, asked.seed)
    figures |= {"data": asked.data.resolve().name, "seed": asked.seed, "versions": versions()}
    report(figures)
    if asked.out:
        asked.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def measure(
    views: np.ndarray, groups: list[str], names: list[str], images: braingan.ImageSet, count: int, seed: int
) -> dict[str, Any]:
    """All figures."""
    chosen = sorted(random.Random(seed).sample(range(len(images)), min(count, len(images))))
    known, everything = fingerprints(views), Looks(views, names)
    rows = {}
    for fault, alter in FAULTS.items():
        altered = np.stack([view(alter(images[number][0].convert("L"))) for number in chosen])
        found = find_twins_across(Looks(altered, [f"{name}*" for name in names[: len(chosen)]]), everything)
        printed = matches(altered, known)
        rows[fault] = {
            "found": len({twin.first for twin in found if twin.second == chosen[twin.first]}),
            "false_alarms": len({twin.first for twin in found if groups[twin.second] != groups[chosen[twin.first]]}),
            "fingerprints_found": len({one for one, other in printed if other == chosen[one]}),
            "fingerprints_false": len({one for one, other in printed if groups[other] != groups[chosen[one]]}),
        }
    pairs = matches(views, known)
    return {
        "images": len(images),
        "patients": len(set(groups)),
        "altered": len(chosen),
        "faults": rows,
        "false_pairs_in_the_folder": len(find_twins(everything, groups)),
        "false_fingerprint_pairs": int(sum(one < other and groups[one] != groups[other] for one, other in pairs)),
        "pairs_of_different_patients": different_pairs(groups),
    }


def different_pairs(groups: list[str]) -> int:
    """How many pairs of images there are of two patients."""
    sizes = np.unique(groups, return_counts=True)[1]
    return int((len(groups) ** 2 - (sizes**2).sum()) // 2)


def report(figures: dict[str, Any]) -> None:
    """Print a table in Markdown."""
    count = figures["altered"]
    print(f"{figures['data']}: {figures['images']} images of {figures['patients']} patients, {count} altered\n")
    print("| altered by | found | false alarms | by fingerprint | false |\n| --- | ---: | ---: | ---: | ---: |")
    for fault, row in figures["faults"].items():
        found, printed = (f"{row[key] / count:.1%}" for key in ("found", "fingerprints_found"))
        print(f"| {fault} | {found} | {row['false_alarms']} | {printed} | {row['fingerprints_false']} |")
    false = figures["false_pairs_in_the_folder"]
    print(f"\nFalse pairs in the untouched folder: {false}, {1000 * false / figures['images']:.2f} per 1,000 images.")
    print(f"By fingerprint: {figures['false_fingerprint_pairs']} of {figures['pairs_of_different_patients']:,} pairs.")


if __name__ == "__main__":
    main()
