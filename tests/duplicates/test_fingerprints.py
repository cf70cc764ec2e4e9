"""Fingerprints: 64 bytes that recognise a picture and from which none can be had."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

import braingan
from braingan.data.decoding import read_pixels
from braingan.data.views import VIEW, view_of
from braingan.duplicates.descriptor import describe
from braingan.duplicates.fingerprints import BANDS, fingerprints, matches

Crowd = tuple[np.ndarray, np.ndarray]  # views, the patient of each


def views_of(files: Sequence[Path]) -> np.ndarray:
    return np.stack([view_of(read_pixels(file, None)) for file in files])


def pattern() -> np.ndarray:
    """A view that is the same on every machine: whole numbers only."""
    y, x = np.mgrid[:VIEW, :VIEW]
    return ((7 * x + 13 * y + x * y // 3) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Crowd:
    """Views of 300 slices of 100 phantom patients."""
    folder = tmp_path_factory.mktemp("phantom") / "crowd"
    braingan.phantom(folder, patients=100, slices=3, size=64)
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return views_of([folder / row["file_name"] for row in rows]), np.asarray([row["patient"] for row in rows])


@pytest.fixture(scope="module")
def files(heads: Path) -> list[Path]:
    return sorted(path for path in heads.rglob("*.png") if path.parent.name != "masks")


def test_a_fingerprint_is_64_bytes_and_the_same_on_every_machine() -> None:
    made = fingerprints(np.stack([pattern(), pattern().T, 255 - pattern()]))
    assert (made.shape, made.dtype) == ((3, 64), np.uint8)
    # whatever changes these bytes makes fingerprints that lie on users' disks worthless
    assert made[0, :16].tobytes().hex() == "2bdc71016030bb2a3387291dfbe80da5"
    assert np.array_equal(made[:1], fingerprints(pattern()[None]))


def test_bits_are_balanced_and_those_of_different_heads_differ_in_about_half(crowd: Crowd) -> None:
    views, patients = crowd
    bits = np.unpackbits(fingerprints(views), axis=1).astype(np.float32) * 2 - 1
    assert abs(bits.mean()) < 0.05
    differing = (512 - bits @ bits.T) / 2
    others = differing[patients[:, None] != patients[None]]
    assert abs(np.median(others) - 256) < 5


@pytest.mark.parametrize(
    ("fault", "share"),
    [
        (lambda image, path: image.save(path), 1.0),  # renamed, and without its text
        (lambda image, path: image.convert("RGB").save(path), 1.0),
        (lambda image, path: image.save(path.with_suffix(".bmp")), 1.0),
        (lambda image, path: image.save(path.with_suffix(".jpg"), quality=95), 0.8),
        (lambda image, path: ImageOps.mirror(image).save(path), 1.0),
        (lambda image, path: ImageOps.flip(image).save(path), 1.0),
        (lambda image, path: image.rotate(180).save(path), 1.0),
        (lambda image, path: image.resize((256, 256), Image.Resampling.BICUBIC).save(path), 0.8),
        (lambda image, path: image.resize((192, 192), Image.Resampling.BICUBIC).save(path), 0.8),
        (lambda image, path: image.resize((115, 115), Image.Resampling.BICUBIC).save(path), 0.8),
        (lambda image, path: image.resize((64, 64), Image.Resampling.BICUBIC).save(path), 0.8),
    ],
    ids=["PNG", "RGB", "BMP", "JPEG", "mirrored", "upside down", "turned round", "200 %", "150 %", "90 %", "50 %"],
)
def test_a_picture_is_recognised_under_another_name_encoding_and_size(
    files: list[Path], tmp_path: Path, fault: Callable[[Image.Image, Path], None], share: float
) -> None:
    for number, file in enumerate(files):
        with Image.open(file) as image:
            fault(image, tmp_path / f"{number:02d}.png")
    copies = views_of(sorted(tmp_path.iterdir()))
    found = matches(copies, fingerprints(views_of(files)))
    assert all(one == other for one, other in found)
    assert len(found) >= share * len(files)


def test_no_picture_of_another_patient_is_taken_for_one_that_is_known(crowd: Crowd) -> None:
    views, patients = crowd
    found = matches(views, fingerprints(views))
    assert {number for number, other in found if number == other} == set(range(len(views)))
    assert [(one, two) for one, two in found.tolist() if patients[one] != patients[two]] == []


def test_blank_views_have_an_empty_fingerprint_and_match_nothing(crowd: Crowd) -> None:
    views, _ = crowd
    blank = np.zeros((3, VIEW, VIEW), np.uint8)
    known = fingerprints(np.concatenate([blank, views[:5]]))
    assert not known[:3].any()
    assert len(matches(blank, known)) == 0
    assert matches(views[:5], known).tolist() == [[number, number + 3] for number in range(5)]
    assert fingerprints(blank[:0]).shape == (0, 64)
    assert matches(views[:5], known[:0]).shape == (0, 2)
    assert matches(blank[:0], known).shape == (0, 2)


def test_no_picture_can_be_recovered_by_a_decoder_that_was_fitted_to_hundreds_of_others(crowd: Crowd) -> None:
    """Ridge regression from what is known to the pixels, judged on other patients, as an attacker would."""
    views, patients = crowd
    pixels = views.reshape(len(views), 32, 2, 32, 2).mean(axis=(2, 4)).reshape(len(views), -1)
    unseen = np.isin(patients, np.unique(patients)[::5])
    residual = pixels - pixels[~unseen].mean(axis=0)
    bits = np.unpackbits(fingerprints(views), axis=1) * 2.0 - 1
    best = max(_recovered(bits, residual, unseen, ridge) for ridge in (1, 100, 1e4))
    control = _recovered(describe(views, BANDS) * 20.0, residual, unseen, 10)
    assert control > 0.7  # the attack works where there is something to be had
    assert best < 0.2


def _recovered(known: np.ndarray, residual: np.ndarray, unseen: np.ndarray, ridge: float) -> float:
    """Correlation of the decoded with the true pixels of unseen images, the mean image taken away."""
    seen = known[~unseen]
    decoder = np.linalg.solve(seen.T @ seen + ridge * np.eye(seen.shape[1]), seen.T @ residual[~unseen])
    return float(np.corrcoef((known[unseen] @ decoder).ravel(), residual[unseen].ravel())[0, 1])
