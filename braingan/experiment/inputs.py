"""What the cells of a benchmark read, in one file that worker processes map into memory instead of being sent it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from braingan.data.files import fingerprint, replacing
from braingan.data.findings import BadFile
from braingan.data.preparation import PREPARED_AS, PreparedSet
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageRecord, ImageSet
from braingan.data.split import Split
from braingan.experiment.arms import LabelledImages

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class CellInputs:
    """Images and the split that they come from.

    Attributes:
        train: what generators and classifiers learn from.
        val: held out.
        test: what classifiers are scored on.
        learning: the split of the data folder alone; what a generator's folder says of its training.
    """

    train: PreparedSet
    val: PreparedSet
    test: PreparedSet
    learning: Split

    @property
    def real(self) -> LabelledImages:
        """The training images."""
        return LabelledImages(self.train.images, self.train.labels)

    def key(self, *parts: str) -> str:
        """What images the parts hold, and in what order, in one word; not where they lie, nor their masks.

        What is made with the help of masks is known by its generator.
        """
        described = []
        for own in (getattr(self, part) for part in parts):
            what = _described(own)
            what["records"] = [record[1:] for record in what["records"]]
            described.append(what)
        return fingerprint([PREPARED_AS, *described])

    def save(self, folder: Path) -> Path:
        """Write `cells-KEY.safetensors`; gives its path."""
        masks = [own.masks.numpy() for part in PARTS if (own := getattr(self, part)).masks is not None]
        key = fingerprint([self.key(*PARTS), *(hashlib.sha256(mask).hexdigest() for mask in masks)])
        path = folder / f"cells-{key[:32]}.safetensors"
        sets = {part: getattr(self, part) for part in PARTS}
        tensors = {
            f"{part}.{kind}": tensor
            for part, own in sets.items()
            for kind in ("images", "views", "masks")
            if (tensor := getattr(own, kind)) is not None
        }
        described = {part: _described(own) for part, own in sets.items()} | {"learning": self.learning.to_json()}
        with replacing(path) as beside:
            save_file(tensors, beside, {"inputs": json.dumps(described)})
        return path


@functools.lru_cache(maxsize=1)
def load_inputs(path: Path) -> CellInputs:
    """Read what `save` wrote; once for all cells that a process runs. Nothing is read from the data folder."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["inputs"])
    tensors = load_file(path)
    train, val, test = (_prepared(described[part], tensors, part) for part in PARTS)
    return CellInputs(train, val, test, Split.from_json(described["learning"]))


def _described(prepared: PreparedSet) -> dict[str, Any]:
    """All of a set but its tensors. Files of masks and slices of volumes stay behind: no cell reads them."""
    source = prepared.source
    return {
        "records": [[str(record.path), record.file, record.label, record.group] for record in source.records],
        "classes": source.classes,
        "has_patients": source.has_patients,
        "hashes": prepared.hashes,
        "preprocessing": prepared.preprocessing.to_json(),
        "bad_files": [asdict(bad) for bad in prepared.bad_files],
    }


def _prepared(described: Mapping[str, Any], tensors: Mapping[str, Tensor], part: str) -> PreparedSet:
    records = [ImageRecord(Path(path), file, label, group) for path, file, label, group in described["records"]]
    return PreparedSet(
        tensors[f"{part}.images"],
        tensors[f"{part}.views"],
        ImageSet(records, described["classes"], has_patients=described["has_patients"]),
        tuple(described["hashes"]),
        Preprocessing.from_json(described["preprocessing"]),
        tuple(BadFile(**bad) for bad in described["bad_files"]),
        tensors.get(f"{part}.masks"),
    )
