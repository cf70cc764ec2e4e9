"""`augment` and `sample` with edited slices: masks, where everything comes from, and what it says of patients."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import braingan
from braingan import AugmentedDataset, OutputError, SettingsError, Split, TrainingData
from braingan.data.preparation import PreparedSet
from braingan.data.records import mask_of
from braingan_insert.blending import soften

Options = dict[str, Any]

ORIGIN = {"canvas", "canvas_sha256", "canvas_patient", "mask_source", "mask_source_patient", "mask"}


@pytest.fixture(scope="module")
def augmented(slices: Path, inserting: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `augment` makes of the slices and a trained generator. Not to be written to."""
    out = tmp_path_factory.mktemp("augmented") / "out"
    braingan.augment(slices, out, ratio=1.0, seed=3, generator=inserting)
    return out


def manifest_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def pixels_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_every_image_has_a_mask_beside_it_of_its_size_in_0_and_255(augmented: Path) -> None:
    entries = manifest_of(augmented)
    assert len(entries) > 5
    for entry in entries:
        assert entry["file"] == f"synthetic/tumor/{entry['index']:06d}.png"
        assert entry["mask"] == f"synthetic/masks/tumor/{entry['index']:06d}.png"
        with Image.open(augmented / entry["mask"]) as mask:
            assert (mask.mode, mask.size) == ("L", (32, 32))
            assert np.unique(np.asarray(mask)).tolist() == [0, 255]
            assert mask.text["Synthetic"] == "true"  # type: ignore[attr-defined]
    assert len(list((augmented / "synthetic").rglob("*.png"))) == 2 * len(entries)


def test_the_synthetic_part_can_be_read_as_data_with_masks_and_the_patients_whom_it_shows(augmented: Path) -> None:
    entries = manifest_of(augmented)
    images = braingan.read_images(augmented / "synthetic")
    assert images.classes == ["tumor"]
    assert [record.group for record in images.records] == [entry["canvas_patient"] for entry in entries]
    for record, entry in zip(images.records, entries, strict=True):
        mask = mask_of(record)
        assert mask is not None
        assert np.array_equal(mask, pixels_of(augmented / entry["mask"]) > 0)


def test_the_manifest_names_canvas_outline_and_patients_and_the_image_is_that_canvas_but_for_the_tumour(
    augmented: Path, prepared: PreparedSet, slices: Path
) -> None:
    files = {record.file: number for number, record in enumerate(prepared.source.records)}
    for entry in manifest_of(augmented):
        assert entry.keys() >= ORIGIN
        canvas = prepared.source.records[files[entry["canvas"]]]
        source = prepared.source.records[files[entry["mask_source"]]]
        assert (canvas.label, source.label) == (0, 1)
        assert (entry["canvas_patient"], entry["mask_source_patient"]) == (canvas.group, source.group)
        assert entry["canvas_sha256"] == hashlib.sha256((slices / entry["canvas"]).read_bytes()).hexdigest()
        image = torch.from_numpy(pixels_of(augmented / entry["file"]).copy())
        mask = torch.from_numpy(pixels_of(augmented / entry["mask"]) > 0)
        clear = soften(mask[None, None].float(), 32)[0, 0] == 0
        assert torch.equal(image[clear], prepared.images[files[entry["canvas"]], 0][clear])
        assert entry["seed"] == 3


def test_canvases_are_named_rightly_where_the_healthy_class_is_not_the_first(
    write: Callable[..., Path], tmp_path: Path, quick: Options
) -> None:
    braingan.augment(write(tmp_path / "data", ("round", "well")), tmp_path / "out", ratio=2.0, **quick)
    for entry in manifest_of(tmp_path / "out"):
        assert entry["canvas"].startswith("well/")
        assert entry["mask_source"].startswith("round/")
        image, canvas = (pixels_of(tmp_path / "out" / file) for file in (entry["file"], f"real/{entry['canvas']}"))
        assert (image == canvas).mean() > 0.5


def test_every_png_says_that_it_shows_a_patient_and_which_canvas_it_was(augmented: Path) -> None:
    for entry in manifest_of(augmented):
        with Image.open(augmented / entry["file"]) as image:
            text = image.text  # type: ignore[attr-defined]
        assert text["Comment"].startswith("Synthetic tumour in a slice of a real patient")
        assert "Not anonymous" in text["Comment"]
        assert "was not examined" not in text["Comment"]
        assert text["Canvas-SHA256"] == entry["canvas_sha256"]
        assert text["Synthetic"] == "true"


