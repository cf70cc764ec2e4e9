"""Every door that a leak can come through: generators that have seen held-out pictures, in whatever disguise."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset, Subset
from torchvision import transforms
from torchvision.datasets import ImageFolder

import braingan
from braingan import AugmentedDataset, LeakageError, Split
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import split_by_group, split_files
from braingan.duplicates.seen import SEEN

BRAINGAN = str(Path(sys.executable).parent / "braingan")

Options = dict[str, Any]
Disguise = Callable[[Image.Image, Path], None]  # writes a picture to a path without a suffix


def resized(share: float) -> Disguise:
    def write(image: Image.Image, path: Path) -> None:
        size = round(image.width * share), round(image.height * share)
        image.resize(size, Image.Resampling.BICUBIC).save(path.with_suffix(".png"))

    return write


# How many of the pictures must be recognised at least: phantoms of 64 pixels lose more in a JPEG than real images do.
DISGUISES: dict[str, tuple[Disguise, float]] = {
    "renamed": (lambda image, path: image.save(path.with_suffix(".png")), 1.0),
    "half": (resized(0.5), 0.1),  # 32 pixels
    "150 %": (resized(1.5), 0.5),
    "JPEG 60": (lambda image, path: image.save(path.with_suffix(".jpg"), quality=60), 0.5),
    "BMP": (lambda image, path: image.save(path.with_suffix(".bmp")), 1.0),
    "RGB": (lambda image, path: image.convert("RGB").save(path.with_suffix(".png")), 1.0),
    "mirrored": (lambda image, path: ImageOps.mirror(image).save(path.with_suffix(".png")), 1.0),
}
MIXED = "all sorts"

Pictures = Sequence[tuple[Path, str]]  # files and their classes


@dataclass(frozen=True)
class Study:
    """What a user has.

    Attributes:
        data: 15 phantom patients.
        split: by patient.
        own: the pictures of its test part.
        test: a folder of six other patients.
        other: its pictures.
    """

    data: Path
    split: Path
    own: Pictures
    test: Path
    other: Pictures


def write_folder(folder: Path, pictures: Pictures, disguise: str) -> Path:
    """Class folders with the pictures under other names, and without patients."""
    ways = [write for write, _ in DISGUISES.values()] if disguise == MIXED else [DISGUISES[disguise][0]]
    for number, (file, label) in enumerate(pictures):
        (folder / label).mkdir(parents=True, exist_ok=True)
        with Image.open(file) as image:
            ways[number % len(ways)](image, folder / label / f"case{number:03d}")
    return folder


def pictures_of(folder: Path) -> Pictures:
    return [
        (path, path.parent.name) for path in sorted(folder.rglob("*.*")) if path.parent.name in {"tumor", "no_tumor"}
    ]


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    base = tmp_path_factory.mktemp("study")
    braingan.phantom(base / "data", patients=15, slices=3, size=64)
    prepared = prepare_folder(base / "data", Preprocessing(size=32), base / "cache")
    split = split_by_group(prepared, seed=0)
    split.save(base / "split.json")
    braingan.phantom(base / "drawn", patients=6, slices=3, size=64, seed=13)
    for label in ("no_tumor", "tumor"):  # without patients, whose ids are the same as in the data
        shutil.copytree(base / "drawn" / label, base / "test" / label)
    own = [(base / "data" / file.file, file.label) for file in split.test]
    return Study(base / "data", base / "split.json", own, base / "test", pictures_of(base / "test"))


@pytest.fixture(scope="module")
def leaky(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Options], Path]:
    """A generator that was trained on all held-out pictures in a disguise."""
    made: dict[str, Path] = {}

    def train(disguise: str, tiny: Options) -> Path:
        if disguise not in made:
            base = tmp_path_factory.mktemp("leaky")
            braingan.train(write_folder(base / "found", [*study.own, *study.other], disguise), base / "run", **tiny)
            made[disguise] = base / "run"
        return made[disguise]

    return train


@pytest.fixture
def honest(study: Study, tmp_path: Path, tiny: Options) -> Path:
    """A generator that was trained on the training part."""
    braingan.train(study.data, tmp_path / "honest", **tiny, split=study.split)
    return tmp_path / "honest"


@pytest.fixture
def judged(tiny_model: str) -> Options:
    """Options of a benchmark of a given generator that takes a second."""
    arms = ["real", "combined"]
    return {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": arms, "inspection": False}


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [BRAINGAN, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def refused(message: str, pictures: Pictures, share: float) -> None:
    """Whether a message counts and names held-out pictures."""
    found = re.search(r"leak: .* trained on (\d+) held-out images.*\((.*?)\)", message)
    assert found, message
    assert share * len(pictures) <= int(found[1]) <= len(pictures)
    names = [Path(name).name for name in found[2].removesuffix(", ...").split(", ")]
    assert names
    assert set(names) <= {file.name for file, _ in pictures}
    assert "\n" not in message


# --- the command line ---------------------------------------------------------------------------------------------


# The other two commands are slow, as Python's functions are tried with just these options below.
DOORS = [
    ("augment", "--split"),
    ("benchmark", "--test"),
    pytest.param("augment", "--test", marks=pytest.mark.slow),
    pytest.param("benchmark", "--split", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("command", "option"), DOORS)
def test_a_process_refuses_a_generator_that_has_seen_held_out_pictures(
    study: Study, leaky: Callable[[str, Options], Path], tmp_path: Path, tiny: Options, command: str, option: str
) -> None:
    held_out, pictures = (study.split, study.own) if option == "--split" else (study.test, study.other)
    quick = ["--classifier-steps", 1, "--seeds", 1] if command == "benchmark" else []  # should it go on
    done = run(command, study.data, tmp_path / "out", "--generator", leaky(MIXED, tiny), option, held_out, *quick)
    assert done.returncode == 2
    assert done.stdout == ""
    *log, last = done.stderr.splitlines()
    assert last.startswith("error: leak: ")
    refused(last, pictures, 0.7)
    assert "--allow-leakage" in last
    assert all("no patient ids" in line for line in log)
    assert not (tmp_path / "out" / "asked.json").exists()


# --- each disguise ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_disguise_gets_through_any_door(
    study: Study, leaky: Callable[[str, Options], Path], tmp_path: Path, tiny: Options, judged: Options, disguise: str
) -> None:
    generator, share = leaky(disguise, tiny), DISGUISES[disguise][1]
    with pytest.raises(LeakageError) as caught:
        braingan.benchmark(study.data, tmp_path / "out", **judged, generator=generator, split=study.split)
    refused(str(caught.value), study.own, share)
    with pytest.raises(LeakageError) as caught:
        braingan.augment(study.data, tmp_path / "out", generator=generator, test=study.test)
    refused(str(caught.value), study.other, share)
    braingan.sample(generator, tmp_path / "drawn", count=2)
    with pytest.raises(LeakageError) as caught:
        AugmentedDataset(
            ImageFolder(study.data, allow_empty=True, is_valid_file=no_mask),
            braingan.load_synthetic(tmp_path / "drawn"),
            held_out=ImageFolder(study.test),
        )
    refused(str(caught.value), study.other, share)


def no_mask(path: str) -> bool:
    return Path(path).suffix == ".png" and Path(path).parent.name != "masks"


class Tensors(Dataset[Any]):
    """Somebody's own dataset, which is all in memory."""

    classes = ("no_tumor", "tumor")

    def __init__(self, pictures: Pictures, kind: str) -> None:
        self.items = [(self._tensor(file, kind), self.classes.index(label)) for file, label in pictures]

    @staticmethod
    def _tensor(file: Path, kind: str) -> Any:
        with Image.open(file) as image:
            pixels = torch.from_numpy(np.array(image))
        if kind == "uint8":
            return pixels[None].repeat(3, 1, 1)
        if kind == "normalised":
            return (pixels[None] / 255 - 0.485) / 0.229
        if kind == "16 bits":
            return Image.fromarray(pixels.numpy().astype(np.uint16) * 200)
        return pixels.float()  # without channels

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self.items[index]


