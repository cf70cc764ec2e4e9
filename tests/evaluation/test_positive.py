"""Which of two classes is looked for."""

from __future__ import annotations

import pytest

from braingan.errors import SettingsError
from braingan.evaluation.positive import positive_label


@pytest.mark.parametrize(
    ("classes", "positive"),
    [
        (["no_tumor", "tumor"], "tumor"),
        (["no", "yes"], "yes"),
        (["abnormal", "normal"], "abnormal"),
        (["glioma", "healthy"], "glioma"),
        (["cancer", "no_cancer"], "cancer"),
        (["Tumor", "without tumor"], "Tumor"),
        (["glioma", "no_tumor"], "glioma"),
        (["glioma", "notumor"], "glioma"),
        (["HGG", "NoTumor"], "HGG"),
        (["AD", "CN"], "AD"),
        (["AD", "NC"], "AD"),
        (["non_normal", "normal"], "non_normal"),
        (["glioma", "no_tumor_control"], "glioma"),
        (["nonnormal", "normal"], "nonnormal"),
        (["healthy", "not healthy"], "not healthy"),
        (["ill", "healthy_controls"], "ill"),
        (["cyst", "noncyst"], "cyst"),
        (["Lesion", "Non-Lesion"], "Lesion"),
        (["nodule", "tumor"], "tumor"),  # neither is named like healthy: the latter
        (["glioma", "meningioma"], "meningioma"),
    ],
)
def test_it_is_the_one_that_is_not_named_like_healthy(classes: list[str], positive: str) -> None:
    assert classes[positive_label(classes)] == positive


def test_it_can_be_asked_for() -> None:
    assert positive_label(["glioma", "meningioma"], "glioma") == 0
    assert positive_label(["glioma", "healthy"], "healthy") == 1


def test_what_is_no_class_of_two_is_refused() -> None:
    message = "positive class 'Glioma' was asked and the classes are glioma, meningioma; one of two works"
    with pytest.raises(SettingsError, match=message):
        positive_label(["glioma", "meningioma"], "Glioma")
    with pytest.raises(SettingsError, match="one of two works"):
        positive_label(["a", "b", "c"], "a")
