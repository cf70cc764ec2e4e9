"""Recipes: which images a classifier sees, how often, and what is done to them."""

from __future__ import annotations

import json
import pickle
import random
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan import ImageSpec, SettingsError
from braingan.data.sampling import IndexSampler
from braingan.evaluation.augmentation import Mixing, augment_batch, augment_strongly, normalise
from braingan.evaluation.classifier import ClassifierSettings, build_classifier, predict, train_classifier
from braingan.evaluation.recipes import Recipe, RecipeSampler, seen

CPU = torch.device("cpu")
SPEC = ImageSpec(32, 1, ("a", "b"))

RECORDER = '''
from torch import nn


class Recorder(nn.Module):
    """A classifier that notes how bright each image of its training was."""

    def __init__(self, num_classes, in_chans):
        super().__init__()
        self.head, self.brightest = nn.Linear(in_chans, num_classes), []

    def forward(self, images):
        if self.training:
            self.brightest.append((images.amax((1, 2, 3)) + 1).tolist())
        return self.head(images.mean((2, 3)))


def recorder(num_classes, in_chans):
    return Recorder(num_classes, in_chans)
'''
GREYS = torch.tensor([40, 90, 165, 255])  # of real a, real b, synthetic a, synthetic b
BETWEEN = torch.tensor([0.95, 1.95, 3.2])  # apart after any mild augmentation


def four_kinds() -> tuple[Tensor, Tensor, Tensor]:
    """10 real a, 2 real b, 3 synthetic a, 7 synthetic b, each kind of a grey of its own: images, labels, synthetic."""
    kinds = torch.repeat_interleave(torch.arange(4), torch.tensor([10, 2, 3, 7]))
    images = GREYS[kinds].view(-1, 1, 1, 1).expand(-1, 1, 32, 32).to(torch.uint8)
    return images.contiguous(), kinds % 2, kinds >= 2


@pytest.fixture
def recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "recorders.py").write_text(RECORDER)
    monkeypatch.chdir(tmp_path)
    return "recorders:recorder"


