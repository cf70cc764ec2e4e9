"""Edited slices show patients: whoever is held out may not be among them, under whatever name."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from torch.utils.data import Subset
from torchvision.datasets import ImageFolder

import braingan
from braingan import AugmentedDataset, LeakageError, Split

Options = dict[str, Any]


def rows_of(data: Path) -> list[dict[str, str]]:
    with (data / "metadata.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def part_of(data: Path, out: Path, patients: list[str], numbers: set[int] | None = None) -> Path:
    """A copy of a data folder with these patients only, and with these slices of each."""
    rows = [row for row in rows_of(data) if row["patient"] in patients]
    rows = [row for row in rows if numbers is None or int(row["slice"]) in numbers]
    for row in rows:
        for file in (row["file_name"], row["mask"]):
            if file:
                (out / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(data / file, out / file)
    with (out / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


@pytest.fixture(scope="module")
def patients(slices: Path) -> list[str]:
    return sorted({row["patient"] for row in rows_of(slices)})


@pytest.fixture(scope="module")
def mine(slices: Path, patients: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first nine patients."""
    return part_of(slices, tmp_path_factory.mktemp("mine") / "data", patients[:9])


@pytest.fixture(scope="module")
def theirs(slices: Path, patients: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The last three, who are held out: the generator of all slices has seen them."""
    return part_of(slices, tmp_path_factory.mktemp("theirs") / "data", patients[9:])


@pytest.fixture(scope="module")
def split(inserting: Path, patients: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A split of all slices in which these three are for testing."""
    value = Split.load(inserting / "split.json").to_json()
    parts: dict[str, list[Any]] = {"train": [], "test": []}
    for file in value["train"]:
        parts["test" if file["group"] in patients[9:] else "train"].append(file)
    path = tmp_path_factory.mktemp("split") / "split.json"
    path.write_text(json.dumps(value | parts))
    return path


@pytest.fixture(params=["insert", "paste"])
def generator(request: pytest.FixtureRequest, inserting: Path, pasting: Path) -> Path:
    """A run folder of either backend, that has seen everybody."""
    return {"insert": inserting, "paste": pasting}[request.param]


def test_augment_refuses_a_generator_that_has_seen_a_held_out_patient(
    slices: Path, generator: Path, split: Path, tmp_path: Path
) -> None:
    with pytest.raises(LeakageError, match=r"leak: .* was trained on 12 held-out images or on others of their pat"):
        braingan.augment(slices, tmp_path / "out", generator=generator, split=split)
    assert not (tmp_path / "out" / "synthetic").exists()


def test_augment_refuses_a_generator_that_has_seen_the_test_folder_under_other_names_and_brightness(
    mine: Path, theirs: Path, generator: Path, tmp_path: Path
) -> None:
    renamed = tmp_path / "renamed"
    for number, row in enumerate(rows_of(theirs)):
        pixels = np.asarray(Image.open(theirs / row["file_name"]).convert("L"), np.float32)
        (renamed / row["label"]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels * 0.9 + 8, 0, 255).astype(np.uint8)).save(
            renamed / row["label"] / f"x{number}.png"
        )
    for test in (theirs, renamed):
        with pytest.raises(LeakageError, match=r"leak: .* was trained on \d+ held-out images"):
            braingan.augment(mine, tmp_path / "out", generator=generator, test=test)


def test_benchmark_refuses_a_generator_that_has_seen_a_held_out_patient(
    slices: Path, generator: Path, split: Path, tmp_path: Path, tiny_model: str
) -> None:
    options: Options = {"model": tiny_model, "classifier_steps": 1, "seeds": 1, "generator": generator,
                        "arms": ["real", "combined"]}  # fmt: skip
    with pytest.raises(LeakageError, match=r"leak: .* was trained on 12 held-out images"):
        braingan.benchmark(slices, tmp_path / "out", split=split, **options)


def test_a_dataset_refuses_edited_slices_of_those_who_are_held_out(
    mine: Path, theirs: Path, generator: Path, tmp_path: Path
) -> None:
    synthetic = braingan.sample(generator, tmp_path / "out", count=30)
    real = braingan.read_images(mine)
    with pytest.raises(LeakageError, match=r"leak: .* 12 held-out images"):
        AugmentedDataset(real, synthetic, held_out=ImageFolder(str(theirs), allow_empty=True))  # no patients are known
    with pytest.raises(LeakageError, match="leak: the synthetic images show the patients of 12 held-out images"):
        AugmentedDataset(real, synthetic, held_out=braingan.read_images(theirs))


def test_a_dataset_refuses_edited_slices_of_a_patient_of_whom_other_slices_are_held_out(
    slices: Path, patients: list[str], tmp_path: Path, quick: Options
) -> None:
    part = part_of(slices, tmp_path / "part", patients[:10], numbers={0, 2})
    others = braingan.read_images(part_of(slices, tmp_path / "others", patients, numbers={1, 3}))
    options = quick | {"backend": "paste", "hyperparameters": {}}
    braingan.augment(part, tmp_path / "out", ratio=5.0, **options)
    synthetic = braingan.load_synthetic(tmp_path / "out")
    shown = {name for file in synthetic.files for name in (file.canvas_patient, file.mask_source_patient)}
    known = [number for number, record in enumerate(others.records) if record.group in shown]
    unknown = [number for number in range(len(others)) if number not in known]
    assert len(known) >= 10
    assert len(unknown) >= 4
    real = ImageFolder(str(tmp_path / "out" / "real"))
    for own in (real, braingan.read_images(tmp_path / "out" / "real")):  # which knows the patients of its own, too
        with pytest.raises(LeakageError, match=f"images show the patients of {len(known)} held-out images"):
            AugmentedDataset(own, synthetic, held_out=others)
    AugmentedDataset(real, synthetic, held_out=Subset(others, unknown))
    with pytest.warns(UserWarning, match="show the patients of 1 held-out images"):
        AugmentedDataset(real, synthetic, held_out=Subset(others, [*unknown, known[0]]), allow_leakage=True)


def test_an_honest_generator_is_taken(
    slices: Path, mine: Path, theirs: Path, split: Path, tmp_path: Path, quick: Options
) -> None:
    out = tmp_path / "out"
    braingan.augment(slices, out, split=split, **quick)
    for real in (ImageFolder(str(out / "real")), braingan.read_images(out / "real")):
        mixed = AugmentedDataset(real, braingan.load_synthetic(out), held_out=braingan.read_images(theirs))
        assert len(mixed) > len(real)
        assert mixed.leakage == ()
    again = braingan.augment(mine, tmp_path / "again", generator=out / "generator", test=theirs)
    assert again.leakage == ()


def test_edited_slices_are_no_test_images(mine: Path, inserting: Path, tmp_path: Path) -> None:
    braingan.sample(inserting, tmp_path / "out", count=4)
    held_out = ImageFolder(str(tmp_path / "out"))
    synthetic = braingan.load_synthetic(tmp_path / "out")
    with pytest.raises(LeakageError, match="held-out images are synthetic"):
        AugmentedDataset(braingan.read_images(mine), synthetic, held_out=held_out)
