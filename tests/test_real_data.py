"""The whole way on real MRI, as small as it can be; skipped where the images are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision import transforms
from torchvision.datasets import ImageFolder

import braingan

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the real images are not in {SHARED}")


def test_lgg_flair_is_split_by_patient_and_judged(tmp_path: Path, tiny: dict[str, Any], tiny_model: str) -> None:
    options = tiny | {"model": tiny_model, "classifier_steps": 20, "seeds": 1, "ratio": 0.1}
    result = braingan.benchmark(SHARED / "lgg-flair", tmp_path / "out", **options)
    patients = {part: {file["group"] for file in result.split[part]} for part in ("train", "val", "test")}
    assert sum(map(len, patients.values())) == len(set.union(*patients.values())) == 55
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


def test_a_test_folder_that_shares_pictures_with_training_is_refused_or_scored_without_them(
    tmp_path: Path, tiny: dict[str, Any], tiny_model: str
) -> None:
    data = SHARED / "kaggle-4class"
    options = tiny | {"model": tiny_model, "classifier_steps": 2, "seeds": 1, "ratio": 0.02}
    with pytest.raises(braingan.LeakageError, match=r"leak: \d\d\d of 600 test images"):
        braingan.benchmark(data / "Training", tmp_path / "out", test=data / "Testing", **options)
    result = braingan.benchmark(
        data / "Training", tmp_path / "out", test=data / "Testing", drop_leaking=True, **options
    )
    assert 350 < len(result.split["test"]) < 500
    assert any("were dropped" in note for note in result.notes)