def noisy(count: int = 12, channels: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Images, labels, and which are called synthetic: the second half."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, channels, 32, 32), dtype=torch.uint8, generator=generator)
    return images, torch.arange(count) % 2, torch.arange(count) >= count // 2


def trained(settings: ClassifierSettings, recipe: Recipe, *, share: float | None = None, seed: int = 3) -> nn.Module:
    images, labels, synthetic = noisy()
    return train_classifier(images, labels, SPEC, settings, seed=seed, device=CPU, synthetic=synthetic, share=share,
                            recipe=recipe)  # fmt: skip


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def by_hand(settings: ClassifierSettings, batches: list[Tensor], seed: int = 3) -> nn.Module:
    """The plain training, written down once more: 5 steps, of which one rises and four fall."""
    images, labels, _ = noisy()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build_classifier(settings, SPEC).train().to(memory_format=torch.channels_last)
        optimizer = torch.optim.AdamW(model.parameters(), settings.learning_rate, weight_decay=0.05, fused=True)
        for step, chosen in enumerate(batches):
            optimizer.param_groups[0]["lr"] = settings.learning_rate * 0.5 * (1 + np.cos(np.pi * max(0, step - 1) / 4))
            batch = augment_batch(normalise(images[chosen])).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            F.cross_entropy(model(batch), labels[chosen]).backward()
            optimizer.step()
    return model.eval()


def test_the_default_recipe_is_the_plain_training_bit_by_bit(tiny_model: str) -> None:
    settings, (_, labels, _) = ClassifierSettings(model=tiny_model, steps=5, batch_size=4), noisy()
    sampler = IndexSampler(labels, "balanced", seed=3)
    plain = by_hand(settings, [sampler.batch(step, 4) for step in range(5)])
    assert equal(trained(settings, Recipe()), plain)
    for other in (Recipe(sampling="natural"), Recipe(augmentation="strong"), Recipe(mixing=True), Recipe(pretrain=0.4)):
        assert not equal(trained(settings, other), plain), other


def test_pretraining_is_one_training_with_one_schedule_on_synthetic_and_then_on_real_images(tiny_model: str) -> None:
    settings, (_, labels, synthetic) = ClassifierSettings(model=tiny_model, steps=5, batch_size=4), noisy()
    first, then = (IndexSampler(labels, "balanced", seed=3, synthetic=synthetic, share=share) for share in (1.0, 0.0))
    batches = [first.batch(step, 4) for step in range(2)] + [then.batch(step, 4) for step in range(3)]
    assert synthetic[torch.cat(batches)].tolist() == [True] * 8 + [False] * 12
    assert equal(trained(settings, Recipe(pretrain=0.4)), by_hand(settings, batches))


def test_a_class_without_synthetic_images_is_seen_from_the_first_step_on() -> None:
    labels, synthetic = torch.tensor([0, 0, 1, 1, 1, 1]), torch.tensor([False] * 4 + [True] * 2)
    sampler = RecipeSampler(labels, Recipe(pretrain=0.5), 4, seed=0, synthetic=synthetic)
    drawn = [sorted(sampler.batch(step, 4).tolist()) for step in range(4)]
    assert drawn == [[0, 1, 4, 5], [0, 1, 4, 5], [0, 1, 2, 3], [0, 1, 2, 3]]


def test_naturally_a_class_is_seen_as_often_as_it_occurs() -> None:
    labels, settings = torch.tensor([0] * 30 + [1] * 10), ClassifierSettings(steps=10, batch_size=8)
    assert seen(labels, None, settings, Recipe(sampling="natural")) == {"real": [60, 20], "synthetic": [0, 0]}
    assert seen(labels, None, settings, Recipe()) == {"real": [40, 40], "synthetic": [0, 0]}


@pytest.mark.parametrize(
    ("recipe", "share"),
    [
        (Recipe(), None),
        (Recipe(), 0.3),
        (Recipe(sampling="natural"), None),
        (Recipe(sampling="natural"), 0.5),
        (Recipe(pretrain=0.5), None),
        (Recipe(sampling="natural", pretrain=0.3), None),
        (Recipe(pretrain=1.0), None),
    ],
)
def test_what_is_said_to_be_seen_is_what_the_classifier_sees(
    recorder: str, recipe: Recipe, share: float | None
) -> None:
    images, labels, synthetic = four_kinds()
    settings = ClassifierSettings(model=recorder, steps=7, batch_size=9)
    model = train_classifier(images, labels, SPEC, settings, seed=2, device=CPU, synthetic=synthetic, share=share,
                             recipe=recipe)  # fmt: skip
    brightest = torch.tensor(model.brightest).flatten()
    counts = torch.bincount(torch.bucketize(brightest, BETWEEN), minlength=4).tolist()
    assert sum(counts) == 63
    assert seen(labels, synthetic, settings, recipe, share, 2) == {"real": counts[:2], "synthetic": counts[2:]}


def test_strong_augmentation_changes_each_image_by_itself_and_all_its_channels_alike() -> None:
    grey, _, _ = noisy(32)
    for channels in (1, 2, 3, 4):
        torch.manual_seed(1)
        changed = augment_strongly(grey.expand(-1, channels, -1, -1))
        assert changed.shape == (32, channels, 32, 32)
        assert changed.dtype == torch.uint8
        assert torch.equal(changed, changed[:, :1].expand_as(changed))
        assert (changed[:, :1] != grey).flatten(1).any(1).sum() > 12
    torch.manual_seed(1)
    same = augment_strongly(grey[:1].expand(32, -1, -1, -1))
    assert len(torch.unique(same, dim=0)) > 12
    torch.manual_seed(1)
    assert torch.equal(augment_strongly(grey[:1].expand(32, -1, -1, -1)), same)


@pytest.mark.parametrize("size", [32, 64])
def test_strong_augmentation_leaves_something_to_be_seen_whatever_the_size(size: int) -> None:
    images = torch.zeros(64, 1, size, size, dtype=torch.uint8)
    images[..., size * 3 // 8 : size * 5 // 8, size * 3 // 8 : size * 5 // 8] = 60
    torch.manual_seed(0)
    for _ in range(8):
        assert augment_strongly(images).flatten(1).amax(1).min() > 3


@pytest.mark.parametrize("count", [2, 7, 32])
def test_labels_are_mixed_as_the_pixels_are(count: int) -> None:
    labels = torch.arange(count) % 2
    images, mixing = labels.float().view(-1, 1, 1, 1).expand(-1, 2, 32, 32), Mixing(2, seed=0)
    kinds = set()
    for _ in range(12):
        mixed, targets = mixing(images, labels)
        assert torch.allclose(mixed.mean((1, 2, 3)), targets[:, 1], atol=1e-5)
        assert torch.allclose(targets.sum(1), torch.ones(count))
        assert float(mixed.sum()) == pytest.approx(float(images.sum()), rel=1e-4)  # each gives what it takes
        kinds.add(len(torch.unique(mixed)) > 2)
        assert count % 2 == 0 or float(targets[-1].max()) == 1
    assert kinds == {True, False} or count == 2  # blends, and cut-outs with the old values only
    assert torch.equal(images, labels.float().view(-1, 1, 1, 1).expand(-1, 2, 32, 32))


def test_every_class_is_mixed_with_every_other() -> None:
    labels, mixing, pairs = torch.arange(8) % 4, Mixing(4, seed=0), set()
    for _ in range(40):
        _, targets = mixing(torch.zeros(8, 1, 8, 8), labels)
        pairs |= {tuple(row.nonzero().flatten().tolist()) for row in targets}
    assert {(a, b) for a in range(4) for b in range(a + 1, 4)} <= pairs


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(augmentation="strong", mixing=True, sampling="natural")])
def test_a_training_repeats_and_leaves_every_random_state_alone(tiny_model: str, recipe: Recipe) -> None:
    settings = ClassifierSettings(model=tiny_model, steps=3, batch_size=5)
    np.random.seed(1)
    states = torch.random.get_rng_state(), str(np.random.get_state(legacy=False)), random.getstate()
    one = trained(settings, recipe)
    assert torch.equal(torch.random.get_rng_state(), states[0])
    assert (str(np.random.get_state(legacy=False)), random.getstate()) == states[1:]
    np.random.seed(2)
    torch.manual_seed(2)
    random.seed(2)
    assert equal(trained(settings, recipe), one)
    assert not equal(trained(settings, recipe, seed=4), one)


