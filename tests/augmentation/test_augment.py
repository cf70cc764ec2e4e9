"""`train`, `sample` and `augment`: what lies on disk afterwards, and what it says of itself."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder

import braingan
from braingan import LeakageError, OutputError, SettingsError, Split
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing

Options = dict[str, Any]


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


@pytest.fixture
def run(data: Path, tmp_path: Path, tiny: Options) -> Path:
    braingan.train(data, tmp_path / "run", **tiny)
    return tmp_path / "run"


def test_sample_writes_numbered_images_of_each_class_with_a_manifest(run: Path, tmp_path: Path) -> None:
    synthetic = braingan.sample(run, tmp_path / "out", count=3)
    assert len(synthetic) == 6
    assert sorted(path.name for path in (tmp_path / "out" / "tumor").iterdir()) == [f"{i:06d}.png" for i in range(3)]
    lines = [json.loads(line) for line in (tmp_path / "out" / "manifest.jsonl").read_text().splitlines()]
    generator = hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()
    assert {line["generator"] for line in lines} == {generator}
    assert {line["train_hash"] for line in lines} == {Split.load(run / "split.json").train_hash}
    assert [line["file"] for line in lines if line["class"] == "tumor"][1] == "tumor/000001.png"
    assert {line["backend"] for line in lines} == {"dcgan"}


def test_every_png_says_that_it_is_synthetic_and_how_it_was_made(run: Path, tmp_path: Path) -> None:
    braingan.sample(run, tmp_path / "out", count=1, seed=4)
    with Image.open(tmp_path / "out" / "tumor" / "000000.png") as image:
        assert image.text["Synthetic"] == "true"
        assert image.text["Seed"] == "4"
        assert image.text["Backend"] == "dcgan"
        assert len(image.text["Generator"]) == 64
        assert "whether it resembles a training image was not examined" in image.text["Comment"]


def test_image_i_is_the_same_whatever_the_count_and_the_other_classes(run: Path, tmp_path: Path) -> None:
    braingan.sample(run, tmp_path / "many", count=40)
    braingan.sample(run, tmp_path / "few", count=2, class_name="tumor")
    assert not (tmp_path / "few" / "no_tumor").exists()
    for name in ("000000.png", "000001.png"):
        few, many = (np.asarray(Image.open(tmp_path / out / "tumor" / name)) for out in ("few", "many"))
        assert np.array_equal(few, many)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"count": 0}, SettingsError, "a count of 0"),
        ({"seed": -1}, SettingsError, "seed -1"),
        ({"class_name": "tumour"}, SettingsError, "class 'tumour' was asked; the generator makes 'no_tumor', 'tumor'"),
    ],
)
def test_sampling_that_cannot_work_is_refused(
    run: Path, tmp_path: Path, options: Options, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        braingan.sample(run, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_augment_writes_real_and_synthetic_images_prepared_alike(data: Path, tmp_path: Path, tiny: Options) -> None:
    out = tmp_path / "out"
    mixed = braingan.augment(data, out, ratio=0.5, **tiny)
    assert len(mixed) == 40 + 20
    assert mixed.targets.count(1) == 20 + 10
    pictures = [*(out / "real").rglob("*.png"), *(out / "synthetic").rglob("*.png")]
    assert len(pictures) == 60
    assert {size_of(path) for path in pictures} == {(32, 32)}
    rows = list(csv.DictReader((out / "real" / "metadata.csv").read_text().splitlines()))
    assert {row["patient"] for row in rows} == {f"data-P{i:02d}" for i in range(10)}
    assert {row["source"] for row in rows} == {path.relative_to(data).as_posix() for path in data.rglob("*.png")}
    assert len(braingan.load_synthetic(out)) == 20
    assert not list(tmp_path.rglob("*.part*"))


def test_real_images_keep_their_masks_where_no_tool_takes_them_for_a_class(tmp_path: Path, tiny: Options) -> None:
    braingan.phantom(tmp_path / "heads", patients=4, slices=3, size=48)
    out = tmp_path / "out"
    braingan.augment(tmp_path / "heads", out, ratio=0.5, **tiny)
    whole = prepare_folder(tmp_path / "heads", Preprocessing(size=32), tmp_path / "cache")
    again = prepare_folder(out / "real", Preprocessing(size=32, crop=False), tmp_path / "cache")
    assert whole.masks is not None
    assert again.masks is not None
    sources = [dict(record.columns)["source"] for record in again.source.records]
    places = [[record.file for record in whole.source.records].index(source) for source in sources]
    assert torch.equal(again.masks, whole.masks[places])
    written = sorted((out / "real_masks").rglob("*.png"))
    assert len(written) == int(whole.masks.any(dim=(1, 2)).sum())
    assert {path.relative_to(out / "real_masks").parts[0] for path in written} == {"tumor"}
    with Image.open(written[0]) as mask:
        assert (mask.mode, np.unique(np.asarray(mask)).tolist()) == ("L", [0, 255])
    assert ImageFolder(str(out / "real")).classes == ["no_tumor", "tumor"]
    assert [record.mask is not None for record in braingan.read_images(out / "real").records] == [
        bool(mask.any()) for mask in again.masks
    ]


def test_what_a_stopped_augment_left_of_masks_is_cleared(data: Path, tmp_path: Path, tiny: Options) -> None:
    out = tmp_path / "out"
    braingan.augment(data, out, ratio=0.5, **tiny)
    assert not (out / "real_masks").exists()
    (out / "manifest.jsonl").unlink()  # as if stopped before the end
    (out / "real_masks").mkdir()
    (out / "real_masks" / "left.png").touch()
    braingan.augment(data, out, ratio=0.5, **tiny)
    assert not (out / "real_masks").exists()


def test_balance_fills_up_and_classes_restrict(data: Path, tmp_path: Path, tiny: Options) -> None:
    for path in sorted((data / "tumor").iterdir())[:14]:
        path.unlink()
    kept = [line for line in (data / "metadata.csv").read_text().splitlines() if (data / line.split(",")[0]).exists()]
    (data / "metadata.csv").write_text("\n".join(["file_name,label,patient", *kept]) + "\n")
    mixed = braingan.augment(data, tmp_path / "balanced", balance=True, **tiny)
    assert mixed.targets.count(0) == mixed.targets.count(1) == 20
    only = braingan.augment(data, tmp_path / "only", ratio=1, classes=["tumor"], **tiny)
    assert (only.targets.count(0), only.targets.count(1)) == (20, 12)


def test_files_of_one_name_in_different_folders_or_formats_all_arrive(tmp_path: Path, tiny: Options) -> None:
    data = tmp_path / "clash"
    for name in ("a/1.png", "a/1.jpg", "a/sub/1.png", "a/sub_1.png", "b/1.png"):
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(name)).integers(0, 255, (40, 40), np.uint8)).save(data / name)
    mixed = braingan.augment(data, tmp_path / "out", ratio=1, **tiny)
    assert mixed.targets.count(0) == 8
    assert len(list((tmp_path / "out" / "real" / "a").iterdir())) == 4


def test_a_stopped_augment_takes_up_its_finished_generator(data: Path, tmp_path: Path, tiny: Options) -> None:
    out = tmp_path / "out"
    braingan.augment(data, out, ratio=0.5, **tiny)
    before = (out / "generator" / "model.safetensors").stat().st_mtime_ns
    (out / "manifest.jsonl").unlink()  # as if stopped before the end
    braingan.augment(data, out, ratio=0.5, **tiny)
    assert (out / "generator" / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(OutputError, match="holds synthetic images already"):
        braingan.augment(data, out, ratio=0.5, **tiny)
    (out / "manifest.jsonl").unlink()
    with pytest.raises(OutputError, match=r"for other work \(sampling seed 0 there, 1 asked; seed 0 there, 1 asked\)"):
        braingan.augment(data, out, ratio=0.5, **tiny, seed=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ratio": 0.5, "balance": True}, "--ratio and --balance were both asked"),
        ({"ratio": 0.001}, "asks for no image at all"),
        ({"ratio": -1}, "0 to 1000"),
        ({"balance": True}, "--balance asks for no image at all"),
        ({"classes": ["glioma"]}, "class 'glioma' was asked; the data have 'no_tumor', 'tumor'"),
        ({"backend": "dcgann"}, "did you mean 'dcgan'"),
    ],
)
def test_augmenting_that_cannot_work_is_refused_before_training(
    data: Path, tmp_path: Path, tiny: Options, options: Options, words: str
) -> None:
    with pytest.raises(braingan.BrainganError, match=words):
        braingan.augment(data, tmp_path / "out", **(tiny | options))
    assert not (tmp_path / "out" / "generator").exists()


def test_a_given_generator_decides_the_preprocessing_and_must_have_the_same_classes(
    run: Path, data: Path, tmp_path: Path, write_data: Callable[..., Path]
) -> None:
    braingan.augment(data, tmp_path / "out", ratio=0.5, generator=run)
    assert size_of(tmp_path / "out" / "real" / "tumor" / "P00_tumor_0.png") == (32, 32)
    other = write_data("other")
    (other / "metadata.csv").unlink()
    (other / "tumor").rename(other / "glioma")
    with pytest.raises(SettingsError, match="makes no_tumor, tumor; the data have glioma, no_tumor"):
        braingan.augment(other, tmp_path / "out2", ratio=0.5, generator=run)


def test_a_generator_that_has_seen_held_out_images_is_refused(run: Path, data: Path, tmp_path: Path) -> None:
    whole = json.loads((run / "split.json").read_text())
    held_out = [file for file in whole["train"] if file["group"] == "data-P08"]
    train = [file for file in whole["train"] if file["group"] < "data-P08"]
    (tmp_path / "split.json").write_text(json.dumps(whole | {"train": train, "test": held_out}))
    with pytest.raises(LeakageError, match=r"leak: .* was trained on 4 held-out images .*\(no_tumor/P08"):
        braingan.augment(data, tmp_path / "out", ratio=0.5, generator=run, split=tmp_path / "split.json")


def test_held_out_images_are_written_beside_prepared_as_the_real_ones_are(
    data: Path, write_data: Callable[..., Path], tmp_path: Path, tiny: Options
) -> None:
    """A classifier that learns from `real` cannot be scored on images that were prepared in another way."""
    test, out = write_data("theirs", seed=1), tmp_path / "out"
    mixed = braingan.augment(data, out, test=test, ratio=0.5, **tiny)
    prepared = prepare_folder(test, mixed.synthetic.preprocessing, tmp_path / "cache")
    written = ImageFolder(str(out / "test"))
    assert written.classes == mixed.classes
    sources = [Path(path).stem for path, _ in written.samples]
    places = [[Path(record.file).stem for record in prepared.source.records].index(source) for source in sources]
    pixels = [np.asarray(image.convert("L")) for image, _ in written]
    assert np.array_equal(np.stack(pixels), prepared.images[places, 0].numpy())
    assert not (out / "val").exists()
    braingan.AugmentedDataset(ImageFolder(str(out / "real")), mixed.synthetic, held_out=written)  # no leak


def test_a_stopped_augment_goes_on_with_the_same_held_out_images_only(
    data: Path, write_data: Callable[..., Path], tmp_path: Path, tiny: Options
) -> None:
    test, out = write_data("theirs", seed=1), tmp_path / "out"
    braingan.augment(data, out, test=test, ratio=0.5, **tiny)
    (out / "manifest.jsonl").unlink()  # as if stopped before the end
    (out / "test" / "tumor" / "left.png").touch()
    with pytest.raises(OutputError, match=r"out is for other work \(held-out images .* there, .* asked\)"):
        braingan.augment(data, out, ratio=0.5, **tiny)
    assert (out / "test" / "tumor" / "left.png").exists()
    braingan.augment(data, out, test=test, ratio=0.5, **tiny)
    assert not (out / "test" / "tumor" / "left.png").exists()


def test_of_a_split_validation_and_test_images_are_written_beside(data: Path, tmp_path: Path, tiny: Options) -> None:
    braingan.train(data, tmp_path / "whole", **tiny)
    held_out = {"P08": "val", "P09": "test"}
    split = json.loads((tmp_path / "whole" / "split.json").read_text())
    parts: dict[str, list[dict[str, str]]] = {"train": [], "val": [], "test": []}
    for file in split["train"]:
        parts[held_out.get(file["group"].removeprefix("data-"), "train")].append(file)
    (tmp_path / "split.json").write_text(json.dumps(split | parts))
    braingan.augment(data, tmp_path / "out", ratio=0.5, split=tmp_path / "split.json", **tiny)
    for name, own in (("real", "train"), ("val", "val"), ("test", "test")):
        assert len(braingan.read_images(tmp_path / "out" / name).records) == len(parts[own]) > 0
    assert len(split["train"]) == sum(map(len, parts.values()))


def test_a_folder_that_is_no_synthetic_set_or_lacks_files_is_refused(run: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"holds no manifest\.jsonl"):
        braingan.load_synthetic(tmp_path)
    braingan.sample(run, tmp_path / "out", count=2)
    (tmp_path / "out" / "tumor" / "000001.png").unlink()
    with pytest.raises(OutputError, match=r"000001\.png is missing \(1 of 4 files"):
        braingan.load_synthetic(tmp_path / "out")
    (tmp_path / "out" / "manifest.jsonl").write_text("no json\n")
    with pytest.raises(OutputError, match="out is damaged"):
        braingan.load_synthetic(tmp_path / "out")
