import csv
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import braingan
from braingan.data.findings import BadFile
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.split import everything
from braingan.errors import DataError, OutputError

Writer = Callable[..., Path]
Head = Callable[..., np.ndarray]
HOW = Preprocessing(size=16)


def files_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def the_only_file_in(cache: Path) -> Path:
    (file,) = cache.iterdir()
    return file


def forge(cache: Path) -> None:
    """Put recognisable images into the cache."""
    images = torch.full((12, 1, 16, 16), 77, dtype=torch.uint8)
    views = torch.zeros(12, 64, 64, dtype=torch.uint8)
    save_file({"images": images, "views": views}, the_only_file_in(cache))


def names(prepared: PreparedSet) -> list[str]:
    return [record.file for record in prepared.source.records]


def test_a_folder_becomes_one_tensor_with_labels_and_hashes(data: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(data, HOW, tmp_path / "cache")
    assert (prepared.images.shape, prepared.images.dtype) == ((12, 1, 16, 16), torch.uint8)
    assert prepared.labels.tolist() == [0] * 6 + [1] * 6
    assert prepared.labels.dtype == torch.int64
    assert len(prepared) == len(set(prepared.hashes)) == 12
    assert (prepared.spec.shape, prepared.spec.classes) == ((1, 16, 16), ("no_tumor", "tumor"))
    assert prepared.bad_files == ()


def test_colour_has_three_channels(data: Path, tmp_path: Path) -> None:
    images = prepare_folder(data, Preprocessing(size=16, channels=3), tmp_path / "cache").images
    assert images.shape == (12, 3, 16, 16)
    assert torch.equal(images[:, 0], images[:, 2])


def test_the_slices_of_a_patient_are_prepared_together(data: Path, tmp_path: Path) -> None:
    together = prepare_folder(data, HOW, tmp_path / "cache").images[:, :, 5:11, 5:11].float().mean(dim=(1, 2, 3))
    assert (together[:6] < 0.95 * together[6:]).all()  # the slice of class 0 was written darker
    (data / "metadata.csv").unlink()
    apart = prepare_folder(data, HOW, tmp_path / "cache").images[:, :, 5:11, 5:11].float().mean(dim=(1, 2, 3))
    assert torch.allclose(apart[:6], apart[6:], atol=3)


def test_a_selection_carries_everything_along(data: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(data, HOW, tmp_path / "cache")
    chosen = prepared.select([11, 2])
    assert torch.equal(chosen.images, prepared.images[[11, 2]])
    assert chosen.hashes == (prepared.hashes[11], prepared.hashes[2])
    assert names(chosen) == ["tumor/p5.png", "no_tumor/p2.png"]
    assert chosen.labels.tolist() == [1, 0]
    assert chosen.spec == prepared.spec


def test_results_do_not_depend_on_the_order_of_rows(data: Path, tmp_path: Path) -> None:
    before = prepare_folder(data, HOW, tmp_path / "one")
    header, *rows = (data / "metadata.csv").read_text().splitlines()
    (data / "metadata.csv").write_text("\n".join([header, *reversed(rows)]))
    after = prepare_folder(data, HOW, tmp_path / "other")
    assert torch.equal(before.images, after.images)
    assert (before.hashes, names(before)) == (after.hashes, names(after))


def test_a_patient_is_prepared_the_same_whoever_else_is_there(data: Path, tmp_path: Path) -> None:
    every = prepare_folder(data, HOW, tmp_path / "cache").images
    lines = (data / "metadata.csv").read_text().splitlines()
    for file in data.glob("*/p3.png"):
        file.unlink()
    (data / "metadata.csv").write_text("\n".join(line for line in lines if "p3" not in line))
    fewer = prepare_folder(data, HOW, tmp_path / "cache").images
    assert torch.equal(fewer, every[[0, 1, 2, 4, 5, 6, 7, 8, 10, 11]])


# The cache


def test_a_second_call_reads_the_cache_and_decodes_nothing(data: Path, tmp_path: Path) -> None:
    first = prepare_folder(data, HOW, tmp_path / "cache")
    assert torch.equal(prepare_folder(data, HOW, tmp_path / "cache").images, first.images)
    forge(tmp_path / "cache")
    second = prepare_folder(data, HOW, tmp_path / "cache")
    assert (second.images == 77).all()
    assert second.hashes == first.hashes


def test_changed_content_is_decoded_again(data: Path, tmp_path: Path, head: Head) -> None:
    first = prepare_folder(data, HOW, tmp_path / "cache")
    forge(tmp_path / "cache")
    Image.fromarray(head(radius=6)).save(data / "tumor" / "p0.png")
    second = prepare_folder(data, HOW, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2
    differs = [index for index in range(12) if not torch.equal(first.images[index], second.images[index])]
    assert set(differs) <= {0, 6}  # the patient of the new file
    assert 6 in differs
    assert first.hashes[6] != second.hashes[6]


@pytest.mark.parametrize("other", [Preprocessing(size=24), Preprocessing(size=16, margin=0.2)])
def test_other_settings_are_decoded_again(data: Path, tmp_path: Path, other: Preprocessing) -> None:
    prepare_folder(data, HOW, tmp_path / "cache")
    forge(tmp_path / "cache")
    assert prepare_folder(data, other, tmp_path / "cache").images.unique().numel() > 2


def test_other_patients_are_decoded_again(data: Path, tmp_path: Path) -> None:
    prepare_folder(data, HOW, tmp_path / "cache")
    forge(tmp_path / "cache")
    metadata = (data / "metadata.csv").read_text()
    (data / "metadata.csv").write_text(metadata.replace(",p5", ",p4"))
    assert prepare_folder(data, HOW, tmp_path / "cache").images.unique().numel() > 2


def test_touching_files_changes_nothing(data: Path, tmp_path: Path) -> None:
    prepare_folder(data, HOW, tmp_path / "cache")
    forge(tmp_path / "cache")
    for file in data.rglob("*.png"):
        file.touch()
    assert (prepare_folder(data, HOW, tmp_path / "cache").images == 77).all()


@pytest.mark.parametrize("damage", ["empty", "text", "cut", "of another kind"])
def test_a_damaged_cache_is_decoded_again(
    data: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    first = prepare_folder(data, HOW, tmp_path / "cache")
    stored = the_only_file_in(tmp_path / "cache")
    whole = stored.read_bytes()
    if damage == "of another kind":
        save_file({"pictures": torch.zeros(3)}, stored)
    else:
        stored.write_bytes({"empty": b"", "text": b"no tensors here", "cut": whole[:-100]}[damage])
    with caplog.at_level(logging.WARNING, "braingan"):
        assert torch.equal(prepare_folder(data, HOW, tmp_path / "cache").images, first.images)
    assert "is damaged" in caplog.text
    assert the_only_file_in(tmp_path / "cache").read_bytes() == whole


def test_a_cache_of_another_number_of_images_is_decoded_again(data: Path, tmp_path: Path) -> None:
    first = prepare_folder(data, HOW, tmp_path / "cache")
    stored = the_only_file_in(tmp_path / "cache")
    save_file({"images": first.images[:3].clone()}, stored)
    assert torch.equal(prepare_folder(data, HOW, tmp_path / "cache").images, first.images)


def test_nothing_is_written_outside_the_cache(
    data: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path_factory.mktemp("home")
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(elsewhere))
    monkeypatch.chdir(elsewhere)
    before = files_in(tmp_path)
    prepare_folder(data, HOW, tmp_path / "run" / "cache")
    new = set(files_in(tmp_path)) - set(before)
    assert new == {f"run/cache/{the_only_file_in(tmp_path / 'run' / 'cache').name}"}
    assert {name: content for name, content in files_in(tmp_path).items() if name not in new} == before
    assert not list(elsewhere.iterdir())


def test_a_cache_that_cannot_be_written_is_one_line(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"^cannot write .*file/cache/\w+\.safetensors: .+"):
        prepare_folder(data, HOW, tmp_path / "file" / "cache")


# Bad files


def spoil(data: Path, name: str, content: bytes = b"") -> None:
    (data / name).write_bytes(content)


def test_an_image_that_cannot_be_read_is_named_in_one_line(data: Path, tmp_path: Path) -> None:
    spoil(data, "tumor/p3.png")
    with pytest.raises(DataError) as caught:
        prepare_folder(data, HOW, tmp_path / "cache")
    assert str(caught.value) == f"{data}: tumor/p3.png: is empty; --skip-bad goes on without bad files"


def test_bad_images_are_listed_and_skipped_where_the_user_asks_for_it(
    data: Path, tmp_path: Path, write_image: Writer, head: Head, caplog: pytest.LogCaptureFixture
) -> None:
    good = prepare_folder(data, HOW, tmp_path / "cache")
    whole = (data / "no_tumor" / "p1.png").read_bytes()
    spoil(data, "no_tumor/p1.png", whole[: len(whole) // 2])
    spoil(data, "tumor/p3.png", b"text")
    (data / "tumor" / "p5.png").unlink()
    spoil(data, "tumor/new.png", whole)
    with caplog.at_level(logging.WARNING, "braingan"):
        prepared = prepare_folder(data, HOW, tmp_path / "cache", skip_bad=True)
    reasons = {bad.file: bad.reason for bad in prepared.bad_files}
    assert len(prepared) == len(prepared.images) == len(prepared.hashes) == 9
    assert not set(reasons) & set(names(prepared))
    assert list(reasons) == ["tumor/p5.png", "tumor/new.png", "no_tumor/p1.png", "tumor/p3.png"]
    assert reasons["no_tumor/p1.png"].startswith("cannot be decoded: ")
    assert reasons["tumor/p3.png"] == "is not a PNG, JPEG, TIFF or BMP image"
    assert reasons["tumor/new.png"] == "has no row in metadata.csv"
    assert "left out tumor/p3.png: is not a PNG, JPEG, TIFF or BMP image" in caplog.text
    assert torch.equal(prepared.images[names(prepared).index("tumor/p0.png")], good.images[6])


def test_bad_files_are_told_from_the_cache_too(data: Path, tmp_path: Path) -> None:
    spoil(data, "tumor/p3.png")
    first = prepare_folder(data, HOW, tmp_path / "cache", skip_bad=True)
    again = prepare_folder(data, HOW, tmp_path / "cache", skip_bad=True)
    assert again.bad_files == first.bad_files != ()
    with pytest.raises(DataError, match=r"tumor/p3\.png: is empty; --skip-bad"):
        prepare_folder(data, HOW, tmp_path / "cache")


def test_a_repaired_file_is_read_again(data: Path, tmp_path: Path) -> None:
    whole = (data / "tumor" / "p3.png").read_bytes()
    spoil(data, "tumor/p3.png")
    prepare_folder(data, HOW, tmp_path / "cache", skip_bad=True)
    spoil(data, "tumor/p3.png", whole)
    assert len(prepare_folder(data, HOW, tmp_path / "cache")) == 12


def test_a_link_to_nowhere_is_a_bad_file(classes_only: Path, tmp_path: Path) -> None:
    (classes_only / "yes" / "link.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"yes/link\.png: does not exist; --skip-bad"):
        prepare_folder(classes_only, HOW, tmp_path / "cache")
    assert len(prepare_folder(classes_only, HOW, tmp_path / "cache", skip_bad=True)) == 4


def test_a_class_of_bad_files_only_is_refused(classes_only: Path, tmp_path: Path) -> None:
    for file in (classes_only / "yes").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match="class 'yes' has no image that can be read"):
        prepare_folder(classes_only, HOW, tmp_path / "cache", skip_bad=True)


def test_pixels_that_are_no_numbers_make_a_bad_file(classes_only: Path, tmp_path: Path, write_image: Writer) -> None:
    write_image(classes_only / "yes" / "nan.tif", np.full((16, 16), np.nan, np.float32))
    with pytest.raises(DataError, match=r"yes/nan\.tif: holds pixels that are not finite numbers; --skip-bad"):
        prepare_folder(classes_only, HOW, tmp_path / "cache")


def test_depths_and_formats_of_one_picture_give_nearly_the_same(
    tmp_path: Path, write_image: Writer, head: Head
) -> None:
    picture = head()
    write_image(tmp_path / "data" / "a" / "8.png", picture)
    write_image(tmp_path / "data" / "a" / "16.png", picture.astype(np.uint16) * 257)
    write_image(tmp_path / "data" / "a" / "16.tif", picture.astype(np.uint16) * 16)
    write_image(tmp_path / "data" / "a" / "float.tif", picture.astype(np.float32) / 255)
    write_image(tmp_path / "data" / "a" / "rgb.bmp", Image.fromarray(picture).convert("RGB"))
    write_image(tmp_path / "data" / "a" / "lossy.jpg", picture, quality=95)
    images = prepare_folder(tmp_path / "data", HOW, tmp_path / "cache").images.int()
    assert len(images) == 6
    assert (images - images[0]).abs().float().mean(dim=(1, 2, 3)).max() < 3


def test_what_pillow_warns_about_is_left_to_its_user(
    tmp_path: Path, classes_only: Path, write_image: Writer, head: Head
) -> None:
    for number in range(40):
        write_image(classes_only / "yes" / f"many{number}.png", head())
    before = list(warnings.filters)
    prepare_folder(classes_only, HOW, tmp_path / "cache")
    assert warnings.filters == before  # threads that each change the filters would leave them changed


# Masks


WHOLE = Preprocessing(size=48, crop=False)  # as large as the phantom


@pytest.fixture
def phantom(tmp_path: Path) -> Path:
    """Four patients with slices of both classes, and masks of the tumours."""
    braingan.phantom(tmp_path / "phantom", patients=4, slices=3, size=48)
    return tmp_path / "phantom"


def mask_files(data: Path) -> dict[str, Path]:
    """The mask of each image that has one."""
    with (data / "metadata.csv").open(newline="") as file:
        return {row["file_name"]: data / row["mask"] for row in csv.DictReader(file) if row["mask"]}


def masks_of(prepared: PreparedSet) -> torch.Tensor:
    assert prepared.masks is not None
    return prepared.masks


def test_masks_are_prepared_beside_their_images(phantom: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(phantom, WHOLE, tmp_path / "cache")
    masks, files = masks_of(prepared), mask_files(phantom)
    assert (masks.shape, masks.dtype) == ((len(prepared), 48, 48), torch.bool)
    assert 0 < len(files) < len(prepared)
    for mask, name in zip(masks, names(prepared), strict=True):
        if name in files:
            with Image.open(files[name]) as picture:
                assert np.array_equal(mask.numpy(), np.asarray(picture) > 0)
        else:
            assert not mask.any()
    small = masks_of(prepare_folder(phantom, HOW, tmp_path / "cache"))
    assert torch.equal(small.any(dim=(1, 2)), masks.any(dim=(1, 2)))


def test_masks_of_slices_in_other_formats_are_prepared_too(tmp_path: Path, write_image: Writer, head: Head) -> None:
    folder = tmp_path / "data" / "TCGA_CS_0001_19970101"
    for number, tumor in ((1, False), (2, True)):
        write_image(folder / f"{folder.name}_{number}.tif", np.stack([head()] * 3, axis=2))
        write_image(folder / f"{folder.name}_{number}_mask.tif", (head() > 60).astype(np.uint8) * 255 * tumor)
    masks = masks_of(prepare_folder(tmp_path / "data", HOW, tmp_path / "cache"))
    assert masks.any(dim=(1, 2)).tolist() == [False, True]


def test_where_no_tumour_is_marked_there_are_no_masks(phantom: Path, data: Path, tmp_path: Path) -> None:
    assert prepare_folder(data, HOW, tmp_path / "cache").masks is None
    for file in mask_files(phantom).values():
        Image.new("L", (48, 48)).save(file)
    assert prepare_folder(phantom, HOW, tmp_path / "cache").masks is None


def test_a_selection_carries_the_masks_of_its_images(phantom: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(phantom, HOW, tmp_path / "cache")
    masks, marked = masks_of(prepared), masks_of(prepared).any(dim=(1, 2))
    last, first = int(marked.nonzero()[-1]), int((~marked).nonzero()[0])
    assert torch.equal(masks_of(prepared.select([last, first])), masks[[last, first]])
    assert prepared.select([first]).masks is None


def test_masks_come_from_the_cache_the_second_time(phantom: Path, tmp_path: Path) -> None:
    masks = masks_of(prepare_folder(phantom, HOW, tmp_path / "cache"))
    stored = the_only_file_in(tmp_path / "cache")
    save_file(load_file(stored) | {"masks": ~masks}, stored)
    assert torch.equal(masks_of(prepare_folder(phantom, HOW, tmp_path / "cache")), ~masks)


def test_a_cache_with_another_number_of_masks_is_decoded_again(phantom: Path, tmp_path: Path) -> None:
    masks = masks_of(prepare_folder(phantom, HOW, tmp_path / "cache"))
    stored = the_only_file_in(tmp_path / "cache")
    save_file(load_file(stored) | {"masks": masks[:3].clone()}, stored)
    assert torch.equal(masks_of(prepare_folder(phantom, HOW, tmp_path / "cache")), masks)


def test_a_changed_mask_is_read_again_and_is_no_other_image(phantom: Path, tmp_path: Path) -> None:
    first = prepare_folder(phantom, WHOLE, tmp_path / "cache")
    name, file = next(iter(mask_files(phantom).items()))
    Image.fromarray(np.eye(48, dtype=np.uint8) * 255).save(file)
    second = prepare_folder(phantom, WHOLE, tmp_path / "cache")
    index = names(second).index(name)
    assert torch.equal(masks_of(second)[index], torch.eye(48, dtype=torch.bool))
    others = [number for number in range(len(first)) if number != index]
    assert torch.equal(masks_of(second)[others], masks_of(first)[others])
    assert torch.equal(first.images, second.images)
    assert first.hashes == second.hashes
    assert everything(first).train_hash == everything(second).train_hash


def test_a_mask_that_does_not_fit_or_cannot_be_read_makes_its_image_a_bad_file(phantom: Path, tmp_path: Path) -> None:
    whole = prepare_folder(phantom, HOW, tmp_path / "cache")
    (fits_not, first), (broken, second), *_ = sorted(mask_files(phantom).items())
    Image.new("L", (30, 20)).save(first)
    second.write_bytes(b"no picture")
    with pytest.raises(DataError, match=f"^{phantom}: {fits_not}: has 48x48 pixels but its mask has 30x20 "):
        prepare_folder(phantom, HOW, tmp_path / "cache")
    prepared = prepare_folder(phantom, HOW, tmp_path / "cache", skip_bad=True)
    assert prepared.bad_files == (
        BadFile(fits_not, "has 48x48 pixels but its mask has 30x20"),
        BadFile(broken, f"its mask {second.name} is not a PNG, JPEG, TIFF or BMP image"),
    )
    assert len(masks_of(prepared)) == len(prepared) == len(whole) - 2
