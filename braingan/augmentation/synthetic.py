"""Synthetic images on disk -> `SyntheticSet`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from braingan.augmentation.synthesis import CONFIG, MANIFEST
from braingan.data.decoding import open_image
from braingan.data.files import read_json
from braingan.data.preprocessing import Preprocessing
from braingan.duplicates.seen import Seen
from braingan.errors import OutputError


@dataclass(frozen=True)
class SyntheticFile:
    """One synthetic image and where it came from: see `manifest.jsonl`.

    Attributes:
        path: the image.
        class_name: what it shall show.
        index: in the series of its class.
        seed: of the series.
        backend: what made it.
        generator: SHA-256 of its weights.
        train_hash: of the images that it learned from.
        mask: where its tumour is, 0 and 255; None from generators that do not know. So are the rest.
        canvas: the training image that it is an edited version of.
        canvas_patient: the patient whom it shows.
        mask_source: the training image that the tumour's outline came from.
        mask_source_patient: the patient of that.
    """

    path: Path
    class_name: str
    index: int
    seed: int
    backend: str
    generator: str
    train_hash: str
    mask: Path | None = None
    canvas: str | None = None
    canvas_patient: str | None = None
    mask_source: str | None = None
    mask_source_patient: str | None = None


class SyntheticSet(Dataset[tuple[Any, int]]):
    """A map-style dataset of (PIL image, label) over synthetic images.

    Args:
        files: the images.
        classes: of the generator, in label order; some may have no image.
        preprocessing: how the generator's training images were made, and so what the images look like.
        seen: what the generator was trained on; None where nobody knows.
        leakage: what was allowed although it leaks (`--allow-leakage`); empty where all is well.
    """

    def __init__(
        self,
        files: tuple[SyntheticFile, ...],
        classes: tuple[str, ...],
        preprocessing: Preprocessing,
        seen: Seen | None = None,
        leakage: tuple[str, ...] = (),
    ) -> None:
        self.files = files
        self.classes = list(classes)
        self.preprocessing = preprocessing
        self.seen = seen
        self.leakage = leakage

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Class name -> label."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    def targets(self) -> list[int]:
        """The labels, one an image."""
        labels = self.class_to_idx
        return [labels[file.class_name] for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return open_image(self.files[index].path), self.class_to_idx[self.files[index].class_name]


def load_synthetic(out: str | Path) -> SyntheticSet:
    """Read what `sample` or `augment` wrote.

    Raises:
        OutputError: the folder holds no synthetic images, or not all that its manifest lists.
    """
    out = Path(out)
    if not (out / MANIFEST).exists():
        raise OutputError(f"{out} holds no {MANIFEST}; give the folder that `braingan sample` or `augment` wrote")
    config = read_json(out / CONFIG)
    try:
        entries = [json.loads(line) for line in (out / MANIFEST).read_text(encoding="utf-8").splitlines()]
        files = tuple(_file(out, entry) for entry in entries)
        classes, preprocessing = tuple(config["classes"]), Preprocessing.from_json(config["preprocessing"])
    except (ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{out} is damaged: {type(error).__name__}: {error}") from error
    listed = [path for file in files for path in (file.path, file.mask) if path]
    missing = [path for path in listed if not path.is_file()]
    if missing:
        raise OutputError(f"{missing[0]} is missing ({len(missing)} of {len(listed)} files that {MANIFEST} lists)")
    return SyntheticSet(files, classes, preprocessing, Seen.load(out), tuple(config.get("leakage", ())))


def _file(out: Path, entry: dict[str, Any]) -> SyntheticFile:
    needed = ("index", "seed", "backend", "generator", "train_hash")
    origin = ("canvas", "canvas_patient", "mask_source", "mask_source_patient")
    known: dict[str, Any] = {key: entry[key] for key in needed} | {key: entry.get(key) for key in origin}
    mask = out / entry["mask"] if "mask" in entry else None
    return SyntheticFile(path=out / entry["file"], class_name=entry["class"], mask=mask, **known)
