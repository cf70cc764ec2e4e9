"""Arms: what each may learn from, how they differ, and arms of one's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import braingan
from braingan import SettingsError
from braingan.data.folds import Folds
from braingan.experiment.arms import (
    ARMS,
    BUILT_IN,
    RESEEDED,
    Arm,
    ArmImages,
    arms_named,
    list_arms,
    register_arm,
)
from braingan.experiment.cells import Bench, ClassifierCell, cells_of_arm
from braingan.experiment.images import LabelledImages
from braingan.experiment.inputs import CellInputs
from braingan.experiment.settings import PRESETS, BenchmarkSettings, preset_named

Options = dict[str, Any]
ORACLE = "oracle-same-patients"


def flat(labels: list[int], first: int, *, synthetic: bool = False) -> LabelledImages:
    """Images of which each has a grey of its own, from `first` on."""
    greys = torch.arange(first, first + len(labels), dtype=torch.uint8)
    marks = torch.full((len(labels),), synthetic)
    return LabelledImages(greys.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).contiguous(), torch.tensor(labels), marks)


def greys(images: LabelledImages) -> list[int]:
    found: list[int] = images.images[:, 0, 0, 0].tolist()
    return found


REAL, LEFT_OUT = flat([0, 0, 0, 0, 1, 1], 0), flat([1, 1, 1], 50)
DRAWN = flat([0, 0, 0, 0, 1, 1], 100, synthetic=True)
TUMORS = flat([1] * 40, 100, synthetic=True)


def built(name: str, synthetic: LabelledImages = DRAWN, seed: int = 0) -> LabelledImages:
    return arms_named([name])[name].build(ArmImages(REAL, synthetic, LEFT_OUT, seed))


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_only_the_oracle_sees_images_that_limits_leave_out(name: str) -> None:
    seen = set(greys(LEFT_OUT)) & set(greys(built(name)))
    assert seen == (set(greys(LEFT_OUT)) if name == ORACLE else set())


@pytest.mark.parametrize("name", sorted(BUILT_IN))
def test_an_arm_without_a_generator_has_no_synthetic_images_and_all_others_mark_theirs(name: str) -> None:
    images, arm = built(name), arms_named([name])[name]
    synthetic = {grey for grey, mark in zip(greys(images), images.synthetic.tolist(), strict=True) if mark}
    assert synthetic == (set(greys(DRAWN)) if arm.uses_synthetic else set())
    if arm.role == "baseline":
        assert not arm.uses_synthetic
        assert greys(images) == greys(REAL)
    if arm.role == "augmented":
        assert greys(images) == greys(REAL) + greys(DRAWN)
        assert arm.by_ratio


def test_synthetic_alone_takes_real_images_of_classes_that_cannot_be_made() -> None:
    assert greys(built("synthetic")) == greys(DRAWN)
    assert greys(built("synthetic", TUMORS)) == [0, 1, 2, 3, *greys(TUMORS)]


@pytest.mark.parametrize("drawn", [DRAWN, TUMORS], ids=["both classes", "tumours only"])
def test_shuffled_keeps_all_images_and_gives_synthetic_ones_labels_that_are_drawn_from_the_real_ones(
    drawn: LabelledImages,
) -> None:
    images, again, other = (built("shuffled", drawn, seed) for seed in (0, 0, 1))
    assert greys(images) == greys(REAL) + greys(drawn)
    assert torch.equal(images.labels[: len(REAL)], REAL.labels)
    assert torch.equal(images.labels, again.labels)
    assert not torch.equal(images.labels, other.labels)
    shuffled = images.labels[len(REAL) :]
    assert set(shuffled.tolist()) == {0, 1}  # also where the generator makes one class only
    assert not torch.equal(shuffled, drawn.labels)
    many = flat([1] * 100, 100, synthetic=True)
    share = Counter(torch.cat([built("shuffled", many, seed).labels[len(REAL) :] for seed in range(20)]).tolist())
    assert share[0] / share.total() == pytest.approx(4 / 6, abs=0.05)  # as often as they occur in real images


@pytest.fixture
def bench(tiny_model: str, tmp_path: Path, inputs: CellInputs) -> Bench:
    settings = BenchmarkSettings(model=tiny_model, classifier_steps=3, classifier_precision="float32", device="cpu")
    return Bench(tmp_path / "bench", settings, "key", (inputs.fold(0).key,))


def said(bench: Bench, inputs: CellInputs, name: str, seed: int) -> dict[str, Any]:
    cell = ClassifierCell(name, 0, seed)
    cell.run(bench, inputs)
    found = cell.read(bench)
    assert found is not None
    return found


def test_duplicates_is_real_under_another_seed_and_nothing_else(bench: Bench, inputs: CellInputs) -> None:
    duplicates, real, reseeded = (
        said(bench, inputs, name, seed) for name, seed in (("duplicates", 0), ("real", 0), ("real", RESEEDED))
    )
    assert duplicates["predictions"] == reseeded["predictions"] != real["predictions"]
    assert duplicates["seen"] == reseeded["seen"]
    kept = ("n_real", "n_synthetic", "ratio", "generator")
    assert {key: duplicates[key] for key in kept} == {key: real[key] for key in kept}


def test_the_oracle_without_limits_is_real(bench: Bench, inputs: CellInputs) -> None:
    assert said(bench, inputs, ORACLE, 0)["predictions"] == said(bench, inputs, "real", 0)["predictions"]


def test_a_limited_oracle_learns_what_real_learns_without_the_limit(bench: Bench, inputs: CellInputs) -> None:
    (fold,) = inputs.learning.folds
    train = fold.split.train
    few = replace(fold, split=replace(fold.split, train=train[:12]), left_out=train[12:])
    limited = replace(inputs, learning=Folds((few,)))
    other = replace(bench, out=bench.out / "limited", images=(limited.fold(0).key,))
    whole, oracle, real = (
        said(bench, inputs, "real", 0), said(other, limited, ORACLE, 0), said(other, limited, "real", 0),
    )  # fmt: skip
    assert oracle["predictions"] == whole["predictions"] != real["predictions"]
    assert [own["n_real"] for own in (whole, oracle, real)] == [24, 24, 12]


@pytest.mark.parametrize("name", ["natural", "real+classic", "real+mixup"])
def test_other_baselines_train_in_another_way_on_the_same_images(bench: Bench, inputs: CellInputs, name: str) -> None:
    real, other = said(bench, inputs, "real", 0), said(bench, inputs, name, 0)
    assert other["n_real"] == real["n_real"]
    assert other["predictions"] != real["predictions"]
    assert sum(other["seen"]["real"]) == sum(real["seen"]["real"]) == 3 * 32


def test_arms_by_ratio_run_at_every_ratio_and_others_at_the_largest_and_seeds_take_generators_in_turn() -> None:
    settings = BenchmarkSettings(ratio=(0.5, 2.0), seeds=3, generators=2)
    arms = settings.registered_arms() | arms_named(["duplicates"])
    found = {name: cells_of_arm(name, arm, settings, 4, {0: "a", 1: "b"}) for name, arm in arms.items()}
    told = {name: [(cell.ratio, cell.seed, cell.generator_seed, cell.generator_sha256) for cell in cells]
            for name, cells in found.items()}  # fmt: skip
    turns = [(0, 0, "a"), (1, 1, "b"), (2, 0, "a")]
    assert told["real"] == told["duplicates"] == [(0, seed, None, None) for seed in range(3)]
    assert told["synthetic"] == told["shuffled"] == [(2.0, *turn) for turn in turns]
    assert told["combined"] == [(ratio, *turn) for ratio in (0.5, 2.0) for turn in turns]
    assert {cell.fold for cells in found.values() for cell in cells} == {4}
    missing = cells_of_arm("combined", arms["combined"], settings, 0, {1: "b"})  # the first one failed
    assert [(cell.ratio, cell.seed) for cell in missing] == [(0.5, 1), (2.0, 1)]
    assert len({cell.name for cells in found.values() for cell in cells}) == sum(map(len, found.values()))


def test_presets_name_arms_that_there_are_and_what_was_given_counts() -> None:
    for name, values in PRESETS.items():
        assert set(values["arms"]) <= BUILT_IN
        settings = BenchmarkSettings(**preset_named(name))
        assert settings.seeds >= 3  # on fewer runs, nothing is ever called helping
        assert {"real", "real+classic", "combined+classic", "shuffled"} <= set(settings.arms)
    assert preset_named("standard", folds=2, seeds=None) == PRESETS["standard"] | {"folds": 2}
    assert (PRESETS["quick"]["folds"], PRESETS["standard"]["folds"]) == (1, 5)


def test_every_built_in_arm_is_listed_with_what_it_is() -> None:
    listed = {info.name: info for info in list_arms()}
    assert listed.keys() >= BUILT_IN
    assert all(info.error is None for info in listed.values())
    assert all(listed[name].description.endswith((".", ",")) for name in BUILT_IN)


def test_a_name_that_is_taken_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"arm 'real' of .* is declared by braingan.experiment.arms already"):
        register_arm("real")(lambda: Arm(lambda images: images.real))


@pytest.mark.usefixtures("own_arms")
def test_an_arm_of_ones_own_runs_as_others_do_and_a_smaller_ratio_has_a_part_of_a_larger_one(
    data: Path, tmp_path: Path, single: Options
) -> None:
    handed: list[ArmImages] = []

    def darker(images: ArmImages) -> LabelledImages:
        handed.append(images)
        both = images.real + images.synthetic
        return replace(both, images=both.images // 2)

    @register_arm("darker")
    def _darker() -> Arm:
        """Real and synthetic images at half the brightness."""
        return Arm(darker, "augmented", uses_synthetic=True, by_ratio=True)

    assert "darker" in ARMS.names()
    options = single | {"arms": "real, darker", "ratio": "0.25,1,0.5"}
    result = braingan.benchmark(data, tmp_path / "out", **options)
    train = len(result.split["train"])
    assert [(run["arm"], run["n_real"], run["n_synthetic"]) for run in result.runs] == [
        ("real", train, 0), ("darker@0.25", train, train // 4), ("darker@1", train, train),
        ("darker@0.5", train, train // 2),
    ]  # fmt: skip
    assert result.choice is not None
    assert result.choice["arm"] == "darker"
    quarter, whole, half = ([image.numpy().tobytes() for image in images.synthetic.images] for images in handed)
    assert len(set(whole)) == train
    assert set(quarter) < set(half) < set(whole)
    for images, share in zip(handed, (0.25, 1, 0.5), strict=True):
        real = Counter(images.real.labels.tolist())
        assert Counter(images.synthetic.labels.tolist()) == {label: share * count for label, count in real.items()}


@pytest.mark.usefixtures("own_arms")
def test_an_arm_of_ones_own_is_refused_in_other_processes_in_one_line(
    data: Path, tmp_path: Path, real_only: Options
) -> None:
    register_arm("mine")(lambda: Arm(lambda images: images.real))
    options = real_only | {"arms": ["real", "mine"]}
    words = r"arm 'mine' is registered in this process only, .* leave --jobs"
    with pytest.raises(SettingsError, match=words) as caught:
        braingan.benchmark(data, tmp_path / "out", **options, jobs=2)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "cells").exists()


def test_arms_differ_from_real_in_what_their_names_say() -> None:
    recipes: dict[str, Callable[[Any], bool]] = {
        "natural": lambda recipe: recipe.sampling == "natural",
        "real+classic": lambda recipe: recipe.augmentation == "strong",
        "combined+classic": lambda recipe: recipe.augmentation == "strong",
        "real+mixup": lambda recipe: recipe.mixing,
        "pretrain+finetune": lambda recipe: recipe.pretrain == 0.5,
    }
    arms = arms_named(sorted(BUILT_IN))
    plain = arms["real"].recipe
    assert all(check(arms[name].recipe) for name, check in recipes.items())
    assert {name for name, arm in arms.items() if arm.recipe != plain} == set(recipes)
