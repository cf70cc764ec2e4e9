"""`inspect` on real MRI, against what can be counted without it; skipped where the images are not."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braingan import Inspection
from braingan.duplicates.descriptor import describe
from braingan.duplicates.fingerprints import BANDS, fingerprints, matches
from braingan.inspection.advice import Facts
from braingan.inspection.inspecting import inspect_folders

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real images are not in {SHARED}")

PartOf = Callable[[Path, int], Path]
Inspect = Callable[[str, int], tuple[Inspection, Facts]]
Told = Callable[[str, int], Inspection]

# A quarter shows the same; the whole takes minutes.
a_quarter_or_all = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])

# Looked at one by one: the same slice as another, cut out differently, so that small copies do not correlate by 0.99.
CUT_OUT_DIFFERENTLY = {
    "yes/Y163.JPG", "yes/Y49.JPG",  # = Y107, Y33
    "yes/Y112.JPG", "yes/Y146.JPG",
    "yes/Y113.JPG", "yes/Y59.JPG",
    "yes/Y155.JPG",  # = Y55, Y74
    "yes/Y160.JPG", "yes/Y50.JPG",
    "yes/Y161.JPG",  # = Y61, Y71
    "yes/Y195.JPG", "yes/Y26.jpg",
    "yes/Y255.JPG",  # = Y30, Y38, Y54, Y70
    "yes/Y36.JPG", "yes/Y65.JPG",
}  # fmt: skip


@pytest.fixture(scope="module")
def look_at(part_of: PartOf) -> Inspect:
    """The inspection of every so-manieth patient or image of a set, made once, and what it was made from."""
    return cache(lambda name, every: inspect_folders(part_of(SHARED / name, every), None))


@pytest.fixture(scope="module")
def inspected(look_at: Inspect) -> Told:
    """The inspection alone."""
    return lambda name, every: look_at(name, every)[0]


def files_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def small(file: Path) -> np.ndarray:
    """32 x 32 grey pixels as a vector of length one, the mean removed."""
    with Image.open(file) as image:
        pixels = np.asarray(image.convert("L").resize((32, 32), Image.Resampling.BILINEAR), np.float64).ravel()
    pixels = pixels - pixels.mean()
    vector: np.ndarray = pixels / max(float(np.linalg.norm(pixels)), 1e-9)
    return vector


def contents(files: list[Path]) -> list[str]:
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def test_images_of_kaggle_yesno_that_are_nearly_equal_are_found_and_no_others(inspected: Told) -> None:
    data = SHARED / "kaggle-yesno"
    files = files_in(data)
    names = [file.relative_to(data).as_posix() for file in files]
    vectors = np.stack([small(file) for file in files])
    alike = np.argwhere(np.triu(vectors @ vectors.T >= 0.99, 1))
    group = {name: number for number, own in enumerate(inspected("kaggle-yesno", 1).duplicate_groups) for name in own}
    found = [(names[one], names[two]) for one, two in alike
             if group.get(names[one], -1) == group.get(names[two], -2)]  # fmt: skip
    assert len(alike) == 60
    assert len(found) >= 56
    assert set(group) - {names[number] for number in alike.ravel()} <= CUT_OUT_DIFFERENTLY


def test_kaggle_yesno_has_no_patients_and_gives_its_sources_away(inspected: Told) -> None:
    inspection = inspected("kaggle-yesno", 1)
    assert inspection.classes == {"no": 98, "yes": 155}
    assert inspection.patients is None
    assert any("a random split would put twins on both sides" in line for line in inspection.serious)
    assert inspection.shortcut["yes"]["flagged"]
    assert inspection.bad_files == []


@a_quarter_or_all
def test_test_images_of_kaggle_4class_that_stand_in_training_are_found(
    inspected: Told, part_of: PartOf, every: int
) -> None:
    data = part_of(SHARED / "kaggle-4class", every)
    train, test = files_in(data / "Training"), files_in(data / "Testing")
    names = np.asarray([file.relative_to(data).as_posix() for file in test])
    crossed = inspected("kaggle-4class", every).cross_folder
    assert crossed is not None
    files = set(crossed["files"])
    known = set(contents(train))
    identical = {str(name) for name, content in zip(names, contents(test), strict=True) if content in known}
    assert len(identical) == crossed["identical"] == {1: 41, 4: 3}[every]
    assert identical <= files
    best = np.stack([small(file) for file in test]) @ np.stack([small(file) for file in train]).T
    close = set(names[best.max(axis=1) >= 0.99].tolist())
    assert len(close) == {1: 120, 4: 10}[every]
    assert len(close & files) >= 0.93 * len(close)


@a_quarter_or_all
def test_what_stands_in_both_parts_of_kaggle_4class_is_told_and_makes_a_look_up_look_good(
    inspected: Told, every: int
) -> None:
    inspection = inspected("kaggle-4class", every)
    crossed = inspection.cross_folder
    assert crossed is not None
    assert inspection.parts["train"]["images"] == 4 * -(-450 // every)
    assert inspection.parts["test"]["images"] == 4 * -(-150 // every)
    assert sum(crossed["per_class"].values()) == crossed["test_images_with_twin"] == len(crossed["files"])
    assert crossed["lookup"]["accuracy"] > crossed["lookup"]["accuracy_without"] + 0.03
    assert inspection.shortcut["notumor"]["flagged"]  # which comes from another source
    assert all(file.startswith("Testing/") for file in crossed["files"])
    assert all(file.startswith("Training/") for group in inspection.duplicate_groups for file in group)


@a_quarter_or_all
def test_nothing_serious_is_found_in_lgg_flair(inspected: Told, every: int) -> None:
    inspection = inspected("lgg-flair", every)
    assert inspection.serious == []  # --strict passes
    assert inspection.duplicates == inspection.duplicate_groups == []
    assert (inspection.images, inspection.patients) == {1: (1726, 55), 4: (435, 14)}[every]
    for told in inspection.shortcut.values():
        assert told["balanced_accuracy"] < 0.70
        assert not told["flagged"]
    assert 0.05 < inspection.minimum_detectable_effect < 0.3  # type: ignore[operator]


@pytest.mark.slow
def test_no_picture_of_cheng_stands_under_two_patients(inspected: Told) -> None:
    inspection = inspected("cheng", 1)
    assert (inspection.images, inspection.patients) == (1727, 120)
    assert inspection.duplicates == []
    assert not any("patient ids" in line for line in inspection.serious)


@pytest.mark.parametrize(
    ("name", "every"),
    [("lgg-flair", 4), *(pytest.param(name, 1, marks=pytest.mark.slow) for name in ("lgg-flair", "cheng"))],
)
def test_fingerprints_of_real_heads_match_no_other_patient_and_give_no_picture_away(
    look_at: Inspect, name: str, every: int
) -> None:
    train = look_at(name, every)[1].train
    views, patients = train.looks.views, np.asarray(train.groups)
    known = fingerprints(views)
    found = matches(views, known)
    assert len({one for one, two in found.tolist() if one == two}) == len(views)
    assert [pair for pair in found.tolist() if patients[pair[0]] != patients[pair[1]]] == []
    pixels = views.reshape(len(views), 32, 2, 32, 2).mean(axis=(2, 4)).reshape(len(views), -1)
    unseen = np.isin(patients, np.unique(patients)[::5])
    residual = pixels - pixels[~unseen].mean(axis=0)
    bits = np.unpackbits(known, axis=1) * 2.0 - 1
    best = max(_recovered(bits, residual, unseen, ridge) for ridge in (1, 100, 1e4))
    assert _recovered(describe(views, BANDS) * 20.0, residual, unseen, 10) > 0.7  # where there is something to be had
    assert best < 0.1


def _recovered(known: np.ndarray, residual: np.ndarray, unseen: np.ndarray, ridge: float) -> float:
    """Correlation of what ridge regression decodes with the true pixels of unseen patients, the mean taken away."""
    seen = known[~unseen]
    decoder = np.linalg.solve(seen.T @ seen + ridge * np.eye(seen.shape[1]), seen.T @ residual[~unseen])
    return float(np.corrcoef((known[unseen] @ decoder).ravel(), residual[unseen].ravel())[0, 1])