class Trusting(ImageFolder):
    """A dataset that calls its transform without asking whether there is one."""

    def __getitem__(self, index: int) -> tuple[Any, int]:
        file, label = self.samples[index]
        with Image.open(file) as image:
            return self.transform(image.convert("L")), label


CHANGING = transforms.Compose([transforms.RandomResizedCrop(24, scale=(0.1, 0.2)), transforms.ToTensor()])
HELD_OUT: dict[str, Callable[[Study], Any]] = {
    "a folder": lambda study: ImageFolder(study.test),
    "a folder with a transform": lambda study: ImageFolder(study.test, transform=CHANGING),
    "a subset with a transform": lambda study: Subset(ImageFolder(study.test, transform=CHANGING), [0, 5, 7]),
    "a subset of a subset": lambda study: Subset(Subset(ImageFolder(study.test), [0, 5, 7, 8]), [2, 3]),
    "a dataset that trusts in its transform": lambda study: Trusting(study.test, transform=transforms.ToTensor()),
    "a subset of a list": lambda study: Subset(Tensors(study.other, "uint8").items, [0, 5, 7]),  # type: ignore[arg-type]
    "tensors": lambda study: Tensors(study.other, "uint8"),
    "tensors without channels": lambda study: Tensors(study.other, "flat"),
    "normalised tensors": lambda study: Tensors(study.other, "normalised"),
    "16 bits": lambda study: Tensors(study.other, "16 bits"),
    "read_images": lambda study: braingan.read_images(study.test),
    "read_images with a transform": lambda study: braingan.read_images(study.test, transform=CHANGING),
}