def test_configs_of_images_and_of_the_generator_say_that_real_slices_were_edited(
    augmented: Path, inserting: Path
) -> None:
    assert json.loads((inserting / "config.json").read_text())["edits_real_slices"] is True
    config = json.loads((augmented / "config.json").read_text())
    assert config["edits_real_slices"] is True
    assert config["tumor_size"] == 1.0


def test_load_synthetic_gives_where_each_image_comes_from(augmented: Path) -> None:
    synthetic = braingan.load_synthetic(augmented)
    assert len(synthetic) == len(manifest_of(augmented))
    for file, entry in zip(synthetic.files, manifest_of(augmented), strict=True):
        assert file.mask == augmented / entry["mask"]
        for name in ("canvas", "canvas_patient", "mask_source", "mask_source_patient", "seed"):
            assert getattr(file, name) == entry[name], name


def test_a_warning_says_that_neither_images_nor_generator_are_anonymous(
    slices: Path, inserting: Path, tmp_path: Path, quick: Options, caplog: pytest.LogCaptureFixture
) -> None:
    def warned() -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        caplog.clear()
        return [line for line in found if "may not be handed out as anonymous" in line]

    braingan.sample(inserting, tmp_path / "sampled", count=1)
    assert len(warned()) == 1
    braingan.augment(slices, tmp_path / "given", generator=inserting)
    assert len(warned()) == 1
    braingan.augment(slices, tmp_path / "trained", **(quick | {"backend": "paste", "hyperparameters": {}}))
    assert any("slices of real patients" in line for line in warned())
    braingan.augment(slices, tmp_path / "made of nothing", **(quick | {"backend": "dcgan"}))
    assert warned() == []


@pytest.mark.parametrize("kind", ["mask", "file"])
def test_a_missing_file_is_refused(inserting: Path, tmp_path: Path, kind: str) -> None:
    braingan.sample(inserting, tmp_path / "out", count=3)
    (tmp_path / "out" / manifest_of(tmp_path / "out")[1][kind]).unlink()
    with pytest.raises(OutputError, match=r"000001\.png is missing \(1 of 6 files"):
        braingan.load_synthetic(tmp_path / "out")


def test_images_that_are_made_of_nothing_are_described_as_before(slices: Path, tmp_path: Path, quick: Options) -> None:
    braingan.augment(slices, tmp_path / "out", **(quick | {"backend": "dcgan"}))
    for entry in manifest_of(tmp_path / "out"):
        assert list(entry) == ["file", "class", "index", "seed", "backend", "generator", "train_hash"]
        with Image.open(tmp_path / "out" / entry["file"]) as image:
            text = image.text  # type: ignore[attr-defined]
        assert text["Comment"].startswith("Synthetic image made by a generative model; whether it resembles a training")
        assert list(text) == ["Software", "Comment", "Synthetic", "Backend", "Generator", "Seed", "Index", "Class",
                              "Preprocessing"]  # fmt: skip
    assert not (tmp_path / "out" / "synthetic" / "masks").exists()
    assert json.loads((tmp_path / "out" / "config.json").read_text())["edits_real_slices"] is False
    assert all(file.mask is file.canvas is None for file in braingan.load_synthetic(tmp_path / "out").files)


def test_image_i_is_the_same_whatever_the_count_and_the_command(
    augmented: Path, inserting: Path, tmp_path: Path
) -> None:
    braingan.sample(inserting, tmp_path / "out", count=4, seed=3, class_name="tumor")
    for entry, other in zip(manifest_of(tmp_path / "out"), manifest_of(augmented), strict=False):
        assert (tmp_path / "out" / entry["file"]).read_bytes() == (augmented / other["file"]).read_bytes()
        assert (tmp_path / "out" / entry["mask"]).read_bytes() == (augmented / other["mask"]).read_bytes()


def test_augment_trains_and_makes_the_classes_that_can_be_made(
    slices: Path, tmp_path: Path, quick: Options, training: TrainingData
) -> None:
    out = tmp_path / "out"
    mixed = braingan.augment(slices, out, ratio=1.0, **quick)
    healthy, tumors = (int((training.labels == label).sum()) for label in (0, 1))
    assert (mixed.targets.count(0), mixed.targets.count(1)) == (healthy, 2 * tumors)
    assert not (out / "synthetic" / "no_tumor").exists()
    only = braingan.augment(slices, tmp_path / "only", ratio=1.0, classes=["tumor"], **quick)
    assert only.targets == mixed.targets


