"""The watchdog ranks what is worse as worse, says what it compares with, and knows when to stop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses
from torchvision.transforms.functional import gaussian_blur

import braingan
from braingan import ImageSpec, TrainingData, TrainingRun
from braingan.data.pictures import to_float, to_uint8
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.generation.watchdog import Watch, Watchdog

Corruption = Callable[[Tensor, float], Tensor]


def blur(images: Tensor, strength: float) -> Tensor:
    return gaussian_blur(images, 15, strength)


def noise(images: Tensor, strength: float) -> Tensor:
    drawn = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return to_uint8(to_float(images) + strength * drawn)


def contrast(images: Tensor, strength: float) -> Tensor:
    return to_uint8((to_float(images) + 1) * (1 - strength) - 1)


def squares(images: Tensor, strength: float) -> Tensor:
    """Black squares of that many pixels, each somewhere else."""
    random, side, cut = torch.Generator().manual_seed(0), int(strength), images.clone()
    for image in cut:
        top, left = torch.randint(0, images.shape[-1] - side, (2,), generator=random).tolist()
        image[:, top : top + side, left : left + side] = 0
    return cut


def others(images: Tensor, strength: float) -> Tensor:
    """A share of images that show something else: stripes."""
    mixed, share = images.clone(), int(strength * len(images))
    mixed[:share] = (torch.arange(images.shape[-1]) // 4 % 2 * 200).to(torch.uint8)
    return mixed


def turned(images: Tensor, strength: float) -> Tensor:
    """Swirled by an angle that grows from the middle outwards."""
    lines = torch.linspace(-1, 1, images.shape[-1])
    y, x = torch.meshgrid(lines, lines, indexing="ij")
    angle = strength * (x.square() + y.square()).sqrt()
    grid = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], dim=-1)
    grid = grid.expand(len(images), -1, -1, -1)
    return to_uint8(F.grid_sample(to_float(images), grid, padding_mode="border", align_corners=True))


def alike(images: Tensor, strength: float) -> Tensor:
    """Fewer and fewer images, again and again: a generator that collapses."""
    return images[torch.arange(len(images)) % max(1, int(len(images) * (1 - strength)))]


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingData, Tensor]:
    """Phantom heads of 40 patients: half of the patients to compare with, and the images of the other half."""
    folder = tmp_path_factory.mktemp("watchdog")
    braingan.phantom(folder / "heads", patients=40, slices=4, size=64)
    prepared = prepare_folder(folder / "heads", Preprocessing(size=64, channels=1), folder / "cache")
    patients = [record.group for record in prepared.source.records]
    first = torch.tensor([patient < sorted(set(patients))[20] for patient in patients])
    held_out = TrainingData(prepared.images[~first][:2], prepared.labels[~first][:2], prepared.spec,
                            prepared.images[first], prepared.labels[first])  # fmt: skip
    return held_out, prepared.images[~first]


@pytest.mark.parametrize(
    ("corrupt", "strengths"),
    [
        (blur, (0.5, 1.0, 2.0, 4.0)),
        (noise, (0.05, 0.1, 0.2, 0.4)),
        (contrast, (0.1, 0.2, 0.4, 0.8)),
        (squares, (8, 16, 24, 32)),
        (others, (0.1, 0.2, 0.4, 0.8)),
        (turned, (0.1, 0.2, 0.4, 0.8)),
        (alike, (0.5, 0.9, 0.95, 0.99)),
    ],
)
def test_corruptions_of_growing_strength_are_ever_farther_away(
    halves: tuple[TrainingData, Tensor], corrupt: Corruption, strengths: tuple[float, ...]
) -> None:
    data, images = halves
    watchdog = Watchdog(data, TrainingRun(Path()))
    corrupted = [images, *(corrupt(images, strength) for strength in strengths)]
    distances = [watchdog.measure(100, lambda _, made=made: made)["distance"] for made in corrupted]
    assert all(nearer < farther for nearer, farther in pairwise(distances)), distances


def few(count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images of two classes, and their labels."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 1, 8, 8), dtype=torch.uint8, generator=random), torch.arange(count) % 2


def watchdog_of(train: int, held_out: int | None = None, *, patience: int = 0) -> Watchdog:
    """A watchdog with so many images to compare with."""
    reference = few(held_out, seed=1) if held_out is not None else (None, None)
    data = TrainingData(*few(train), ImageSpec(8, 1, ("a", "b")), *reference)
    return Watchdog(data, TrainingRun(Path(), patience=patience))


@pytest.mark.parametrize(
    ("train", "held_out", "words"),
    [
        (100, 64, "64 held-out images of the validation part"),
        (100, 2000, "512 held-out images of the validation part"),
        (100, 63, "100 training images (only 63 images are held out)"),
        (2000, None, "512 training images"),
        (20, 0, "20 training images"),
    ],
)
def test_it_says_what_it_compares_with(train: int, held_out: int | None, words: str) -> None:
    watchdog = watchdog_of(train, held_out)
    assert watchdog.against == words
    asked: list[Tensor] = []

    def sample(labels: Tensor) -> Tensor:
        asked.append(labels)
        return few(len(labels), seed=2)[0]

    watchdog.measure(100, sample)
    assert len(asked[0]) == int(words.split()[0])


def test_images_of_classes_that_are_not_made_are_not_looked_at() -> None:
    data = TrainingData(*few(100), ImageSpec(8, 1, ("a", "b")))
    asked: list[Tensor] = []

    def sample(labels: Tensor) -> Tensor:
        asked.append(labels)
        return few(len(labels), seed=2)[0]

    Watchdog(data, TrainingRun(Path()), (1,)).measure(100, sample)
    assert asked[0].tolist() == [1] * 50


def test_where_the_best_step_does_not_matter_patience_never_runs_out_and_none_is_said_to_be_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = TrainingData(*few(100), ImageSpec(8, 1, ("a", "b")))
    watchdog = Watchdog(data, TrainingRun(Path(), patience=1), judges=False)
    watchdog.measure(300, lambda labels: few(len(labels), seed=2)[0])
    for step in (400, 500, 600):
        watchdog.measure(step, lambda labels: torch.full((len(labels), 1, 8, 8), 255, dtype=torch.uint8))
    assert watchdog.watch.best_step == 300
    assert watchdog.kept == 0
    assert not watchdog.watch.gave_up
    assert "samples move away" in caplog.text
    assert "which is kept" not in caplog.text


def test_with_a_single_image_there_is_nothing_to_compare() -> None:
    assert not watchdog_of(1).able
    assert watchdog_of(2).able


def test_the_best_step_is_remembered_and_patience_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watchdog, random = watchdog_of(40, patience=2), torch.Generator().manual_seed(3)
    seen = []
    for step, spoiled in ((100, 6), (200, 1), (300, 4), (400, 5)):
        images = few(40)[0].clone()
        images[:, :, :spoiled] = torch.randint(0, 9, (40, 1, spoiled, 8), dtype=torch.uint8, generator=random)
        watchdog.measure(step, lambda _, images=images: images)
        seen.append((watchdog.watch.best_step, watchdog.watch.since_best, watchdog.watch.gave_up))
    assert seen == [(100, 0, False), (200, 0, False), (200, 1, False), (200, 2, True)]
    assert caplog.messages[-1] == "step 400: no better samples for 2 measurements: training ends; step 200 was best"


def test_without_patience_it_never_gives_up() -> None:
    watchdog = watchdog_of(10)
    for step in range(100, 3000, 100):
        watchdog.measure(step, lambda labels: few(len(labels), seed=5)[0])
    assert not watchdog.watch.gave_up


def test_a_collapse_is_told_once_and_not_while_nothing_has_been_learned(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = watchdog_of(40)
    one = few(1)[0].expand(40, -1, -1, -1)
    for step in (100, 200):
        assert watchdog.measure(step, lambda _: one)["diversity"] < 0.01
        assert caplog.messages == []
    for step in (300, 400):
        watchdog.measure(step, lambda _: one)
    (message,) = [line for line in caplog.messages if "collapsed" in line]
    assert message.startswith(
        "step 300: samples of a class are nearly alike (they differ 0% as much as real images do)"
    )
    healthy = watchdog_of(40)
    assert healthy.measure(300, lambda _: few(40, seed=4)[0])["diversity"] == pytest.approx(1, abs=0.1)


def test_samples_that_move_away_are_told_once_with_the_step_that_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = watchdog_of(40)
    watchdog.measure(100, lambda _: few(40, seed=4)[0])
    for step in (200, 300, 400):
        watchdog.measure(step, lambda _: few(40, seed=4)[0] // 3)
    (message,) = [line for line in caplog.messages if "move away" in line]
    assert message.startswith("step 300: samples move away from real images (distance ")
    assert message.endswith(" at step 100, which is kept)")


def test_a_watch_goes_through_json_and_leaves_out_what_a_longer_run_would_not_see() -> None:
    watchdog = watchdog_of(20)
    watchdog.measure(100, lambda _: few(20, seed=4)[0] // 2)
    regular = replace(watchdog.watch)
    watchdog.measure(150, lambda _: few(20, seed=4)[0])  # the end of a run
    assert watchdog.watch.best_step == 150
    assert watchdog.regular == regular
    watch = replace(watchdog.watch, told=("collapse",), gave_up=True)
    assert Watch.from_json(json.loads(json.dumps(watch.to_json()))) == watch
    assert Watch.from_json({"best_step": 3, "of another version": 1}) == Watch(best_step=3)
    before: dict[str, Any] = json.loads(json.dumps(Watch().to_json()))
    assert Watch.from_json(before) == Watch()
