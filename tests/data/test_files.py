import os
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.functional import pil_to_tensor
from torchvision.utils import make_grid

from braingan.data.files import (
    fingerprint,
    read_json,
    refuse_unless_empty,
    replacing,
    replacing_folder,
    sha256_of,
    write_json,
)
from braingan.data.pictures import from_picture, grid, to_float, to_picture, to_uint8, write_png
from braingan.errors import OutputError


def write_half(path: Path, error: BaseException) -> None:
    with replacing(path) as beside:
        beside.write_text("half")
        raise error


def fill_half(path: Path, error: BaseException) -> None:
    with replacing_folder(path) as beside:
        (beside / "file").write_text("half")
        raise error


def fill_while_somebody_else_does(path: Path) -> None:
    with replacing_folder(path):
        path.mkdir()
        (path / "theirs").touch()


def fill(path: Path) -> None:
    with replacing_folder(path):
        pytest.fail("the block must not run")


def test_the_name_of_a_content_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256_of(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
    assert fingerprint([1, 2]) != fingerprint([2, 1])


def test_a_file_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with replacing(target) as beside:
        beside.write_text("whole")
        assert not target.exists()
        assert beside.parent == target.parent  # the same disk, so that the last step cannot be half done
    assert target.read_text() == "whole"
    assert os.listdir(target.parent) == ["file.txt"]


def test_a_block_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_half(target, ZeroDivisionError())
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_failure_of_the_disk_while_writing_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"^cannot write .*model\.bin: No space left on device$"):
        write_half(tmp_path / "model.bin", OSError(28, "No space left on device"))
    with pytest.raises(OutputError, match=r"^cannot write .*samples: No space left on device$"):
        fill_half(tmp_path / "samples", OSError(28, "No space left on device"))
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("below", ["out.json", "deep/out.json"])
def test_a_file_below_a_file_cannot_be_written(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("a file")
    with pytest.raises(OutputError, match=r"^cannot write .*out\.json: .+"):
        write_json(tmp_path / "file" / below, {})
    assert (tmp_path / "file").read_text() == "a file"


def test_a_file_cannot_take_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"cannot write .*folder: Is a directory"):
        write_json(tmp_path / "folder", {})
    assert os.listdir(tmp_path) == ["folder"]


def test_a_folder_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "new" / "folder"
    with replacing_folder(target) as beside:
        (beside / "file").write_text("whole")
        assert not target.exists()
    assert (target / "file").read_text() == "whole"
    assert target.stat().st_mode & 0o777 == 0o755
    assert os.listdir(target.parent) == ["folder"]


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with replacing_folder(tmp_path / "folder") as beside:
        (beside / "file").touch()
    assert os.listdir(tmp_path / "folder") == ["file"]


def test_a_block_that_fails_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        fill_half(tmp_path / "folder", KeyboardInterrupt())
    assert os.listdir(tmp_path) == []


def test_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").touch()
    with pytest.raises(OutputError, match="folder is not empty; give a new or empty folder"):
        fill(tmp_path / "folder")
    assert os.listdir(tmp_path / "folder") == ["mine"]


def test_a_folder_that_fills_up_meanwhile_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with pytest.raises(OutputError, match=r"cannot write .*folder: Directory not empty"):
        fill_while_somebody_else_does(target)
    assert os.listdir(tmp_path) == ["folder"]
    assert os.listdir(target) == ["theirs"]


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file is a file; give a new or empty folder"):
        refuse_unless_empty(tmp_path / "file")


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_folder_below_a_file_cannot_be_written(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot write .*out: .+"):
        fill(tmp_path / "file" / below)


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"name": "Gehirn, größer", "numbers": [1, 2.5, None]}
    write_json(tmp_path / "value.json", value)
    assert read_json(tmp_path / "value.json") == value


def test_missing_json_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"value\.json does not exist"):
        read_json(tmp_path / "value.json")


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"], ids=["half", "empty", "not UTF-8"])
def test_what_is_no_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(OutputError, match=r"value\.json cannot be read as JSON: .+"):
        read_json(tmp_path / "value.json")


def test_bytes_survive_the_way_to_floats_and_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    assert to_float(every).min() == -1
    assert to_float(every).max() == 1
    assert torch.equal(to_uint8(to_float(every)), every)
    assert to_uint8(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_picture_is_written_with_its_text(tmp_path: Path, channels: int, mode: str) -> None:
    image = torch.arange(channels * 16 * 12).remainder(256).to(torch.uint8).reshape(channels, 16, 12)
    write_png(tmp_path / "a.png", image, {"braingan": "synthetic"})
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.mode, picture.size) == (mode, (12, 16))
        assert picture.info["braingan"] == "synthetic"
        assert list(picture.tobytes()) == image.movedim(0, -1).flatten().tolist()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_grid_can_be_shown_whatever_the_channels(channels: int) -> None:
    picture = grid(torch.full((5, channels, 8, 8), 9, dtype=torch.uint8), columns=3)
    assert to_picture(picture).size == (3 * 10 + 2, 2 * 10 + 2)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [2, 3, 7])
def test_a_grid_is_what_torchvision_makes(channels: int, count: int) -> None:
    images = torch.randint(256, (count, channels, 5, 9), dtype=torch.uint8)
    assert torch.equal(grid(images, columns=3), make_grid(images, nrow=3))


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_picture_and_its_pixels_are_one_another(mode: str) -> None:
    image = Image.effect_noise((9, 5), 50).convert(mode)
    assert torch.equal(from_picture(image), pil_to_tensor(image))
    assert to_picture(from_picture(image)).tobytes() == image.tobytes()


def test_files_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        with replacing(tmp_path / "weights.safetensors") as beside:
            save_file({"a": torch.zeros(3)}, beside)
    finally:
        os.umask(before)
    assert (tmp_path / "weights.safetensors").stat().st_mode & 0o777 == 0o644
