"""The real folders beside the project, which it never contains: read as a user would."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from braingan.data.findings import Findings
from braingan.data.folders import read_folder
from braingan.data.preparation import PreparedSet, prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageSet
from braingan.data.split import split_by_group
from braingan.errors import DataError

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
Finder = Callable[[str], Path]
PartOf = Callable[[Path, int], Path]


@pytest.fixture(scope="module")
def real() -> Finder:
    """The path of a real data folder, or a skipped test where it is missing."""

    def find(name: str) -> Path:
        if not (SHARED / name).is_dir():
            pytest.skip(f"the real images are not here: {SHARED / name}")
        return SHARED / name

    return find


@pytest.fixture(scope="module")
def lgg(real: Finder, part_of: PartOf, tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    """Every third patient, decoded."""
    return prepare_folder(part_of(real("lgg-flair"), 3), Preprocessing(size=32), tmp_path_factory.mktemp("lgg"))


def read(data: Path) -> ImageSet:
    return read_folder(data, Findings(skip_bad=False))


def counts(images: ImageSet) -> dict[str, int]:
    return {images.classes[label]: count for label, count in sorted(Counter(images.targets).items())}


def patients(images: ImageSet) -> set[str]:
    assert images.has_patients
    return {record.group for record in images.records}


def test_kaggle_yesno_is_read_whole_whatever_its_modes_and_sizes(real: Finder, tmp_path: Path) -> None:
    prepared = prepare_folder(real("kaggle-yesno"), Preprocessing(size=32), tmp_path / "cache")
    assert counts(prepared.source) == {"no": 98, "yes": 155}
    assert not prepared.source.has_patients
    assert prepared.bad_files == ()
    assert (prepared.images.float().std(dim=(1, 2, 3)) > 10).all()  # no picture came out empty
    assert (prepared.images.amax(dim=(1, 2, 3)) > 100).all()


def test_lgg_flair_is_read_with_patients_and_masks(real: Finder) -> None:
    images = read(real("lgg-flair"))
    assert counts(images) == {"no_tumor": 1076, "tumor": 650}
    assert len(patients(images)) == 55
    for record in images.records:
        assert (record.mask is not None) == (images.classes[record.label] == "tumor")


def test_lgg_flair_is_decoded_whole(lgg: PreparedSet) -> None:
    assert lgg.images.shape == (len(lgg.source), 1, 32, 32)
    assert lgg.bad_files == ()
    assert (lgg.images.float().std(dim=(1, 2, 3)) > 10).all()


def test_the_mask_of_a_tumour_fits_its_image(lgg: PreparedSet) -> None:
    record = next(record for record in lgg.source.records if record.mask)
    assert record.mask is not None
    with Image.open(record.mask) as mask, Image.open(record.path) as image:
        assert mask.size == image.size
        assert mask.convert("L").getextrema()[1] > 0


def test_a_split_of_lgg_flair_shares_no_patient(lgg: PreparedSet) -> None:
    split = split_by_group(lgg, seed=0)
    train, val, test = ({file.group for file in part} for part in (split.train, split.val, split.test))
    assert not train & val
    assert not train & test
    assert not val & test
    assert (len(train | val | test), split.grouped_by) == (-(-55 // 3), "patient")
    all_in_all = sum(record.mask is not None for record in lgg.source.records) / len(lgg.source)
    for part in (split.val, split.test):
        assert 0.15 * len(lgg.source) < len(part) < 0.25 * len(lgg.source)
        share = sum(file.label == "tumor" for file in part) / len(part)
        assert share == pytest.approx(all_in_all, abs=0.06)


def test_the_slices_of_a_real_patient_stay_comparable(lgg: PreparedSet) -> None:
    means = lgg.images.float().mean(dim=(1, 2, 3))
    of_patient: dict[str, list[int]] = {}
    for index, record in enumerate(lgg.source.records):
        of_patient.setdefault(record.group, []).append(index)
    within = torch.stack([means[indices].std() for indices in of_patient.values()]).mean()
    assert within > 5  # slices differ in how much of the square they fill


def test_cheng_is_read_with_three_classes_and_120_patients(real: Finder) -> None:
    images = read(real("cheng"))
    assert len(images) == 1727
    assert images.classes == ["glioma", "meningioma", "pituitary"]
    assert len(patients(images)) == 120
    picture, _ = images[0]
    assert picture.size == (256, 256)


def test_kaggle_4class_is_refused_with_a_hint(real: Finder) -> None:
    data = real("kaggle-4class")
    with pytest.raises(DataError) as caught:
        read(data)
    assert str(caught.value) == (
        f"{data} holds the parts Testing, Training and no classes; give {data}/Training with --test {data}/Testing "
        "(benchmark, augment, inspect)"
    )


@pytest.mark.parametrize(("part", "count"), [("Training", 450), ("Testing", 150)])
def test_the_parts_of_kaggle_4class_are_read(real: Finder, part: str, count: int) -> None:
    assert counts(read(real("kaggle-4class") / part)) == dict.fromkeys(
        ("glioma", "meningioma", "notumor", "pituitary"), count
    )
