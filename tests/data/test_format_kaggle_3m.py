import logging
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from braingan.data.findings import BadFile, Findings
from braingan.data.formats.kaggle_3m import Kaggle3m
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.reading import READERS, read_images, recognise
from braingan.data.records import ImageSet, mask_of, open_record, pixels_of
from braingan.errors import DataError, SettingsError

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "lgg-original"
A, B = "TCGA_CS_0001_19970101", "TCGA_HT_0002_19980202"


def write_slice(folder: Path, number: int, *, tumor: bool, size: int = 32, brightness: int = 60) -> Path:
    """A slice whose channels are `brightness`, twice and three times as bright, and its mask."""
    folder.mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:size, :size] - size / 2
    head = (np.hypot(rows, columns) < size / 3)[:, :, None] * np.array([1, 2, 3]) * brightness
    path = folder / f"{folder.name}_{number}.tif"
    Image.fromarray(head.astype(np.uint8)).save(path)
    mask = np.zeros((size, size), np.uint8)
    mask[8:12, 14:20] = 255 * tumor
    Image.fromarray(mask).save(path.with_name(f"{path.stem}_mask.tif"))
    return path


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Two patients with a slice of each class, as the archive has them."""
    for folder in (A, B):
        for number, tumor in ((1, False), (12, True)):
            write_slice(tmp_path / "lgg" / "kaggle_3m" / folder, number, tumor=tumor)
    (tmp_path / "lgg" / "kaggle_3m" / "data.csv").write_text("Patient,RNASeqCluster\n")
    (tmp_path / "lgg" / "kaggle_3m" / "README.md").write_text("LGG\n")
    return tmp_path / "lgg"


def read(data: Path, **options: str) -> ImageSet:
    return Kaggle3m(**options).read(data, Findings(skip_bad=False))


def bad_files(data: Path) -> list[BadFile]:
    findings = Findings(skip_bad=True)
    Kaggle3m().read(data, findings)
    return findings.bad


# What is read


def test_classes_come_from_masks_and_patients_from_folders_without_their_date(published: Path) -> None:
    images = read(published)
    assert images.classes == ["no_tumor", "tumor"]
    assert images.has_patients
    assert [(r.file, images.classes[r.label], r.group) for r in images.records] == [
        (f"kaggle_3m/{A}/{A}_1.tif", "no_tumor", "TCGA_CS_0001"),
        (f"kaggle_3m/{A}/{A}_12.tif", "tumor", "TCGA_CS_0001"),
        (f"kaggle_3m/{B}/{B}_1.tif", "no_tumor", "TCGA_HT_0002"),
        (f"kaggle_3m/{B}/{B}_12.tif", "tumor", "TCGA_HT_0002"),
    ]
    assert [record.columns for record in images.records[:2]] == [(("slice", "1"),), (("slice", "12"),)]


@pytest.mark.parametrize(("sequence", "values"), [("pre", [60]), ("flair", [120]), ("post", [180])])
def test_a_sequence_is_one_channel(published: Path, sequence: str, values: list[int]) -> None:
    record = read(published, sequence=sequence).records[0]
    pixels = pixels_of(record, 1)
    assert (pixels.shape, pixels.dtype) == ((32, 32, 1), np.float32)
    assert pixels[16, 16].tolist() == values


def test_all_sequences_are_three_channels_in_the_published_order(published: Path) -> None:
    record = read(published, sequence="all").records[0]
    assert pixels_of(record, 3)[16, 16].tolist() == [60, 120, 180]
    assert open_record(record).mode == "RGB"


def test_flair_is_read_where_nothing_is_asked(published: Path) -> None:
    assert pixels_of(read(published).records[0], 1)[16, 16, 0] == 120


def test_another_sequence_is_refused_with_those_that_work() -> None:
    with pytest.raises(SettingsError, match=r"^sequence 't2' was asked; pre, flair, post, all work$"):
        Kaggle3m("t2")


def test_the_mask_is_that_of_the_slice(published: Path) -> None:
    record = read(published).records[1]
    assert record.mask == record.path.with_name(f"{A}_12_mask.tif")
    mask = mask_of(record)
    assert mask is not None
    assert (mask.dtype, int(mask.sum())) == (np.bool_, 24)
    assert mask[8:12, 14:20].all()


def test_sequences_of_one_file_are_told_apart_by_their_key(published: Path) -> None:
    sources = [read(published, sequence=sequence).records[0].source for sequence in ("pre", "post")]
    assert sources[0] is not None
    assert sources[1] is not None
    assert sources[0].paths == sources[1].paths == (published / "kaggle_3m" / A / f"{A}_1.tif",)
    assert sources[0].key != sources[1].key


def test_a_folder_of_patients_is_read_as_well(published: Path) -> None:
    assert [record.group for record in read(published / "kaggle_3m").records][::2] == ["TCGA_CS_0001", "TCGA_HT_0002"]
    assert {record.group for record in read(published / "kaggle_3m" / A).records} == {"TCGA_CS_0001"}


def test_the_copy_inside_the_published_archive_is_read_once(published: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in (A, B):
        write_slice(published / "lgg-mri-segmentation" / "kaggle_3m" / folder, 1, tumor=True)
    with caplog.at_level(logging.WARNING, "braingan"):
        images = read(published)
    assert [record.file.split("/")[0] for record in images.records] == ["kaggle_3m"] * 4
    assert [line for line in caplog.messages if "twice" in line] == [
        f"{published}: 4 files are there twice under the same name; the first of each is read"
    ]


# Recognised


def test_the_published_layout_is_recognised(published: Path) -> None:
    assert recognise(published) == "kaggle_3m"
    assert recognise(published / "kaggle_3m") == "kaggle_3m"


@pytest.mark.parametrize(
    "files",
    [
        ["yes/1.tif", "yes/2.tif"],
        ["yes/1.tif", "yes/1_mask.tif"],
        ["p_1/p_1_1.tif", "p_1/p_1_2.tif"],
        ["p_1/p_1_1.png", "p_1/p_1_1_mask.png"],
        ["metadata.csv", "p_1/p_1_1.tif", "p_1/p_1_1_mask.tif"],
        ["p_1/p_1_1.tif", "p_1/p_1_1_mask.tif", "yes/1.tif", "yes/2.tif"],
        [],
    ],
)
def test_other_layouts_are_not_recognised(files: list[str]) -> None:
    assert not Kaggle3m().recognises(files)


def test_a_mask_that_is_missing_does_not_hide_the_format(published: Path) -> None:
    (published / "kaggle_3m" / A / f"{A}_1_mask.tif").unlink()
    assert recognise(published) == "kaggle_3m"


# Bad files


def test_a_slice_without_its_mask_and_a_mask_without_its_slice_are_named(published: Path) -> None:
    (published / "kaggle_3m" / A / f"{A}_1_mask.tif").unlink()
    (published / "kaggle_3m" / B / f"{B}_12.tif").unlink()
    assert bad_files(published) == [
        BadFile(f"kaggle_3m/{A}/{A}_1.tif", f"has no mask {A}_1_mask.tif beside it"),
        BadFile(f"kaggle_3m/{B}/{B}_12_mask.tif", "is a mask without its image"),
    ]
    with pytest.raises(DataError, match=r"_1.tif: has no mask .* \(and 1 more bad: .*\); --skip-bad goes on"):
        read(published)


@pytest.mark.parametrize(
    ("suffix", "content", "reason"),
    [
        ("_mask.tif", b"", f"its mask {A}_1_mask.tif is empty"),
        ("_mask.tif", b"no image", f"its mask {A}_1_mask.tif is not a PNG, JPEG, TIFF or BMP image"),
        (".tif", b"", "is empty"),
        (".tif", b"no image", "is no TIFF that can be read"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_in_one_line(
    published: Path, suffix: str, content: bytes, reason: str
) -> None:
    (published / "kaggle_3m" / A / f"{A}_1{suffix}").write_bytes(content)
    assert bad_files(published) == [BadFile(f"kaggle_3m/{A}/{A}_1.tif", reason)]


def test_a_truncated_mask_is_named_in_one_line(published: Path) -> None:
    mask = published / "kaggle_3m" / A / f"{A}_1_mask.tif"
    mask.write_bytes(mask.read_bytes()[:400])
    (bad,) = bad_files(published)
    assert bad.reason.startswith(f"its mask {A}_1_mask.tif ")
    assert len(bad.reason.splitlines()) == 1


def test_a_mask_of_another_size_is_named(published: Path) -> None:
    Image.new("L", (30, 31)).save(published / "kaggle_3m" / A / f"{A}_1_mask.tif")
    (bad,) = bad_files(published)
    assert bad.reason == "is 32x32 and its mask 30x31 pixels; make them equal"


def test_a_grey_image_has_no_sequences_to_choose_from(published: Path) -> None:
    Image.new("L", (32, 32)).save(published / "kaggle_3m" / A / f"{A}_1.tif")
    (bad,) = bad_files(published)
    assert bad.reason == "has mode L; three channels (pre-contrast, FLAIR, post-contrast) are read"


def test_a_slice_that_is_not_named_after_its_folder_is_named(published: Path) -> None:
    for ending in (".tif", "_mask.tif"):
        path = published / "kaggle_3m" / A / f"{A}_1{ending}"
        path.rename(path.with_name(f"{B}_7{ending}"))
    assert bad_files(published) == [
        BadFile(f"kaggle_3m/{A}/{B}_7.tif", f"is not named {A}_<slice>.tif, after its folder")
    ]


# As a user would


def test_read_images_gives_pictures(published: Path) -> None:
    picture, label = read_images(published)[1]
    assert (picture.mode, picture.size, label) == ("F", (32, 32), 1)
    assert read_images(published, options={"sequence": "all"})[0][0].mode == "RGB"


def test_the_reader_is_made_by_its_name() -> None:
    assert READERS.create("kaggle_3m", {"sequence": "post"}) == Kaggle3m("post")


def test_the_set_is_prepared(published: Path, tmp_path: Path) -> None:
    prepared = prepare_folder(published, Preprocessing(size=16), tmp_path / "cache")
    assert prepared.images.shape == (4, 1, 16, 16)
    assert (prepared.images.amax(dim=(1, 2, 3)) > 200).all()


def test_the_real_set_is_read_with_its_patients(tmp_path: Path) -> None:
    if not REAL.is_dir():
        pytest.skip(f"the real images are not here: {REAL}")
    images = read_images(REAL)
    assert recognise(REAL) == "kaggle_3m"
    assert {record.group for record in images.records} == {"TCGA_CS_5395", "TCGA_HT_7686", "TCGA_HT_8107"}
    counts = Counter(images.classes[label] for label in images.targets)
    assert counts == {"no_tumor": 40, "tumor": 20}
    for record in images.records:
        mask = mask_of(record)
        assert mask is not None
        assert mask.any() == (images.classes[record.label] == "tumor")
    tumor = next(record for record in images.records if record.label == 1)
    channels = pixels_of(next(r for r in read(REAL, sequence="all").records if r.file == tumor.file), 3)
    assert (channels[:, :, 1:] == pixels_of(tumor, 1)).all(axis=(0, 1)).tolist() == [True, False]
    prepared = prepare_folder(REAL, Preprocessing(size=32), tmp_path)
    assert (prepared.images[prepared.labels == 1].float().std(dim=(1, 2, 3)) > 10).all()  # ends of volumes are black
