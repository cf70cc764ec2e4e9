import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from braingan.data.preparation import PreparedSet
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageRecord, ImageSet

Pixels = np.ndarray[Any, Any]


def _write_image(path: Path, picture: Pixels | Image.Image, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    image.save(path, **options)
    return path


def _head(size: int = 40, centre: tuple[int, int] = (20, 20), radius: int = 10, brightness: float = 160) -> Pixels:
    rows, columns = np.mgrid[:size, :size]
    distance = ((rows - centre[0]) / radius) ** 2 + ((columns - centre[1]) / (0.8 * radius)) ** 2
    tissue = 1 - 0.4 * np.cos(columns - centre[1]) ** 2
    return np.where(distance <= 1, brightness * tissue, 2).astype(np.uint8)


def _write_metadata(data: Path, rows: Sequence[dict[str, str]], **options: Any) -> None:
    data.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(column for row in rows for column in row))
    with (data / "metadata.csv").open("w", newline="", **({"encoding": "utf-8"} | options)) as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="session")
def write_image() -> Callable[..., Path]:
    """Write pixels or a PIL image, making its folder."""
    return _write_image


@pytest.fixture(scope="session")
def head() -> Callable[..., Pixels]:
    """A bright ellipse with stripes on a nearly black ground, uint8."""
    return _head


@pytest.fixture(scope="session")
def write_metadata() -> Callable[..., None]:
    """Write a `metadata.csv` from rows."""
    return _write_metadata


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six patients with a slice of each class, every file with a row."""
    rows = []
    for patient in range(6):
        for number, label in enumerate(("no_tumor", "tumor")):
            picture = _head(centre=(18 + patient % 3, 20), brightness=100 + 20 * patient + 15 * number)
            path = _write_image(tmp_path / "data" / label / f"p{patient}.png", picture)
            rows.append({"file_name": f"{label}/{path.name}", "label": label, "patient": f"p{patient}"})
    _write_metadata(tmp_path / "data", rows)
    return tmp_path / "data"


@pytest.fixture
def classes_only(tmp_path: Path) -> Path:
    """Two class folders with two images each and no metadata."""
    for label in ("no", "yes"):
        for number in range(2):
            _write_image(tmp_path / "classes" / label / f"{number}.png", _head(brightness=90 + 40 * number))
    return tmp_path / "classes"


@pytest.fixture(scope="session")
def prepared_of() -> Callable[..., PreparedSet]:
    """A `PreparedSet` of black images from (group, class) pairs."""

    def make(members: Sequence[tuple[str, str]], *, has_patients: bool = True) -> PreparedSet:
        classes = sorted({label for _, label in members})
        names = [f"{label}/{group}_{number}.png" for number, (group, label) in enumerate(members)]
        records = [
            ImageRecord(Path(name), name, classes.index(label), group if has_patients else name)
            for name, (group, label) in zip(names, members, strict=True)
        ]
        return PreparedSet(
            torch.zeros(len(records), 1, 8, 8, dtype=torch.uint8),
            torch.zeros(len(records), 64, 64, dtype=torch.uint8),
            ImageSet(records, classes, has_patients=has_patients),
            tuple(f"{number:064x}" for number in range(len(records))),
            Preprocessing(size=8),
        )

    return make
