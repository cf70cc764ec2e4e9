"""What a generator has seen: kept, read again, and held against held-out images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from safetensors.numpy import save_file

from braingan.data.decoding import read_pixels
from braingan.data.files import sha256_of
from braingan.data.views import VIEW, view_of
from braingan.duplicates.seen import SEEN, Seen, find_leak, some_names
from braingan.duplicates.twins import Looks
from braingan.errors import OutputError

BYTES = np.zeros((2, 64), np.uint8)
NOTHING = Looks(np.zeros((0, VIEW, VIEW), np.uint8), [])


def looks_at(*files: Path) -> Looks:
    return Looks(np.stack([view_of(read_pixels(file, None)) for file in files]), [sha256_of(file) for file in files])


@pytest.fixture(scope="module")
def files(heads: Path) -> list[Path]:
    """A slice of each of twelve patients."""
    return sorted(path for path in heads.rglob("*_00.png") if path.parent.name != "masks")


@pytest.fixture
def mirrored(files: list[Path], tmp_path: Path) -> list[Path]:
    """The same, mirrored: other bytes, the same picture."""
    paths = [tmp_path / f"mirrored-{file.name}" for file in files]
    for file, path in zip(files, paths, strict=True):
        with Image.open(file) as image:
            ImageOps.mirror(image).save(path)
    return paths


def test_it_is_the_same_after_it_was_saved(files: list[Path], tmp_path: Path) -> None:
    looks = looks_at(*files)
    seen = Seen.of(looks)
    seen.save(tmp_path)
    again = Seen.load(tmp_path)
    assert again.hashes == seen.hashes == tuple(looks.hashes)
    assert np.array_equal(again.fingerprints, seen.fingerprints)
    assert again.among(looks).all()
    assert [path.name for path in tmp_path.iterdir()] == [SEEN]


def test_nothing_can_be_kept_too(files: list[Path], tmp_path: Path) -> None:
    Seen.of(NOTHING).save(tmp_path)
    again = Seen.load(tmp_path)
    assert again.hashes == ()
    assert not again.among(looks_at(*files)).any()


def test_neither_names_nor_pictures_are_kept(files: list[Path], tmp_path: Path) -> None:
    Seen.of(looks_at(*files)).save(tmp_path)
    content = (tmp_path / SEEN).read_bytes()
    assert len(content) < 1000 + len(files) * (32 + 64)
    assert b"P0001" not in content


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"does not say what its generator has seen \(seen.safetensors is missing\)"):
        Seen.load(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"nothing of the kind"),
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        lambda path: save_file({"sha256": BYTES[:, :32]}, path),
        lambda path: save_file({"sha256": BYTES[:, :32], "fingerprints": np.zeros((2, 64), np.float32)}, path),
        lambda path: save_file({"sha256": BYTES[:, :32], "fingerprints": BYTES[:, :32]}, path),
        lambda path: save_file({"sha256": BYTES[:, :32], "fingerprints": np.tile(BYTES, (2, 1))}, path),
        lambda path: (path.unlink(), path.mkdir()),
    ],
    ids=["empty", "foreign", "cut off", "without fingerprints", "no bytes", "too short", "too many", "a folder"],
)
def test_a_damaged_file_is_refused_in_one_line(files: list[Path], tmp_path: Path, damage: object) -> None:
    Seen.of(looks_at(*files)).save(tmp_path)
    damage(tmp_path / SEEN)  # type: ignore[operator]
    with pytest.raises(OutputError, match=r"seen\.safetensors is damaged") as caught:
        Seen.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_it_is_known_by_content_and_by_picture(files: list[Path], mirrored: list[Path]) -> None:
    seen = Seen.of(looks_at(*files[:4]))
    assert seen.among(looks_at(*files)).tolist() == [number < 4 for number in range(len(files))]
    assert seen.among(looks_at(*mirrored)).tolist() == [number < 4 for number in range(len(files))]
    assert seen.among(NOTHING).shape == (0,)


def test_an_image_that_shows_nothing_is_nobodys(files: list[Path], tmp_path: Path) -> None:
    for name, level in (("a.png", 0), ("b.png", 9)):
        Image.new("L", (50, 50), level).save(tmp_path / name)
    seen = Seen.of(looks_at(tmp_path / "a.png", files[0]))
    assert seen.among(looks_at(tmp_path / "a.png", tmp_path / "b.png", files[0])).tolist() == [False, False, True]


def test_images_without_a_content_are_known_by_picture(files: list[Path]) -> None:
    looks = looks_at(*files)
    nameless = Looks(looks.views, [""] * len(looks))
    assert Seen.of(looks_at(*files[:3])).among(nameless).tolist() == [number < 3 for number in range(len(files))]
    without = Seen(("",) * 3, Seen.of(looks_at(*files[:3])).fingerprints)
    assert without.among(nameless).tolist() == [number < 3 for number in range(len(files))]


def test_what_shows_the_same_picture_is_taken_away(files: list[Path], mirrored: list[Path]) -> None:
    seen = Seen.of(looks_at(*files[:6]))
    left = seen.without(looks_at(files[0], mirrored[1], files[9]))
    assert left.hashes == seen.hashes[2:]
    assert np.array_equal(left.fingerprints, seen.fingerprints[2:])
    assert seen.without(NOTHING).hashes == seen.hashes
    assert seen.without(looks_at(*files)).hashes == ()


def test_what_was_seen_elsewhere_is_a_leak_and_what_training_shows_is_the_datas_doing(
    files: list[Path], mirrored: list[Path]
) -> None:
    seen = Seen.of(looks_at(*files[:4]))  # 0, 1: training images; 2, 3: from elsewhere
    found = find_leak(seen, held_out=looks_at(*mirrored[:6]), train=looks_at(files[0], files[1], files[7]))
    assert found.leaked.tolist() == [False, False, True, True, False, False]
    assert found.shared.tolist() == [True, True, False, False, False, False]


def test_what_was_trained_on_the_training_images_alone_never_leaks(files: list[Path], mirrored: list[Path]) -> None:
    train = looks_at(*files[:5])
    for held_out in (looks_at(*mirrored), looks_at(*files)):
        found = find_leak(Seen.of(train), held_out, train)
        assert not found.leaked.any()
        assert found.shared.tolist() == [number < 5 for number in range(len(files))]


def test_what_was_trained_on_other_copies_of_the_training_images_does_not_leak_either(
    files: list[Path], mirrored: list[Path]
) -> None:
    found = find_leak(Seen.of(looks_at(*mirrored[:5])), looks_at(*files), looks_at(*files[:5]))
    assert not found.leaked.any()
    assert found.shared.tolist() == [number < 5 for number in range(len(files))]


def test_a_few_names_are_shown() -> None:
    assert some_names(["a", "b", "c"]) == "a, b, c"
    assert some_names(["a", "b", "c", "d"]) == "a, b, c, ..."