@pytest.mark.parametrize("backend", ["insert", "paste"])
def test_asking_for_a_healthy_class_is_refused_before_training_and_harms_nothing(
    slices: Path, tmp_path: Path, quick: Options, backend: str
) -> None:
    out, options = tmp_path / "out", quick | {"backend": backend}
    if backend == "paste":
        options["hyperparameters"] = {}
    with pytest.raises(SettingsError, match=f"'no_tumor' was asked; backend '{backend}' makes 'tumor'") as raised:
        braingan.augment(slices, out, classes=["no_tumor"], **options)
    assert "\n" not in str(raised.value)
    assert not (out / "generator").exists()
    braingan.augment(slices, out, classes=["tumor"], **options)


def test_sampling_a_healthy_class_is_refused_and_harms_nothing(inserting: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="'no_tumor' was asked; backend 'insert' makes 'tumor'"):
        braingan.sample(inserting, tmp_path / "out", count=1, class_name="no_tumor")
    assert not (tmp_path / "out").exists()
    assert len(braingan.sample(inserting, tmp_path / "out", count=1)) == 1


def test_larger_tumours_can_be_asked_of_a_trained_generator(slices: Path, inserting: Path, tmp_path: Path) -> None:
    areas = {}
    for size in (0.5, 2.0):
        out = tmp_path / str(size)
        braingan.augment(slices, out, generator=inserting, ratio=1.0, tumor_size=size)
        assert json.loads((out / "config.json").read_text())["tumor_size"] == size
        areas[size] = np.median([(pixels_of(out / entry["mask"]) > 0).sum() for entry in manifest_of(out)])
    assert areas[2.0] > 2 * areas[0.5]
    (out / "manifest.jsonl").unlink()  # as if stopped before the end
    with pytest.raises(OutputError, match=r"for other work \(tumor size 2.0 there, 1.0 asked\)"):
        braingan.augment(slices, out, generator=inserting, ratio=1.0)


def test_a_stopped_augment_goes_on_and_ends_the_same(slices: Path, tmp_path: Path, quick: Options) -> None:
    out = tmp_path / "out"
    braingan.augment(slices, out, **quick)
    before = {path: path.read_bytes() for path in (out / "synthetic").rglob("*.png")}
    (out / "manifest.jsonl").unlink()
    braingan.augment(slices, out, **quick)
    assert {path: path.read_bytes() for path in (out / "synthetic").rglob("*.png")} == before


def held_out_split(whole: Split, out: Path, held_out: int = 3) -> tuple[Path, set[str], set[str]]:
    """A split file in which the last patients are for testing; the training and the test patients."""
    value = whole.to_json()
    patients = sorted({file["group"] for file in value["train"]})
    test = set(patients[-held_out:])
    value |= {"train": [file for file in value["train"] if file["group"] not in test],
              "test": [file for file in value["train"] if file["group"] in test]}  # fmt: skip
    out.write_text(json.dumps(value))
    return out, set(patients) - test, test


@pytest.mark.parametrize("backend", ["insert", "paste"])
def test_all_that_images_are_made_of_is_in_the_training_part(
    slices: Path, inserting: Path, tmp_path: Path, quick: Options, backend: str
) -> None:
    split, train, test = held_out_split(Split.load(inserting / "split.json"), tmp_path / "split.json")
    options = quick | {"backend": backend}
    if backend == "paste":
        options["hyperparameters"] = {}
    braingan.augment(slices, tmp_path / "out", ratio=3.0, split=split, **options)
    parts = json.loads(split.read_text())
    hashes = {part: {file["sha256"] for file in parts[part]} for part in ("train", "test")}
    sources = {part: {file["file"] for file in parts[part]} for part in ("train", "test")}
    entries = manifest_of(tmp_path / "out")
    assert len(entries) > 10
    for entry in entries:
        assert {entry["canvas_patient"], entry["mask_source_patient"]} <= train
        assert not {entry["canvas_patient"], entry["mask_source_patient"]} & test
        assert entry["canvas_sha256"] in hashes["train"] - hashes["test"]
        assert {entry["canvas"], entry["mask_source"]} <= sources["train"] - sources["test"]
    generator = braingan.load_generator(tmp_path / "out" / "generator")
    kept = {name: value for name, value in generator.state_dict().items() if name.startswith("bank.")}
    assert len(kept["bank.canvases"]) + len(kept["bank.tumors"]) == len(parts["train"])
    real = braingan.read_images(tmp_path / "out" / "real")
    assert {record.group for record in real.records} == train


def test_the_dataset_has_all_images_and_shows_them(augmented: Path) -> None:
    mixed = AugmentedDataset(braingan.read_images(augmented / "real"), braingan.load_synthetic(augmented))
    assert len(mixed) == len(list((augmented / "real").rglob("*.png"))) + len(manifest_of(augmented))
    image, label = mixed[len(mixed) - 1]
    assert (image.size, label) == ((32, 32), 1)
