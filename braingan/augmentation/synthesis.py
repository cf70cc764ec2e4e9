"""A stored generator -> PNG files, each of which says what it is and where it came from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import torch
from torch import Tensor

from braingan.data.files import write_json
from braingan.data.pictures import MODES, to_uint8, write_png
from braingan.errors import SettingsError
from braingan.generation.protocol import Generator
from braingan.generation.storage import StoredGenerator
from braingan.progress import Progress

MANIFEST, CONFIG = "manifest.jsonl", "config.json"
CHUNK = 256  # images in memory at a time


def draw(generator: Generator, label: int, count: int, *, seed: int) -> Iterator[Tensor]:
    """The first `count` images of a class, in chunks of (n, C, H, W) uint8; image i does not depend on `count`."""
    for first in range(0, count, CHUNK):
        labels = torch.full((min(CHUNK, count - first),), label, dtype=torch.int64)
        yield to_uint8(generator.sample(labels, seed=seed, first=first))


def check_can_write(channels: int) -> None:
    """Raise `SettingsError` for images that a PNG cannot hold."""
    if channels not in MODES:
        raise SettingsError(f"images of {channels} channels were asked for as PNG; 1, 3 or 4 work")


def write_synthetic(
    stored: StoredGenerator,
    counts: Mapping[int, int],
    out: Path,
    *,
    seed: int,
    below: str = "",
    leakage: Sequence[str] = (),
) -> None:
    """Write images, `manifest.jsonl`, `config.json` and `seen.safetensors`.

    Args:
        stored: the generator.
        counts: images for each label.
        out: an existing folder; images become `out/below/<class>/<six-digit index>.png`.
        seed: of the series.
        below: a folder between, or none.
        leakage: what was allowed although it leaks; stands in `config.json`.
    """
    spec = stored.generator.spec
    check_can_write(spec.channels)
    entries = []
    with Progress("sampling", sum(counts.values())) as progress:
        for label, count in counts.items():
            name = spec.classes[label]
            (out / below / name).mkdir(parents=True, exist_ok=True)
            index = 0
            for images in draw(stored.generator, label, count, seed=seed):
                for image in images:
                    entry = _entry(stored, name, index, seed, (Path(below) / name / f"{index:06d}.png").as_posix())
                    text = _text(entry) | {"Preprocessing": stored.preprocessing.fingerprint}
                    write_png(out / str(entry["file"]), image, text)
                    entries.append(entry)
                    index += 1
                progress.advance(len(images))
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (out / MANIFEST).write_text(lines, encoding="utf-8")
    config = {
        "kind": "synthetic images",
        "classes": list(spec.classes),
        "preprocessing": stored.preprocessing.to_json(),
        "training": stored.settings.to_json(),
        "generator": stored.sha256,
        "train_hash": stored.split.train_hash,
        "seed": seed,
        "leakage": list(leakage),
        "braingan": version("braingan"),
    }
    stored.seen.save(out)
    write_json(out / CONFIG, config)


def _entry(stored: StoredGenerator, name: str, index: int, seed: int, file: str) -> dict[str, str | int]:
    return {
        "file": file,
        "class": name,
        "index": index,
        "seed": seed,
        "backend": stored.settings.backend,
        "generator": stored.sha256,
        "train_hash": stored.split.train_hash,
    }


def _text(entry: Mapping[str, str | int]) -> dict[str, str]:
    """PNG text chunks: whoever finds the file alone learns that nobody was ever scanned for it."""
    return {
        "Software": f"braingan {version('braingan')}",
        "Comment": "Synthetic image made by a generative model; it shows no patient. Not for diagnosis.",
        "Synthetic": "true",
        "Backend": str(entry["backend"]),
        "Generator": str(entry["generator"]),
        "Seed": str(entry["seed"]),
        "Index": str(entry["index"]),
        "Class": str(entry["class"]),
    }
