"""`inspect`: what is wrong with a folder is found, and nothing is found in an honest one."""

from __future__ import annotations

import csv
import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

import braingan
from braingan import DataError, OutputError, SettingsError
from braingan.cli import app
from braingan.inspection import shortcuts
from braingan.inspection.inspecting import inspect_folders
from braingan.inspection.result import RESULT, Inspection
from braingan.inspection.statistics import APPEARANCE, BLIND, appearance_statistics, blind_statistics
from braingan.inspection.sufficiency import Assumptions, smallest_difference

BRAINGAN = str(Path(sys.executable).parent / "braingan")
CLASSES = ("no_tumor", "tumor")
PAGE = "inspection.html"

Json = dict[str, Any]
Alter = Callable[[Image.Image], Image.Image]


def listing(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def copy_classes(source: Path, folder: Path) -> Path:
    """The pictures of a phantom without its patients."""
    for label in CLASSES:
        shutil.copytree(source / label, folder / label)
    return folder


def copy_all(source: Path, folder: Path, change: Callable[[list[dict[str, str]]], None] = list.reverse) -> Path:
    """A phantom with its patients, and something changed in its table."""
    shutil.copytree(source, folder)
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    change(rows)
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def altered(source: Path, path: Path, alter: Alter, **options: Any) -> str:
    """Write a changed copy; its name below the folder of the class folders."""
    with Image.open(source) as image:
        alter(image).save(path, **options)
    return f"{path.parent.name}/{path.name}"


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Heads of four other patients."""
    out = tmp_path_factory.mktemp("phantom") / "others"
    braingan.phantom(out, patients=4, slices=2, size=128, seed=1)
    return out


@pytest.fixture(scope="module")
def spoiled(heads: Path, others: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `test` without patients, with everything in them that can be wrong."""
    base = tmp_path_factory.mktemp("spoiled")
    train, test = copy_classes(heads, base / "train"), copy_classes(others, base / "test")
    one, two, three, four = sorted((train / "no_tumor").glob("*_00.png"))[:4]
    altered(one, train / "no_tumor" / "mirrored.png", ImageOps.mirror)
    shutil.copy(two, train / "tumor" / "copied.png")
    shutil.copy(three, test / "no_tumor" / "copied.png")
    altered(three, test / "no_tumor" / "encoded.jpg", Image.Image.copy, quality=60)
    altered(four, test / "tumor" / "mirrored.png", ImageOps.mirror)
    (train / "tumor" / "empty.png").touch()
    (train / "tumor" / "notes.txt").write_text("what the radiologist said")
    (test / "tumor" / "broken.png").write_bytes(two.read_bytes()[:900])
    return base


@pytest.fixture(scope="module")
def found(spoiled: Path) -> Inspection:
    return braingan.inspect(spoiled / "train", spoiled / "test")


@pytest.fixture(scope="module")
def honest(heads: Path) -> Inspection:
    return braingan.inspect(heads)


# --- the record ---------------------------------------------------------------------------------------------------


def test_the_record_is_json_with_the_documented_fields(found: Inspection, honest: Inspection, tmp_path: Path) -> None:
    for inspection in (found, honest):
        value = json.loads(json.dumps(inspection.to_json()))
        assert list(value) == [
            "data", "test", "images", "patients", "classes", "parts", "bad_files", "duplicate_groups", "duplicates",
            "cross_folder", "shortcut", "appearance", "minimum_detectable_effect", "sufficiency", "advice", "serious",
            "seconds", "versions",
        ] == [field.name for field in fields(Inspection)]  # fmt: skip
        for part in value["parts"].values():
            assert list(part) == ["images", "patients", "classes"]
        for probe in (value["shortcut"], value["appearance"]):
            assert list(probe) == list(CLASSES)
            for told in probe.values():
                assert list(told) == ["balanced_accuracy", "chance", "low", "statistics", "flagged"]
        assert value["sufficiency"] == {
            "recall": 0.85, "correlation": 0.3, "power": 0.8, "significance": 0.05, "shared_errors": 0.5,
            "test_groups": value["sufficiency"]["test_groups"],
        }  # fmt: skip
        assert set(value["serious"]) <= set(value["advice"])
        inspection.save(tmp_path / RESULT)
        assert Inspection.load(tmp_path / RESULT) == inspection
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(OutputError, match="is no inspection of this version"):
        Inspection.load(tmp_path / RESULT)


def test_an_honest_folder_with_patients_is_counted_and_nothing_serious_is_found(honest: Inspection) -> None:
    assert (honest.data, honest.test) == ("heads", None)
    assert (honest.images, honest.patients) == (24, 12)
    assert sum(honest.classes.values()) == 24
    assert honest.parts == {"train": {"images": 24, "patients": 12, "classes": honest.classes}}
    assert honest.serious == honest.bad_files == honest.duplicate_groups == honest.duplicates == []
    assert honest.cross_folder is None
    assert honest.sufficiency["test_groups"] == 2  # a fifth of twelve
    assert 0 < honest.minimum_detectable_effect <= 1  # type: ignore[operator]


def test_both_parts_are_counted(found: Inspection, spoiled: Path) -> None:
    assert (found.data, found.test, found.patients) == ("train", "test", None)
    assert found.parts["train"]["images"] == 24 + 2
    assert found.images == found.parts["train"]["images"] + found.parts["test"]["images"] == 26 + 8 + 3 - 0
    for label in CLASSES:
        assert found.classes[label] == sum(part["classes"][label] for part in found.parts.values())


def test_bad_files_are_listed_with_their_reasons_and_not_raised(found: Inspection) -> None:
    reasons = {bad["file"]: bad["reason"] for bad in found.bad_files}
    assert set(reasons) == {"tumor/empty.png", "tumor/notes.txt", "tumor/broken.png"}
    assert reasons["tumor/empty.png"] == "is empty"
    assert reasons["tumor/notes.txt"].startswith("is no image")
    assert reasons["tumor/broken.png"].startswith("cannot be decoded")
    told = next(line for line in found.serious if line.startswith("3 files cannot be used"))
    assert f"(the first, {found.bad_files[0]['file']}: {found.bad_files[0]['reason']})" in told


def test_duplicates_are_grouped_by_relative_paths(found: Inspection, spoiled: Path) -> None:
    one, two = (f"no_tumor/{path.name}" for path in sorted((spoiled / "train" / "no_tumor").glob("*_00.png"))[:2])
    assert sorted(map(sorted, found.duplicate_groups)) == sorted([sorted([one, "no_tumor/mirrored.png"]),
                                                                  sorted([two, "tumor/copied.png"])])  # fmt: skip
    assert all((spoiled / "train" / name).is_file() for group in found.duplicate_groups for name in group)
    train = [group for group in found.duplicates if group["part"] == "train"]
    assert [group["files"] for group in train] == found.duplicate_groups
    by_first = {group["files"][0]: group for group in train}
    assert by_first[one] | {"files": []} == {
        "files": [], "kinds": ["altered"], "labels": ["no_tumor"] * 2, "contradictory": False, "part": "train",
    }  # fmt: skip
    assert by_first[two]["kinds"] == ["identical"]
    assert by_first[two]["labels"] == ["no_tumor", "tumor"]
    assert by_first[two]["contradictory"]
    test = [group for group in found.duplicates if group["part"] == "test"]
    assert [(group["files"], group["kinds"]) for group in test] == [
        (["no_tumor/copied.png", "no_tumor/encoded.jpg"], ["re-encoded"])
    ]


def test_contradictory_labels_are_serious(found: Inspection) -> None:
    assert any(line.startswith("1 groups of duplicates carry different labels (no_tumor/") for line in found.serious)


def test_test_images_that_training_has_seen_are_listed(found: Inspection, spoiled: Path) -> None:
    crossed = found.cross_folder
    assert crossed is not None
    assert list(crossed) == [
        "test_images_with_twin", "files", "identical", "per_class", "contradictory", "pairs", "patients_in_both",
        "lookup",
    ]  # fmt: skip
    assert crossed["files"] == ["no_tumor/copied.png", "no_tumor/encoded.jpg", "tumor/mirrored.png"]
    assert crossed["test_images_with_twin"] == 3
    assert crossed["identical"] == 1
    assert crossed["per_class"] == {"no_tumor": 2, "tumor": 1}
    assert crossed["contradictory"] == 1
    assert crossed["patients_in_both"] == 0
    three, four = (f"no_tumor/{path.name}" for path in sorted((spoiled / "train" / "no_tumor").glob("*_00.png"))[2:4])
    assert [(pair["test"], pair["train"], pair["kind"]) for pair in crossed["pairs"]] == [
        ("no_tumor/copied.png", three, "identical"),
        ("no_tumor/encoded.jpg", three, "re-encoded"),
        ("tumor/mirrored.png", four, "altered"),
    ]
    assert all(
        list(pair) == ["test", "train", "kind", "score"] and 0.9 < pair["score"] <= 1 for pair in crossed["pairs"]
    )
    assert any(line.startswith("3 of 11 test images show the same picture") for line in found.serious)


def test_looking_up_the_most_similar_training_image_is_scored_with_and_without_twins(found: Inspection) -> None:
    lookup = found.cross_folder["lookup"]  # type: ignore[index]
    assert list(lookup) == ["accuracy", "macro_f1", "accuracy_without", "macro_f1_without"]
    right, wrong = 2, 1  # of the images with a twin: two carry its label
    clean = round(lookup["accuracy_without"] * 8)
    assert lookup["accuracy"] == pytest.approx((right + clean) / (right + wrong + 8), abs=1e-4)
    assert all(0 <= value <= 1 for value in lookup.values())


# --- one folder that holds two ------------------------------------------------------------------------------------


@pytest.mark.parametrize("names", [("train", "test"), ("Training", "Testing"), ("TRAIN", "TEST")])
def test_a_folder_that_holds_both_parts_is_taken_apart(
    spoiled: Path, found: Inspection, tmp_path: Path, names: tuple[str, str]
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "README.txt").touch()
    (data / "tested.csv").touch()
    for part, name in zip(("train", "test"), names, strict=True):
        (data / name).symlink_to(spoiled / part)
    apart = braingan.inspect(data)
    train, test = names

    def prefixed(part: str, files: list[str]) -> list[str]:
        return [f"{part}/{file}" for file in files]

    assert (apart.data, apart.images, apart.parts) == ("data", found.images, found.parts)
    assert apart.duplicate_groups == [prefixed(train, group) for group in found.duplicate_groups]
    assert all((data / name).is_file() for group in apart.duplicate_groups for name in group)
    assert apart.cross_folder is not None
    assert found.cross_folder is not None
    assert apart.cross_folder["files"] == prefixed(test, found.cross_folder["files"])
    for pair, own in zip(apart.cross_folder["pairs"], found.cross_folder["pairs"], strict=True):
        assert pair == own | {"test": f"{test}/{own['test']}", "train": f"{train}/{own['train']}"}
    for name in ("identical", "per_class", "contradictory", "lookup"):
        assert apart.cross_folder[name] == found.cross_folder[name]
    assert {bad["file"] for bad in apart.bad_files} == {
        f"{train}/tumor/empty.png", f"{train}/tumor/notes.txt", f"{test}/tumor/broken.png",
    }  # fmt: skip
    assert len(apart.serious) == len(found.serious)


def test_a_folder_with_two_training_parts_is_asked_about(heads: Path, tmp_path: Path) -> None:
    for name in ("train", "train2", "test"):
        (tmp_path / name).symlink_to(heads)
    with pytest.raises(DataError, match="holds train and train2: which is the train part"):
        braingan.inspect(tmp_path)


def test_patients_in_both_parts_are_serious(heads: Path, others: Path, tmp_path: Path) -> None:
    both = braingan.inspect(heads, others)  # of other heads, under the same ids
    assert both.patients == 12
    assert both.cross_folder is not None
    assert both.cross_folder["patients_in_both"] == 4
    assert both.cross_folder["test_images_with_twin"] == 0
    assert len(both.serious) == 1
    assert re.match("4 patients .*in training and in test", both.serious[0])

    def rename(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["patient"] = f"other-{row['patient']}"

    apart = braingan.inspect(heads, copy_all(others, tmp_path / "others", rename))
    assert apart.patients == 16
    assert apart.cross_folder is not None
    assert apart.cross_folder["patients_in_both"] == 0
    assert apart.serious == []


def test_an_image_whose_mask_does_not_fit_is_a_bad_file(heads: Path, tmp_path: Path) -> None:
    small: list[str] = []

    def change(rows: list[dict[str, str]]) -> None:
        row = next(row for row in rows if row["mask"])
        small.append(row["file_name"])
        data = tmp_path / "data"
        Image.new("L", (8, 8), 255).save(data / row["mask"])

    found = braingan.inspect(copy_all(heads, tmp_path / "data", change))
    assert [bad["file"] for bad in found.bad_files] == small
    assert "its mask has 8x8" in found.bad_files[0]["reason"]


def test_a_picture_under_two_patient_ids_is_serious_and_under_one_it_is_not(heads: Path, tmp_path: Path) -> None:
    def plant(patient: str) -> Callable[[list[dict[str, str]]], None]:
        def change(rows: list[dict[str, str]]) -> None:
            name = altered(tmp_path / patient / rows[0]["file_name"],
                           tmp_path / patient / rows[0]["label"] / "planted.png", ImageOps.mirror)  # fmt: skip
            rows.append(rows[0] | {"file_name": name, "patient": patient or rows[0]["patient"], "mask": ""})

        return change

    two = braingan.inspect(copy_all(heads, tmp_path / "P9999", plant("P9999")))
    assert len(two.duplicate_groups) == 1
    assert len(two.serious) == 1
    assert "some under two patient ids" in two.serious[0]


def test_synthetic_images_among_the_data_are_serious(
    heads: Path, others: Path, tmp_path: Path, tiny: dict[str, Any]
) -> None:
    braingan.train(heads, tmp_path / "run", **tiny)
    drawn = braingan.sample(tmp_path / "run", tmp_path / "drawn", count=1, class_name="tumor")
    data = copy_classes(others, tmp_path / "data")
    shutil.copy(drawn.files[0].path, data / "tumor" / "harmless.png")
    lines = braingan.inspect(data).serious
    assert "1 images say of themselves that they are synthetic (tumor/harmless.png): take them out." in lines


# --- the command --------------------------------------------------------------------------------------------------


def test_strict_fails_for_something_serious_only_and_json_is_all_that_is_printed(
    heads: Path, spoiled: Path, found: Inspection, honest: Inspection, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [BRAINGAN, "inspect", str(spoiled / "train"), str(spoiled / "test"), "--strict", "--json"]
    wrong = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert wrong.returncode == 1, wrong.stderr
    assert "Traceback" not in wrong.stderr
    same_in_json(wrong.stdout, found)
    assert list(tmp_path.iterdir()) == []
    capfd.readouterr()
    app(["inspect", str(heads), "--strict", "--json", "--out", str(tmp_path / "seen")], standalone_mode=False)
    printed = capfd.readouterr().out
    same_in_json(printed, honest)
    assert json.loads((tmp_path / "seen" / RESULT).read_text()) == json.loads(printed)


def same_in_json(printed: str, inspection: Inspection) -> None:
    """Whether this inspection is all that was printed."""
    assert json.loads(printed) | {"seconds": 0} == json.loads(json.dumps(inspection.to_json())) | {"seconds": 0}


# --- where it is written ------------------------------------------------------------------------------------------


def test_nothing_is_written_without_out(spoiled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = listing(spoiled)
    stamps = {path: path.stat().st_mtime_ns for path in spoiled.rglob("*")}
    monkeypatch.chdir(tmp_path)
    braingan.inspect(spoiled / "train", spoiled / "test")
    assert listing(spoiled) == before
    assert {path: path.stat().st_mtime_ns for path in spoiled.rglob("*")} == stamps
    assert list(tmp_path.iterdir()) == []


def test_an_output_folder_that_overlaps_with_the_data_or_holds_something_else_is_refused(
    heads: Path, others: Path, tmp_path: Path
) -> None:
    data, test = copy_all(heads, tmp_path / "data"), copy_all(others, tmp_path / "test")
    before = listing(tmp_path)
    for out in (data, data / "seen", test, test / "a" / "b", tmp_path):
        with pytest.raises(OutputError, match="overlap"):
            braingan.inspect(data, test, out=out)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    with pytest.raises(OutputError, match="thesis is not empty"):
        braingan.inspect(data, test, out=tmp_path / "thesis")
    with pytest.raises(OutputError, match=r"chapter\.txt is a file"):
        braingan.inspect(data, test, out=tmp_path / "thesis" / "chapter.txt")
    assert listing(tmp_path) == before | {"thesis/chapter.txt": b"1"}


def test_an_older_inspection_is_replaced(heads: Path, others: Path, tmp_path: Path) -> None:
    out = tmp_path / "seen"
    first = braingan.inspect(heads, out=out)
    pages = [(out / PAGE).read_bytes()]
    assert sorted(path.name for path in out.iterdir()) == [PAGE, RESULT]
    assert Inspection.load(out / RESULT) == first
    second = braingan.inspect(others, out=out)
    pages.append((out / PAGE).read_bytes())
    assert sorted(path.name for path in out.iterdir()) == [PAGE, RESULT]
    assert Inspection.load(out / RESULT) == second
    assert pages[0] != pages[1]
    (tmp_path / "empty").mkdir()
    braingan.inspect(others, out=tmp_path / "empty")


# --- shortcuts ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty phantom patients, with and without tumours."""
    out = tmp_path_factory.mktemp("phantom") / "study"
    braingan.phantom(out, patients=30, slices=3, size=64, seed=2)
    return out


@pytest.fixture
def planted(study: Path, tmp_path: Path) -> Callable[..., Json]:
    """What the probe says after something was done to all images of one class."""

    def plant(alter: Alter, suffix: str = ".png") -> Json:
        data = tmp_path / "data"

        def change(rows: list[dict[str, str]]) -> None:
            for row in rows:
                if row["label"] == "tumor":
                    path = data / row["file_name"]
                    with Image.open(path) as image:
                        size, changed = image.size, alter(image)
                    path.unlink()
                    changed.save(path.with_suffix(suffix))
                    row["file_name"] = row["file_name"].replace(".png", suffix)
                    if row["mask"] and changed.size != size:
                        (data / row["mask"]).unlink()
                        row["mask"] = ""

        inspection = braingan.inspect(copy_all(study, data, change))
        flagged = [line for line in inspection.serious if "without looking at the brain" in line]
        assert bool(flagged) == inspection.shortcut["tumor"]["flagged"]
        return inspection.to_json()

    return plant


def framed(image: Image.Image) -> Image.Image:
    ImageDraw.Draw(image).rectangle((0, 0, image.width - 1, image.height - 1), outline=255, width=2)
    return image


def test_telling_one_of_two_classes_is_telling_the_other_and_worked_out_once(study: Path) -> None:
    part = inspect_folders(study, None)[1].train
    for values, names in ((part.blind, BLIND), (part.appearance, APPEARANCE)):
        one, other = shortcuts.probe(values, names, part.labels, 2, part.groups)
        each = shortcuts.probe(values, names, part.labels, 3, part.groups)  # beside a class of no images: by itself
        assert [one, other] == each[:2]
        assert one.balanced_accuracy is not None
        assert one is other


def test_an_honest_phantom_is_not_flagged(planted: Callable[..., Json]) -> None:
    told = planted(Image.Image.copy)["shortcut"]
    for name in CLASSES:
        assert told[name]["chance"] == 0.5
        assert 0.3 < told[name]["balanced_accuracy"] < 0.7
        assert not told[name]["flagged"]


@pytest.mark.parametrize(
    ("alter", "suffix", "telling"),
    [
        (framed, ".png", {"border brightness", "corner brightness"}),
        (Image.Image.copy, ".jpg", {"JPEG file", "JPEG quality"}),
        (lambda image: image.resize((80, 80), Image.Resampling.BICUBIC), ".png", {"width", "height"}),
    ],
    ids=["frame", "JPEG", "larger"],
)
def test_a_class_that_the_file_or_the_frame_gives_away_is_flagged(
    planted: Callable[..., Json], alter: Alter, suffix: str, telling: set[str]
) -> None:
    inspection = planted(alter, suffix)
    for name in CLASSES:
        told = inspection["shortcut"][name]
        assert told["flagged"]
        assert told["balanced_accuracy"] > 0.9
        assert told["low"] > 0.6
        assert telling & set(told["statistics"])
    line = next(line for line in inspection["serious"] if "without looking at the brain" in line)
    assert "'tumor'" in line
    assert any(statistic in line for statistic in telling)


def bright(image: Image.Image) -> Image.Image:
    """A tumour as bright as can be, well inside the head."""
    x, y, r = image.width * 0.45, image.height * 0.42, image.width * 0.09
    ImageDraw.Draw(image).ellipse((x - r, y - r, x + r, y + r), fill=255)
    return image


def test_bright_tumours_are_no_shortcut(planted: Callable[..., Json]) -> None:
    inspection = planted(bright)
    assert not any(told["flagged"] for told in inspection["shortcut"].values())
    assert inspection["appearance"]["tumor"]["balanced_accuracy"] > 0.8  # which may be so
    assert inspection["serious"] == []


def test_a_bright_tumour_does_not_move_the_statistics_that_none_may_move(heads: Path, tmp_path: Path) -> None:
    for path in sorted(heads.glob("no_tumor/*.png")):
        with Image.open(path) as image:
            before = np.asarray(image, np.float32)[:, :, None]
            after = np.asarray(bright(image), np.float32)[:, :, None]
        assert (before != after).mean() > 0.01
        own = dict(zip(BLIND, np.subtract(blind_statistics(path, after), blind_statistics(path, before)), strict=True))
        assert {name: change for name, change in own.items() if abs(change) > 0.02} == {}
        moved = np.abs(np.subtract(appearance_statistics(after), appearance_statistics(before)))
        assert dict(zip(APPEARANCE, moved, strict=True))["mean brightness"] > 0.5


def test_statistics_are_finite_whatever_the_image() -> None:
    random = np.random.default_rng(0)
    for shape in ((1, 1, 1), (8, 8, 1), (1, 300, 3), (300, 2, 1), (64, 64, 4)):
        for pixels in (np.zeros(shape), np.full(shape, 255), random.uniform(-3000, 3000, shape), np.full(shape, 1e9)):
            blind, seen = (
                blind_statistics(None, pixels.astype(np.float32)),
                appearance_statistics(pixels.astype(np.float32)),
            )
            assert (len(blind), len(seen)) == (len(BLIND), len(APPEARANCE))
            assert np.isfinite(blind + seen).all()


# --- enough patients? ---------------------------------------------------------------------------------------------


def cohort(patients: int, images: int = 4) -> tuple[np.ndarray, list[str]]:
    """As many patients of each of two classes, with as many images each."""
    labels = np.repeat([0, 1] * patients, images)
    return labels, [f"P{number // images}" for number in range(len(labels))]


def test_more_patients_can_show_a_smaller_difference() -> None:
    shown = [smallest_difference(*cohort(count), 2, Assumptions()) for count in (2, 5, 10, 40, 200)]
    assert all(earlier > later for earlier, later in itertools.pairwise(shown))  # type: ignore[operator]
    assert all(0 < value <= 1 for value in shown)  # type: ignore[operator]
    assert shown[-1] < 0.1  # type: ignore[operator]


def test_more_images_of_the_same_patients_help_less_than_more_patients() -> None:
    few, images, patients = (
        smallest_difference(*cohort(*size), 2, Assumptions()) for size in ((10, 2), (10, 20), (100, 2))
    )
    assert patients < images < few  # type: ignore[operator]


def test_images_that_are_more_alike_show_less() -> None:
    shown = [smallest_difference(*cohort(20), 2, Assumptions(correlation=value)) for value in (0.01, 0.3, 0.6, 0.99)]
    assert all(earlier < later for earlier, later in itertools.pairwise(shown))  # type: ignore[operator]


def test_more_power_needs_a_larger_difference_and_a_better_classifier_a_smaller_one() -> None:
    low, high = (smallest_difference(*cohort(20), 2, Assumptions(power=value)) for value in (0.5, 0.95))
    assert low < high  # type: ignore[operator]
    poor, good = (smallest_difference(*cohort(20), 2, Assumptions(recall=value)) for value in (0.6, 0.98))
    assert good < poor  # type: ignore[operator]


def test_the_same_is_said_each_time_and_a_share_of_the_patients_shows_less() -> None:
    whole, again, fifth = (smallest_difference(*cohort(50), 2, Assumptions(), share=share) for share in (1.0, 1.0, 0.2))
    assert whole == again
    assert fifth == pytest.approx(whole * np.sqrt(5), rel=0.01)  # type: ignore[operator]


def test_nothing_can_be_said_of_one_class_or_one_patient() -> None:
    labels, groups = cohort(3)
    assert smallest_difference(labels * 0, groups, 1, Assumptions()) is None
    assert smallest_difference(labels, ["one"] * len(labels), 2, Assumptions()) is None
    alone = smallest_difference(labels * 0, groups, 2, Assumptions())  # a class that is not there
    assert alone is not None
    assert 0 <= alone <= 1


@pytest.mark.parametrize("name", ["recall", "correlation", "power"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.5, 2.0, float("nan"), float("inf")])
def test_assumptions_outside_of_0_to_1_are_refused_before_anything_is_read(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} .* was asked; more than 0 and less than 1 works"):
        braingan.inspect(Path("nowhere"), **{name: value})


def test_assumptions_reach_the_record(heads: Path) -> None:
    asked = {"recall": 0.7, "correlation": 0.5, "power": 0.9}
    plain, other = (inspect_folders(heads, None, assumed=assumed)[0] for assumed in (None, Assumptions(**asked)))
    assert asked.items() <= other.sufficiency.items()
    assert asdict(Assumptions()).items() <= plain.sufficiency.items()
    assert other.minimum_detectable_effect != plain.minimum_detectable_effect


# --- what is hardly there -----------------------------------------------------------------------------------------


@pytest.fixture
def scraps(heads: Path, tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Class folders with as many pictures as asked for."""

    def write(**counts: int) -> Path:
        pictures = iter(sorted(heads.glob("no_tumor/*.png")))
        for label, count in counts.items():
            (tmp_path / "data" / label).mkdir(parents=True)
            for _ in range(count):
                shutil.copy(next(pictures), tmp_path / "data" / label)
        return tmp_path / "data"

    return write


@pytest.mark.parametrize("counts", [{"a": 1}, {"a": 2}, {"a": 9}, {"a": 1, "b": 1}, {"a": 2, "b": 1, "c": 3}])
def test_a_handful_of_images_without_patients_is_inspected(scraps: Callable[..., Path], counts: dict[str, int]) -> None:
    inspection = braingan.inspect(scraps(**counts), out=None)
    assert inspection.classes == counts
    assert inspection.patients is None
    assert list(inspection.shortcut) == (list(counts) if len(counts) > 1 else [])
    for told in inspection.shortcut.values():
        assert told == {"balanced_accuracy": None, "chance": 0.5, "low": None, "statistics": [], "flagged": False}
    assert (inspection.minimum_detectable_effect is None) == (len(counts) == 1)
    assert inspection.serious == []
    assert any(line.startswith("No patient ids") for line in inspection.advice)


def test_a_handful_gets_a_page_too(scraps: Callable[..., Path], others: Path, tmp_path: Path) -> None:
    braingan.inspect(scraps(no_tumor=2), copy_classes(others, tmp_path / "test"), out=tmp_path / "seen")
    assert (tmp_path / "seen" / PAGE).stat().st_size > 1000


def test_blank_images_are_no_duplicates(heads: Path, tmp_path: Path) -> None:
    data = copy_classes(heads, tmp_path / "data")
    for number, level in enumerate((0, 0, 0, 255, 255, 90)):
        Image.new("L", (64, 64), level).save(data / CLASSES[number % 2] / f"blank{number}.png")
    Image.new("L", (1, 1), 7).save(data / "tumor" / "dot.png")
    inspection = braingan.inspect(data)
    assert inspection.duplicates == []
    assert inspection.bad_files == []


def test_a_folder_in_which_nothing_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tumor").mkdir()
    for number in range(3):
        (tmp_path / "tumor" / f"{number}.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match="can be read"):
        braingan.inspect(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder"):
        braingan.inspect(tmp_path / "nowhere")