def test_with_all_of_it_a_classifier_learns_what_can_be_learned(tiny_model: str) -> None:
    images, labels, synthetic = noisy(16, channels=2)
    images = (images // 4 + labels.view(-1, 1, 1, 1) * 150).to(torch.uint8)
    settings = ClassifierSettings(model=tiny_model, steps=60, batch_size=8, learning_rate=0.02)
    spec, recipe = ImageSpec(32, 2, ("a", "b")), Recipe("natural", "strong", mixing=True, pretrain=0.5)
    model = train_classifier(images, labels, spec, settings, seed=0, device=CPU, synthetic=synthetic, recipe=recipe)
    assert torch.equal(predict(model, images, device=CPU).argmax(dim=1), labels)


def test_a_recipe_comes_back_from_json_and_from_a_pickle() -> None:
    recipe = Recipe("natural", "strong", mixing=True, pretrain=0.25)
    assert Recipe(**json.loads(json.dumps(asdict(recipe)))) == recipe
    assert pickle.loads(pickle.dumps(recipe)) == recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sampling": "even"}, "sampling 'even' was asked; 'balanced' or 'natural' work"),
        ({"augmentation": "none"}, "augmentation 'none' was asked; 'mild' or 'strong' work"),
        ({"mixing": "yes"}, "mixing 'yes' was asked; True or False work"),
        ({"pretrain": 1.5}, "pretrain 1.5 was asked; it is the share of the steps .* 0 to 1"),
        ({"pretrain": float("nan")}, "pretrain nan was asked"),
        ({"pretrain": "half"}, "pretrain 'half' was asked"),
        ({"pretrain": True}, "pretrain True was asked"),
    ],
)
def test_values_that_cannot_be_are_refused(values: dict[str, object], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        Recipe(**values)  # type: ignore[arg-type]


def test_a_recipe_that_does_not_fit_the_training_is_refused(tiny_model: str) -> None:
    settings, (_, labels, synthetic) = ClassifierSettings(model=tiny_model, steps=2, batch_size=1), noisy()
    with pytest.raises(SettingsError, match="mixing was asked of batches of 1 image; a batch size of 2 or more works"):
        trained(settings, Recipe(mixing=True))
    with pytest.raises(SettingsError, match=r"share 0\.5 and pretrain 0\.5 were both asked"):
        trained(settings, Recipe(pretrain=0.5), share=0.5)
    for marks, missing in ((None, "synthetic"), (synthetic & False, "synthetic"), (synthetic | True, "real")):
        with pytest.raises(SettingsError, match=rf"pretrain 0\.5 was asked, and no training image is {missing}"):
            seen(labels, marks, settings, Recipe(pretrain=0.5))
