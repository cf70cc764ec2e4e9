"""The whole way on real MRI, as small as it can be; skipped where the images are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import transforms
from torchvision.datasets import ImageFolder

import braingan

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real images are not in {SHARED}")

PartOf = Callable[[Path, int], Path]

# A quarter shows the same; the whole takes minutes.
a_quarter_or_all = pytest.mark.parametrize("every", [4, pytest.param(1, marks=pytest.mark.slow)])


@a_quarter_or_all
def test_lgg_flair_is_split_by_patient_and_judged(
    tmp_path: Path, part_of: PartOf, tiny: dict[str, Any], tiny_model: str, every: int
) -> None:
    options = tiny | {"model": tiny_model, "classifier_steps": 20, "seeds": 1, "ratio": 0.1,
                      "arms": ["real", "combined"]}  # fmt: skip
    result = braingan.benchmark(part_of(SHARED / "lgg-flair", every), tmp_path / "out", **options)
    patients = {part: {file["group"] for file in result.split[part]} for part in ("train", "val", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == -(-55 // every)
    assert result.notes == []
    assert sum(result.runs[0]["per_class"][name]["support"] for name in result.classes) == len(result.split["test"])


def test_kaggle_yesno_is_augmented_and_says_that_patients_are_unknown(
    tmp_path: Path, tiny: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    mixed = braingan.augment(SHARED / "kaggle-yesno", tmp_path / "out", ratio=0.5, **tiny)
    assert len(mixed) == 253 + 49 + 78
    assert "no patient ids" in caplog.text
    real = ImageFolder(str(tmp_path / "out" / "real"), transform=transforms.ToTensor())
    wrapped = braingan.AugmentedDataset(real, braingan.load_synthetic(tmp_path / "out"))
    images = torch.stack([wrapped[index][0] for index in range(250, 256)])
    assert images.shape == (6, 3, 32, 32)


@a_quarter_or_all
def test_a_test_folder_that_shares_pictures_with_training_is_refused_or_scored_without_them(
    tmp_path: Path, part_of: PartOf, tiny: dict[str, Any], tiny_model: str, every: int
) -> None:
    data = part_of(SHARED / "kaggle-4class", every)
    count = len(list((data / "Testing").rglob("*.jpg")))
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "arms": ["real"]}
    with pytest.raises(braingan.LeakageError, match=rf"leak: \d+ of {count} test images") as caught:
        braingan.benchmark(data / "Training", tmp_path / "out", test=data / "Testing", **options)
    leaking = int(str(caught.value).split()[1])
    assert 0.1 < leaking / count < 0.5
    result = braingan.benchmark(
        data / "Training", tmp_path / "out", test=data / "Testing", drop_leaking=True, **options
    )
    assert len(result.split["test"]) == count - leaking
    assert any("were dropped" in note for note in result.notes)