@pytest.mark.parametrize("kind", HELD_OUT)
def test_any_dataset_can_be_held_out(
    study: Study, leaky: Callable[[str, Options], Path], tmp_path: Path, tiny: Options, kind: str
) -> None:
    braingan.sample(leaky("mirrored", tiny), tmp_path / "drawn", count=2)
    synthetic, held_out = braingan.load_synthetic(tmp_path / "drawn"), HELD_OUT[kind](study)
    transform = getattr(held_out, "transform", None)
    with pytest.raises(LeakageError, match=rf"leak: .* trained on {len(held_out)} held-out images") as caught:
        AugmentedDataset(braingan.read_images(study.data), synthetic, held_out=held_out)
    assert ".png" in str(caught.value) or "(item 0, item " in str(caught.value)
    assert getattr(held_out, "transform", None) is transform  # the caller's object is left alone


def test_what_is_no_image_cannot_be_held_out(
    study: Study, leaky: Callable[[str, Options], Path], tmp_path: Path, tiny: Options
) -> None:
    braingan.sample(leaky("mirrored", tiny), tmp_path / "drawn", count=2)
    held_out = Tensors([], "uint8")
    held_out.items = [(np.zeros((8, 8)), 0)]
    with pytest.raises(braingan.DataError, match="held_out gives ndarray; PIL images or tensors"):
        AugmentedDataset(
            braingan.read_images(study.data), braingan.load_synthetic(tmp_path / "drawn"), held_out=held_out
        )


def test_synthetic_images_that_do_not_say_what_was_seen_are_refused(
    study: Study, leaky: Callable[[str, Options], Path], tmp_path: Path, tiny: Options, judged: Options
) -> None:
    shutil.copytree(leaky("renamed", tiny), tmp_path / "run")
    braingan.sample(tmp_path / "run", tmp_path / "drawn", count=1)
    (tmp_path / "drawn" / SEEN).unlink()
    (tmp_path / "run" / SEEN).unlink()
    with pytest.raises(braingan.OutputError, match="does not say what its generator has seen"):
        braingan.load_synthetic(tmp_path / "drawn")
    with pytest.raises(braingan.OutputError, match="does not say what its generator has seen"):
        braingan.benchmark(study.data, tmp_path / "out", **judged, generator=tmp_path / "run", split=study.split)


