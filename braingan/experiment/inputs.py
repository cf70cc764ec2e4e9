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
from braingan.data.folds import Fold, Folds
from braingan.data.preparation import PREPARED_AS, PreparedSet
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageRecord, ImageSet
from braingan.data.split import Split, locate
from braingan.experiment.images import LabelledImages

SETS = ("everything", "held_out", "external")


@dataclass(frozen=True)
class FoldInputs:
    """The images of one fold.

    Attributes:
        train: what generators and classifiers learn from.
        val: what choices are made on; never learned from.
        test: what classifiers are scored on.
        left_out: images of training patients that limits keep away from training.
        external: another site's images, scored on as well; None where there are none.
        learning: the split of the data folder alone; what a generator's folder says of its training.
    """

    train: PreparedSet
    val: PreparedSet
    test: PreparedSet
    left_out: PreparedSet
    external: PreparedSet | None
    learning: Split

    @property
    def real(self) -> LabelledImages:
        """The training images."""
        return LabelledImages(self.train.images, self.train.labels)

    def scored(self) -> dict[str, PreparedSet]:
        """What every classifier says something of: `test`, `val`, and `external` where there is one."""
        sets = {"test": self.test, "val": self.val}
        return sets if self.external is None else sets | {"external": self.external}

    @functools.cached_property
    def key(self) -> str:
        """What images the parts hold, and in what order, in one word; not where they lie, nor their masks.

        What is made with the help of masks is known by its generator.
        """
        described = []
        for own in (self.train, self.val, self.test, self.left_out, self.external):
            what: dict[str, Any] = {} if own is None else _described(own)
            what["records"] = [record[1:] for record in what.get("records", ())]
            described.append(what)
        return fingerprint([PREPARED_AS, *described])


@dataclass(frozen=True)
class CellInputs:
    """Images and how they are split.

    Attributes:
        everything: all images of the data folder.
        learning: how it is split; without test parts where the test images lie elsewhere.
        held_out: test images of a folder of their own; None where the folds have theirs.
        external: another site's images; None where there are none.
    """

    everything: PreparedSet
    learning: Folds
    held_out: PreparedSet | None = None
    external: PreparedSet | None = None

    def fold(self, number: int) -> FoldInputs:
        """The images of a fold; the latest is kept."""
        if number not in self._latest:
            self._latest.clear()
            self._latest[number] = self._fold(self.learning[number])
        return self._latest[number]

    @functools.cached_property
    def _latest(self) -> dict[int, FoldInputs]:
        return {}

    def _fold(self, fold: Fold) -> FoldInputs:
        parts = locate(fold.split, self.everything, left_out=len(fold.left_out))
        extra = Split(fold.left_out, (), (), fold.split.grouped_by)
        left_out = locate(extra, self.everything, left_out=len(self.everything)).train
        return FoldInputs(
            train=self.everything.select(parts.train),
            val=self.everything.select(parts.val),
            test=self.everything.select(parts.test) if self.held_out is None else self.held_out,
            left_out=self.everything.select(left_out),
            external=self.external,
            learning=fold.split,
        )

    def save(self, folder: Path) -> Path:
        """Write `cells-KEY.safetensors`; gives its path."""
        sets = {name: own for name in SETS if (own := getattr(self, name)) is not None}
        described = {name: _described(own) for name, own in sets.items()} | {"learning": self.learning.to_json()}
        masks = [own.masks.numpy() for own in sets.values() if own.masks is not None]
        key = fingerprint([PREPARED_AS, described, *(hashlib.sha256(mask).hexdigest() for mask in masks)])
        path = folder / f"cells-{key[:32]}.safetensors"
        if path.exists():
            return path
        tensors = {
            f"{name}.{kind}": tensor
            for name, own in sets.items()
            for kind in ("images", "views", "masks")
            if (tensor := getattr(own, kind)) is not None
        }
        with replacing(path) as beside:
            save_file(tensors, beside, {"inputs": json.dumps(described)})
        return path


@functools.lru_cache(maxsize=1)
def load_inputs(path: Path) -> CellInputs:
    """Read what `save` wrote; once for all cells that a process runs. Nothing is read from the data folder."""
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["inputs"])
    tensors = load_file(path)
    sets = {name: _prepared(described[name], tensors, name) for name in SETS if name in described}
    return CellInputs(**sets, learning=Folds.from_json(described["learning"]))


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


def _prepared(described: Mapping[str, Any], tensors: Mapping[str, Tensor], name: str) -> PreparedSet:
    records = [ImageRecord(Path(path), file, label, group) for path, file, label, group in described["records"]]
    return PreparedSet(
        tensors[f"{name}.images"],
        tensors[f"{name}.views"],
        ImageSet(records, described["classes"], has_patients=described["has_patients"]),
        tuple(described["hashes"]),
        Preprocessing.from_json(described["preprocessing"]),
        tuple(BadFile(**bad) for bad in described["bad_files"]),
        tensors.get(f"{name}.masks"),
    )
