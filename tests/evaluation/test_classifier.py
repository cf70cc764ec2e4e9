"""The classifier: any of timm's, or one's own; the same training for every arm."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from braingan import ImageSpec, SettingsError
from braingan.engine.convolutions import Convolution
from braingan.evaluation.augmentation import augment_batch, normalise
from braingan.evaluation.classifier import (
    ClassifierSettings,
    build_classifier,
    check_classifier,
    choose_classifier_precision,
    predict,
    train_classifier,
)
from braingan.experiment.arms import ArmImages, arms_named
from braingan.experiment.images import LabelledImages

CPU = torch.device("cpu")
SPEC = ImageSpec(32, 1, ("a", "b"))


def bright_and_dark(count: int = 16) -> LabelledImages:
    """Images whose class a child can tell."""
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    noise = torch.randint(0, 60, (count, 1, 32, 32), generator=random)
    return LabelledImages((noise + labels.view(-1, 1, 1, 1) * 150).to(torch.uint8), labels)


def train(data: LabelledImages, settings: ClassifierSettings, seed: int = 0) -> nn.Module:
    return train_classifier(data.images, data.labels, SPEC, settings, seed=seed, device=CPU)


def weights(model: nn.Module) -> list[Tensor]:
    return list(model.state_dict().values())


def test_it_learns_what_can_be_learned(tiny_model: str) -> None:
    data = bright_and_dark()
    model = train(data, ClassifierSettings(model=tiny_model, steps=40, batch_size=8, learning_rate=0.02))
    probabilities = predict(model, data.images, device=CPU, batch_size=5)
    assert torch.allclose(probabilities.sum(dim=1), torch.ones(16).double())
    assert torch.equal(probabilities.argmax(dim=1), data.labels)


def test_images_that_a_classifier_is_sure_of_still_have_an_order() -> None:
    class Sure(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            sure = 20 + images.mean(dim=(1, 2, 3))  # 1 - 2e-9 and more, which float32 cannot tell from 1
            return torch.stack([torch.zeros_like(sure), sure], dim=1)

    images = torch.arange(0, 250, 50, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)
    said = predict(Sure(), images, device=CPU)[:, 1]
    assert (said.diff() > 1e-12).all()
    assert (said < 1).all()


def test_plain_convolutions_of_a_timm_model_take_the_quick_ways() -> None:
    model = train(bright_and_dark(), ClassifierSettings(model="resnet10t", steps=1, batch_size=4))
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert layers
    assert all(isinstance(layer, Convolution) for layer in layers)


def test_mixing_in_nothing_gives_bit_equal_weights() -> None:
    data = bright_and_dark()
    nothing = LabelledImages(data.images[:0], data.labels[:0])
    settings = ClassifierSettings(model="resnet10t", steps=2, batch_size=4)
    images = ArmImages(real=data, synthetic=nothing, left_out=nothing)
    real, combined = (train(arm.build(images), settings) for arm in arms_named(["real", "combined"]).values())
    assert all(torch.equal(one, other) for one, other in zip(weights(real), weights(combined), strict=True))
    other = train(data, settings, seed=1)
    assert not all(torch.equal(a, b) for a, b in zip(weights(real), weights(other), strict=True))


def test_a_share_says_how_often_synthetic_images_are_seen_and_none_leaves_everything_as_it_was(tiny_model: str) -> None:
    data = bright_and_dark()
    inverted = LabelledImages(255 - data.images, data.labels)  # what is learned from these is plain to see
    both, synthetic = data + inverted, torch.arange(32) >= 16
    settings = ClassifierSettings(model=tiny_model, steps=40, batch_size=8, learning_rate=0.02)

    def trained(share: float | None) -> nn.Module:
        return train_classifier(both.images, both.labels, SPEC, settings, seed=0, device=CPU, synthetic=synthetic,
                                share=share)  # fmt: skip

    def equal(one: nn.Module, other: nn.Module) -> bool:
        return all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))

    assert equal(trained(None), train(both, settings))
    assert equal(trained(0), train(data, settings))
    found = predict(trained(1), data.images, device=CPU).argmax(dim=1)
    assert torch.equal(found, 1 - data.labels)
    assert not equal(trained(0.9), trained(0.1))
    with pytest.raises(SettingsError, match="no class has synthetic images"):
        train_classifier(both.images, both.labels, SPEC, settings, seed=0, device=CPU, share=0.5)


def test_the_callers_random_state_is_left_alone(tiny_model: str) -> None:
    before = torch.random.get_rng_state()
    train(bright_and_dark(), ClassifierSettings(model=tiny_model, steps=1))
    assert torch.equal(before, torch.random.get_rng_state())


def test_bfloat16_learns_the_same_and_leaves_float32_weights(tiny_model: str) -> None:
    data = bright_and_dark()
    settings = ClassifierSettings(model=tiny_model, steps=40, batch_size=8, learning_rate=0.02)
    exact, coarse = (
        train_classifier(data.images, data.labels, SPEC, settings, seed=0, device=CPU, precision=precision)
        for precision in ("float32", "bfloat16")
    )
    assert {value.dtype for value in coarse.state_dict().values() if value.is_floating_point()} == {torch.float32}
    assert not all(torch.equal(a, b) for a, b in zip(weights(exact), weights(coarse), strict=True))
    found = [predict(model, data.images, device=CPU).argmax(dim=1) for model in (exact, coarse)]
    assert torch.equal(found[0], data.labels)
    assert torch.equal(found[1], data.labels)


def test_a_precision_is_chosen_without_moving_the_callers_random_state(tiny_model: str) -> None:
    data, before = bright_and_dark(), torch.random.get_rng_state()
    settings = ClassifierSettings(model=tiny_model, steps=1, batch_size=4)
    assert choose_classifier_precision(data.images, data.labels, SPEC, settings, CPU) in {"float32", "bfloat16"}
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_precision_that_is_none_is_refused(tiny_model: str) -> None:
    data = bright_and_dark()
    settings = ClassifierSettings(model=tiny_model, steps=1)
    with pytest.raises(SettingsError, match="precision 'int3' was asked"):
        train_classifier(data.images, data.labels, SPEC, settings, seed=0, device=CPU, precision="int3")


def test_augmentation_keeps_black_surroundings_black_and_differs_from_image_to_image() -> None:
    images = torch.zeros(6, 1, 32, 32, dtype=torch.uint8)
    images[:, :, 10:22, 8:20] = 200
    torch.manual_seed(0)
    changed = augment_batch(normalise(images))
    assert changed.shape == images.shape
    corners = changed[:, :, :3, :3].flatten(1)
    assert float((corners - corners[:, :1]).abs().max()) < 1e-6  # flat: no edge comes into view
    assert float((corners + 1).abs().max()) <= 0.1 + 1e-6
    assert float((changed[0] - changed[1]).abs().max()) > 0.1


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "resnet10tt"}, "timm has no model 'resnet10tt'; did you mean"),
        ({"model": "resnet10t.nonsense"}, "timm cannot make resnet10t.nonsense"),
        ({"model": "qqq"}, "`timm.list_models\\(\\)` lists the names"),
        ({"model": "nowhere:model"}, "nowhere:model cannot be imported"),
        ({"model": "my_models:missing"}, "my_models:missing cannot be imported"),
        ({"model": "my_models:nn.Identity"}, "cannot be imported"),
        ({"model": "my_models:__name__"}, "is str, no function"),
        ({"weights": "missing.safetensors"}, "missing.safetensors cannot be read"),
        ({"weights": "other.safetensors", "model": "my_models:tiny"}, "other.safetensors do not fit Sequential"),
        ({"model": "my_models:tiny", "pretrained": True}, "--pretrained is timm's"),
    ],
)
def test_a_model_or_weights_that_cannot_be_had_are_refused(
    tiny_model: str, tmp_path: Path, settings: dict[str, object], words: str
) -> None:
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(SettingsError, match=words):
        build_classifier(ClassifierSettings(**settings), SPEC)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "0 classifier steps"),
        ({"weights": "a.pth"}, "only .safetensors files are read"),
        ({"weights": "a.safetensors", "pretrained": True}, "both asked"),
    ],
)
def test_settings_that_cannot_work_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        ClassifierSettings(**settings)  # type: ignore[arg-type]


def test_ones_own_model_that_is_no_module_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd_models.py").write_text("def nothing(num_classes, in_chans):\n    return 3\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"gave a int; it must give a torch\.nn\.Module"):
        build_classifier(ClassifierSettings(model="odd_models:nothing"), SPEC)


def test_weights_from_a_file_are_what_training_starts_from(tiny_model: str, tmp_path: Path) -> None:
    own = build_classifier(ClassifierSettings(model=tiny_model), SPEC)
    save_file(own.state_dict(), tmp_path / "own.safetensors")
    loaded = build_classifier(ClassifierSettings(model=tiny_model, weights=str(tmp_path / "own.safetensors")), SPEC)
    assert all(torch.equal(a, b) for a, b in zip(weights(own), weights(loaded), strict=True))
    timms = build_classifier(ClassifierSettings(model="resnet10t"), ImageSpec(32, 1, ("a", "b", "c")))
    save_file(timms.state_dict(), tmp_path / "timm.safetensors")
    settings = ClassifierSettings(model="resnet10t", weights=str(tmp_path / "timm.safetensors"))
    again = build_classifier(settings, ImageSpec(32, 1, ("a", "b", "c")))
    assert all(torch.equal(a, b) for a, b in zip(weights(timms), weights(again), strict=True))
    two_classes = build_classifier(settings, SPEC)  # the head starts anew
    assert torch.equal(timms.state_dict()["layer1.0.conv1.weight"], two_classes.state_dict()["layer1.0.conv1.weight"])
    with pytest.raises(SettingsError, match="do not fit ResNet"):
        build_classifier(ClassifierSettings(model="resnet18", weights=settings.weights), SPEC)
    save_file({"nonsense": torch.zeros(3)}, tmp_path / "nonsense.safetensors")
    with pytest.raises(SettingsError, match="do not fit ResNet"):
        build_classifier(ClassifierSettings(weights=str(tmp_path / "nonsense.safetensors")), SPEC)


@pytest.mark.parametrize("model", ["vit_tiny_patch16_224", "mixer_s32_224"])
def test_a_model_that_is_made_for_one_size_is_made_for_that_of_the_images(model: str) -> None:
    check_classifier(ClassifierSettings(model=model), ImageSpec(64, 1, ("a", "b")))


def test_weights_for_colour_serve_grey_images(tmp_path: Path) -> None:
    colour = build_classifier(ClassifierSettings(), ImageSpec(32, 3, ("a", "b")))
    save_file(colour.state_dict(), tmp_path / "colour.safetensors")
    grey = build_classifier(ClassifierSettings(weights=str(tmp_path / "colour.safetensors")), SPEC)
    assert torch.allclose(
        grey.state_dict()["conv1.0.weight"], colour.state_dict()["conv1.0.weight"].sum(1, keepdim=True)
    )


def test_pretrained_weights_that_cannot_be_had_are_refused_with_what_works_instead(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # what the variable of that name does
    with pytest.raises(SettingsError, match=r"weights of resnet10t cannot be had \(.*give a file with --weights"):
        build_classifier(ClassifierSettings(pretrained=True), SPEC)