def test_a_generator_that_has_seen_the_other_sites_images_is_refused(
    study: Study, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    braingan.train(write_folder(tmp_path / "found", study.other, "mirrored"), tmp_path / "run", **tiny)
    options = judged | {"generator": tmp_path / "run", "split": study.split, "external": study.test}
    with pytest.raises(LeakageError) as caught:
        braingan.benchmark(study.data, tmp_path / "out", **options)
    refused(str(caught.value), study.other, 1.0)
    assert not (tmp_path / "out" / "asked.json").exists()
    allowed = braingan.benchmark(study.data, tmp_path / "out", **options, allow_leakage=True)
    assert len(allowed.leakage) == 1


def test_a_generator_that_has_seen_the_other_sites_patients_is_refused(
    write_data: Any, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    data, site, later = write_data("data"), write_data("site", seed=8), write_data("later", patients=3, seed=9)
    table = later / "metadata.csv"
    table.write_text(table.read_text().replace("later-P00", "site-P00"))  # seen again, in other pictures
    braingan.train(site, tmp_path / "run", **tiny)
    with pytest.raises(LeakageError, match=r"trained on 4 held-out images or on others of their patients"):
        braingan.benchmark(data, tmp_path / "out", **judged, generator=tmp_path / "run", external=later)


def test_a_generator_that_has_seen_what_limits_leave_out_is_refused(
    study: Study, honest: Path, tmp_path: Path, judged: Options
) -> None:
    options = judged | {"generator": honest, "split": study.split, "limit": {"tumor": 3}}
    with pytest.raises(LeakageError, match=r"trained on \d+ images that limits leave out of the training part"):
        braingan.benchmark(study.data, tmp_path / "out", **options)
    assert not (tmp_path / "out" / "asked.json").exists()
    allowed = braingan.benchmark(study.data, tmp_path / "out", **options, allow_leakage=True)
    assert len(allowed.leakage) == 1


def test_a_generator_that_knows_the_validation_images_beside_a_test_folder_is_told_of(
    study: Study, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    braingan.train(study.data, tmp_path / "run", **tiny)
    result = braingan.benchmark(study.data, tmp_path / "out", **judged, test=study.test, generator=tmp_path / "run")
    count = len(result.split["val"])
    assert result.leakage == []
    assert any(f"has learned from {count} of the {count} validation images" in note for note in result.notes)


# --- honest generators --------------------------------------------------------------------------------------------


def test_an_honest_generator_passes_every_door(
    study: Study, honest: Path, tmp_path: Path, judged: Options, caplog: pytest.LogCaptureFixture
) -> None:
    result = braingan.benchmark(study.data, tmp_path / "a", **judged, generator=honest, split=study.split)
    assert result.leakage == []
    assert "LEAKAGE" not in (tmp_path / "a" / "report.html").read_text()
    mixed = braingan.augment(study.data, tmp_path / "b", generator=honest, split=study.split, test=study.test)
    assert mixed.synthetic.leakage == ()
    assert json.loads((tmp_path / "b" / "config.json").read_text())["leakage"] == []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for held_out in (braingan.read_images(study.test), Tensors(study.own, "uint8")):
            AugmentedDataset(
                ImageFolder(tmp_path / "b" / "real"), braingan.load_synthetic(tmp_path / "b"), held_out=held_out
            )
    assert "leak" not in caplog.text
    assert "same picture" not in caplog.text


def test_an_honest_generator_of_a_benchmark_with_a_test_folder_passes_the_same_again(
    study: Study, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    braingan.benchmark(study.data, tmp_path / "first", **(tiny | judged), test=study.test)
    generator = tmp_path / "first" / "generators" / "fold0-seed0"
    result = braingan.benchmark(study.data, tmp_path / "again", **judged, test=study.test, generator=generator)
    assert result.leakage == []
    assert not any("validation images" in note for note in result.notes)


@pytest.fixture
def sharing(study: Study, tmp_path: Path) -> Path:
    """The test folder, and copies of three pictures of the data's training part in it, two of them mirrored."""
    shutil.copytree(study.test, tmp_path / "sharing")
    training = Split.load(study.split).train[:3]
    for number, file in enumerate(training):
        path = tmp_path / "sharing" / file.label / f"shared{number}.png"
        shutil.copy(study.data / file.file, path)
        if number:
            with Image.open(study.data / file.file) as image:
                ImageOps.mirror(image).save(path)
    return tmp_path / "sharing"


def test_an_honest_generator_is_not_blamed_where_training_and_test_share_pictures(
    study: Study, honest: Path, sharing: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    braingan.augment(study.data, tmp_path / "out", generator=honest, split=study.split, test=sharing)
    said = [line for line in caplog.messages if "same picture" in line]
    assert len(said) == 1
    assert re.search(r"^3 held-out images \(.*shared0\.png.*\) show the same picture as training images", said[0])
    assert "the data's doing, not the generator's" in said[0]
    real, synthetic = ImageFolder(tmp_path / "out" / "real"), braingan.load_synthetic(tmp_path / "out")
    with pytest.warns(UserWarning, match=r"^3 held-out images .*shared0\.png.*the data's doing, not the generator's"):
        AugmentedDataset(real, synthetic, held_out=braingan.read_images(sharing))


def test_a_test_folder_that_shares_pictures_is_refused_or_scored_without_them(
    study: Study, sharing: Path, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    options = tiny | judged | {"test": sharing}
    with pytest.raises(LeakageError, match=r"leak: \d of \d+ test images \(.*shared.*\) show the same .* data's doing"):
        braingan.benchmark(study.data, tmp_path / "out", **options)
    result = braingan.benchmark(study.data, tmp_path / "dropped", **options, drop_leaking=True)
    dropped = {file.name for file in sharing.rglob("shared*")} - {Path(f["file"]).name for f in result.split["test"]}
    assert 1 <= len(dropped) <= 3  # the split may have put some into validation
    assert len(result.split["test"]) == len(pictures_of(sharing)) - len(dropped)
    assert any(f"{len(dropped)} test images were dropped" in note for note in result.notes)
    assert result.leakage == []
    honest = tmp_path / "dropped" / "generators" / "fold0-seed0"
    again = braingan.benchmark(
        study.data, tmp_path / "again", **judged, test=sharing, generator=honest, drop_leaking=True
    )
    assert again.leakage == []
    assert again.split == result.split


# --- leakage that is allowed --------------------------------------------------------------------------------------


def test_leakage_that_is_allowed_stands_on_everything_that_comes_of_it(
    study: Study,
    leaky: Callable[[str, Options], Path],
    tmp_path: Path,
    tiny: Options,
    judged: Options,
    caplog: pytest.LogCaptureFixture,
) -> None:
    generator = leaky("renamed", tiny)
    options = judged | {"generator": generator, "split": study.split, "allow_leakage": True}
    result = braingan.benchmark(study.data, tmp_path / "a", **options)
    assert len(result.leakage) == 1
    assert result.leakage[0].startswith(f"leak: the generator in {generator.name} was trained on ")
    assert str(generator.parent) not in (tmp_path / "a" / "report.html").read_text()  # which may be sent
    assert json.loads((tmp_path / "a" / "result.json").read_text())["leakage"] == result.leakage
    for name in ("table.md", "report.html"):
        assert "LEAKAGE ALLOWED" in (tmp_path / "a" / name).read_text()
    assert [record.levelno for record in caplog.records if record.message in result.leakage] == [logging.WARNING]
    caplog.clear()
    with pytest.warns(UserWarning, match="leak: the generator in "):
        mixed = braingan.augment(study.data, tmp_path / "b", generator=generator, test=study.test, allow_leakage=True)
    stored = json.loads((tmp_path / "b" / "config.json").read_text())["leakage"]
    assert len(stored) == 1
    assert tuple(stored) == mixed.synthetic.leakage == braingan.load_synthetic(tmp_path / "b").leakage
    assert [record.levelno for record in caplog.records if record.message in stored] == [logging.WARNING]
    braingan.sample(generator, tmp_path / "c", count=2)  # which nobody has checked
    real, drawn = ImageFolder(tmp_path / "b" / "real"), braingan.load_synthetic(tmp_path / "c")
    with pytest.warns(UserWarning, match=r"^leak: the generator of the synthetic images was trained on \d+ held-out"):
        AugmentedDataset(real, drawn, held_out=ImageFolder(study.test), allow_leakage=True)


# --- synthetic images that are held out ---------------------------------------------------------------------------


@pytest.fixture
def with_synthetic(study: Study, honest: Path, tmp_path: Path) -> Iterator[Path]:
    """The test folder, and two synthetic images in it."""
    drawn = braingan.sample(honest, tmp_path / "drawn", count=1)
    shutil.copytree(study.test, tmp_path / "with synthetic")
    for file in drawn.files:
        shutil.copy(file.path, tmp_path / "with synthetic" / file.class_name / "harmless.png")
    return tmp_path / "with synthetic"


def test_synthetic_images_in_a_test_folder_are_refused(
    study: Study, honest: Path, with_synthetic: Path, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    words = r"leak: 2 (test|held-out) images are synthetic \(no_tumor/harmless.png, tumor/harmless.png\)"
    with pytest.raises(LeakageError, match=words):
        braingan.benchmark(study.data, tmp_path / "a", **(tiny | judged), test=with_synthetic)
    with pytest.raises(LeakageError, match=words):
        braingan.augment(study.data, tmp_path / "b", generator=honest, test=with_synthetic)
    with pytest.raises(LeakageError, match=words):
        braingan.augment(study.data, tmp_path / "c", **tiny, test=with_synthetic)
    real, synthetic = braingan.read_images(study.data), braingan.load_synthetic(tmp_path / "drawn")
    for held_out in (ImageFolder(with_synthetic), braingan.read_images(with_synthetic)):
        with pytest.raises(LeakageError, match=r"leak: 2 held-out images are synthetic \(.*harmless\.png"):
            AugmentedDataset(real, synthetic, held_out=held_out)
    result = braingan.benchmark(study.data, tmp_path / "d", **(tiny | judged), test=with_synthetic, allow_leakage=True)
    assert any("are synthetic" in line for line in result.leakage)


def test_synthetic_images_in_the_test_part_are_refused(
    with_synthetic: Path, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    prepared = prepare_folder(with_synthetic, Preprocessing(size=32), tmp_path / "cache")
    files = split_files(prepared, range(len(prepared)))
    known = [file for file in files if "harmless" not in file.file]
    test = tuple(file for file in files if file not in known)
    Split(tuple(known[1:]), (known[0],), test, "file").save(tmp_path / "split.json")
    words = r"leak: 2 (test|held-out) images are synthetic \(no_tumor/harmless.png, tumor/harmless.png\)"
    with pytest.raises(LeakageError, match=words):
        braingan.benchmark(with_synthetic, tmp_path / "a", **(tiny | judged), split=tmp_path / "split.json")
    with pytest.raises(LeakageError, match=words):
        braingan.augment(with_synthetic, tmp_path / "b", **tiny, split=tmp_path / "split.json")


# --- patients -----------------------------------------------------------------------------------------------------


def test_a_generator_of_other_slices_of_held_out_patients_is_refused(
    study: Study, tmp_path: Path, tiny: Options, judged: Options
) -> None:
    split = Split.load(study.split)
    moved, test, taken = [], [], set()
    for file in split.test:  # one slice of each class to the generator; what is left of these patients is held out
        (test if file.label in taken else moved).append(file)
        taken.add(file.label)
    patients = {file.group for file in moved}
    assert any(file.group in patients for file in test)
    Split(tuple(moved), (), (), "patient").save(tmp_path / "sly.json")
    Split(split.train, split.val, tuple(test), "patient").save(tmp_path / "split.json")
    braingan.train(study.data, tmp_path / "sly", **tiny, split=tmp_path / "sly.json")
    count = sum(file.group in patients for file in test)
    words = rf"leak: .* was trained on {count} held-out images or on others of their patients \("
    with pytest.raises(LeakageError, match=words):
        braingan.benchmark(
            study.data, tmp_path / "a", **judged, generator=tmp_path / "sly", split=tmp_path / "split.json"
        )
    with pytest.raises(LeakageError, match=words):
        braingan.augment(study.data, tmp_path / "b", generator=tmp_path / "sly", split=tmp_path / "split.json")
