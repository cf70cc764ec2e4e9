"""Pictures of tested images, from what a benchmark keeps of them in its folder."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors import SafetensorError, safe_open

from braingan.data.pictures import to_picture
from braingan.data.workplace import CACHE
from braingan.experiment.result import BenchmarkResult
from braingan.reporting.facts import tested_files

KEPT = "cells-*.safetensors"  # images with their names
LEAST = 96  # pixels: smaller pictures are enlarged, by whole pixels


def pictures_of(out: Path, result: BenchmarkResult, wanted: Collection[str]) -> dict[str, str]:
    """Pictures of some images, as classifiers saw them.

    Args:
        out: folder of the benchmark.
        result: of it; says which content each name had.
        wanted: names of tested files.

    Returns:
        Name -> `data:` address of a PNG; without those that cannot be had, or are another image by now.
    """
    # Of tested images alone: an image that limits leave out of training may have the name of one in a test folder.
    contents = {file["file"]: file["sha256"] for file in tested_files(result) if file["file"] in set(wanted)}
    found: dict[str, str] = {}
    for path in sorted((out / CACHE).glob(KEPT)):
        try:
            found |= _in_file(path, {name: sha for name, sha in contents.items() if name not in found})
        except (SafetensorError, OSError, ValueError, KeyError, TypeError):
            continue  # damaged, or of another version: the page says that there are no pictures
    return found


def _in_file(path: Path, contents: Mapping[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    with safe_open(path, framework="pt") as file:
        described: dict[str, Any] = json.loads(file.metadata()["inputs"])
        for name in ("everything", "held_out"):
            if name not in described:
                continue
            images = file.get_slice(f"{name}.images")
            listed = zip(described[name]["records"], described[name]["hashes"], strict=True)
            for at, ((_, record, *_), sha) in enumerate(listed):
                if contents.get(record) == sha:
                    found[record] = _address(to_picture(images[at : at + 1][0]))
    return found


def _address(picture: Image.Image) -> str:
    """A PNG made of pixels alone."""
    times = -(-LEAST // max(picture.size))
    larger = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    file = io.BytesIO()
    larger.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
