"""Twins: the same picture is found whatever was done to the file, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from braingan.data.decoding import read_pixels
from braingan.data.files import sha256_of
from braingan.data.views import VIEW, view_of
from braingan.duplicates.twins import Looks, Twin, find_twins, find_twins_across

Alter = Callable[[Image.Image], Image.Image]


@dataclass(frozen=True)
class Fault:
    """What can be done to a picture, and what its twins may then be called."""

    alter: Alter
    kinds: tuple[str, ...]
    suffix: str = ".png"
    options: tuple[tuple[str, Any], ...] = ()

    def write(self, picture: Path, folder: Path) -> Path:
        """The picture after the fault, as a file of another name."""
        path = folder / f"{picture.parent.name}-{picture.stem}-copy{self.suffix}"
        with Image.open(picture) as image:
            self.alter(image).save(path, **dict(self.options))
        return path


def as_it_is(image: Image.Image) -> Image.Image:
    return image.copy()


def resized(share: float) -> Alter:
    return lambda image: image.resize(
        (round(image.width * share), round(image.height * share)), Image.Resampling.BICUBIC
    )


def cropped(image: Image.Image) -> Image.Image:
    """Without 5 % of its width and height, half of it at each side."""
    x, y = round(image.width * 0.025), round(image.height * 0.025)
    return image.crop((x, y, image.width - x, image.height - y))


def curved(gamma: float) -> Alter:
    return lambda image: image.point(lambda value: round(255 * (value / 255) ** gamma))


ENCODED, ALTERED = ("re-encoded",), ("altered",)
FAULTS = {
    "brightness x1.3": Fault(lambda image: image.point(lambda value: min(255, round(value * 1.3))), ENCODED),
    "gamma 0.8": Fault(curved(0.8), ENCODED),
    "gamma 1.1": Fault(curved(1.1), ENCODED),
    "JPEG 30": Fault(as_it_is, ENCODED, ".jpg", (("quality", 30),)),
    "BMP": Fault(as_it_is, ENCODED, ".bmp"),
    "TIFF": Fault(as_it_is, ENCODED, ".tif"),
    "RGB": Fault(lambda image: image.convert("RGB"), ENCODED),
    "16 bits": Fault(lambda image: Image.fromarray(np.asarray(image).astype(np.uint16) * 257), ENCODED),
    "90 %": Fault(resized(0.9), ENCODED),
    "50 %": Fault(resized(0.5), ENCODED),
    "200 %": Fault(resized(2.0), ENCODED),
    "black margin": Fault(lambda image: ImageOps.expand(image, border=(30, 12), fill=0), ENCODED),
    "cropped": Fault(cropped, ENCODED),
    "cropped at one side": Fault(lambda image: image.crop((0, 0, image.width, round(image.height * 0.94))), ENCODED),
    "mirrored": Fault(ImageOps.mirror, ALTERED),
    "upside down": Fault(ImageOps.flip, ALTERED),
    "turned round": Fault(lambda image: image.rotate(180), ALTERED),
    "rotated 1.5 degrees": Fault(lambda image: image.rotate(1.5, Image.Resampling.BICUBIC), ALTERED),
    "rotated 5 degrees": Fault(lambda image: image.rotate(5, Image.Resampling.BICUBIC), ALTERED),
}


def looks_at(files: Sequence[Path]) -> Looks:
    views = [view_of(read_pixels(file, None)) for file in files]
    return Looks(np.stack(views), [sha256_of(file) for file in files])


def pairs(twins: Sequence[Twin]) -> set[tuple[int, int]]:
    return {(twin.first, twin.second) for twin in twins}


def patient_of(file: Path) -> str:
    return file.name[:5]


@pytest.fixture(scope="module")
def files(heads: Path) -> list[Path]:
    return sorted(path for path in heads.rglob("*.png") if path.parent.name != "masks")


@pytest.fixture(scope="module")
def originals(files: list[Path]) -> Looks:
    return looks_at(files)


@pytest.fixture(scope="module")
def altered(files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Looks]:
    """All pictures after a fault."""

    @cache
    def look(fault: str) -> Looks:
        folder = tmp_path_factory.mktemp("altered")
        return looks_at([FAULTS[fault].write(file, folder) for file in files])

    return look


@pytest.fixture(scope="module")
def found_after(originals: Looks, altered: Callable[[str], Looks]) -> Callable[[str], list[Twin]]:
    """Twins of all pictures after a fault, among the originals."""
    return cache(lambda fault: find_twins_across(altered(fault), originals))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_picture_is_found_after_any_fault_and_no_other_is_taken_for_it(
    originals: Looks, found_after: Callable[[str], list[Twin]], fault: str
) -> None:
    found = found_after(fault)
    assert pairs(found) == {(number, number) for number in range(len(originals))}
    assert all(0.9 < twin.score <= 1 + 1e-6 for twin in found)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_twin_is_called_what_was_done_to_it(found_after: Callable[[str], list[Twin]], fault: str) -> None:
    kinds = {twin.kind for twin in found_after(fault)}
    assert kinds
    assert kinds <= set(FAULTS[fault].kinds)


def test_a_copy_of_a_file_is_identical_and_the_same_pixels_in_another_file_are_not(
    files: list[Path], tmp_path: Path
) -> None:
    copy, again = tmp_path / "copy.png", tmp_path / "again.png"
    shutil.copy(files[0], copy)
    with Image.open(files[0]) as image:
        image.save(again)  # without the text of the original
    found = find_twins_across(looks_at([copy, again]), looks_at(files))
    assert [(twin.first, twin.second, twin.kind) for twin in found] == [(0, 0, "identical"), (1, 0, "re-encoded")]
    assert found[0].score == 1


def test_slices_of_different_patients_are_no_twins(files: list[Path], originals: Looks) -> None:
    assert find_twins(originals, [patient_of(file) for file in files]) == []
    assert find_twins(originals, [file.name for file in files]) == []


def test_slices_of_one_patient_are_no_twins_unless_they_are_identical(files: list[Path], tmp_path: Path) -> None:
    mirrored = FAULTS["mirrored"].write(files[0], tmp_path)
    encoded = FAULTS["JPEG 30"].write(files[0], tmp_path)
    copy = Path(shutil.copy(files[0], tmp_path / "copy.png"))
    looks = looks_at([*files, mirrored, encoded, copy])
    own = [patient_of(file) for file in files]
    count = len(files)
    found = find_twins(looks, [*own, own[0], own[0], own[0]])
    assert [(twin.first, twin.second, twin.kind) for twin in found] == [(0, count + 2, "identical")]
    other = find_twins(looks, [*own, "P9998", own[0], "P9999"])
    assert {(twin.first, twin.second, twin.kind) for twin in other} == {
        (0, count, "altered"),
        (count, count + 1, "altered"),
        (0, count + 2, "identical"),  # of identical ones the first stands for all
    }


def test_copies_within_a_set_are_found_whichever_fault_each_has(files: list[Path], tmp_path: Path) -> None:
    some = [file for file in files if file.stem.endswith("_00")]
    faults = ["mirrored", "JPEG 30", "16 bits", "rotated 5 degrees", "90 %", "cropped"]
    copies = [FAULTS[fault].write(file, tmp_path) for fault, file in zip(faults, some, strict=False)]
    found = find_twins(looks_at([*some, *copies]), [str(number) for number in range(len(some) + len(copies))])
    assert pairs(found) == {(number, number + len(some)) for number in range(len(copies))}
    assert all(twin.first < twin.second for twin in found)


def test_images_that_show_nothing_match_nothing(originals: Looks, tmp_path: Path) -> None:
    sizes = [(1, 1), (1, 1), (64, 64), (64, 64), (90, 70), (64, 64), (128, 128), (128, 128), (5, 400)]
    blank = [tmp_path / f"{number}.png" for number in range(len(sizes))]
    for file, size, level in zip(blank, sizes, (0, 255, 0, 0, 0, 255, 255, 90, 30), strict=True):
        Image.new("L", size, level).save(file)
    looks = looks_at(blank)
    names = [file.name for file in blank]
    assert len(set(looks.hashes)) < len(looks)  # also byte-identical ones say nothing
    assert find_twins(looks, names) == []
    assert find_twins(looks, ["one"] * len(looks)) == []
    assert find_twins_across(looks, looks) == []
    together = Looks(np.concatenate([originals.views, looks.views]), [*originals.hashes, *looks.hashes])
    assert find_twins(together, [str(number) for number in range(len(together))]) == []
    assert find_twins_across(looks, originals) == find_twins_across(originals, looks) == []


def test_no_image_and_one_image_have_no_twins(originals: Looks) -> None:
    empty = Looks(np.zeros((0, VIEW, VIEW), np.uint8), [])
    one = Looks(originals.views[:1], originals.hashes[:1])
    assert find_twins(empty, []) == find_twins(one, ["a"]) == []
    assert find_twins_across(empty, one) == find_twins_across(one, empty) == []
    assert [(twin.first, twin.second, twin.kind) for twin in find_twins_across(one, one)] == [(0, 0, "identical")]


def test_what_is_found_depends_neither_on_the_order_of_the_images_nor_on_the_day(
    originals: Looks, altered: Callable[[str], Looks]
) -> None:
    every = [originals, altered("JPEG 30"), altered("mirrored")]
    looks = Looks(
        np.concatenate([each.views[::3] for each in every]), [name for each in every for name in each.hashes[::3]]
    )
    groups = [str(number) for number in range(len(looks))]
    found = find_twins(looks, groups)
    assert len(pairs(found)) == len(looks)  # each of three with both others
    assert find_twins(looks, groups) == found
    order = np.random.default_rng(0).permutation(len(looks))
    mixed = find_twins(
        Looks(looks.views[order], [looks.hashes[number] for number in order]), [groups[number] for number in order]
    )
    back = [(*sorted((int(order[twin.first]), int(order[twin.second]))), twin.kind) for twin in mixed]
    assert set(back) == {(twin.first, twin.second, twin.kind) for twin in found}
    assert len(back) == len(found)


def test_twins_of_two_sets_are_the_same_from_either_side(files: list[Path], originals: Looks, tmp_path: Path) -> None:
    faults = ["mirrored", "JPEG 30", "rotated 5 degrees", "200 %"]
    others = looks_at([FAULTS[fault].write(files[2 * number], tmp_path) for number, fault in enumerate(faults)])
    there, back = find_twins_across(others, originals), find_twins_across(originals, others)
    assert [(twin.first, twin.second) for twin in there] == [(0, 0), (1, 2), (2, 4), (3, 6)]
    assert {(twin.second, twin.first, twin.kind) for twin in back} == {
        (twin.first, twin.second, twin.kind) for twin in there
    }
