"""Arms: what a classifier is trained on, and how. Small registered things, so that users add their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from braingan.entry_points import PluginInfo, Plugins
from braingan.errors import SettingsError
from braingan.evaluation.recipes import Recipe
from braingan.experiment.images import LabelledImages

Role = Literal["baseline", "augmented", "control"]

MILD, STRONG = Recipe(), Recipe(augmentation="strong")
RESEEDED = 1_000_003  # between the seeds of an arm and of its twin in an A/A check


@dataclass(frozen=True)
class ArmImages:
    """What an arm may be built from: images of the training patients of one fold.

    Attributes:
        real: the real training images.
        synthetic: as many synthetic ones as the arm's ratio asks for; none for arms that use none.
        left_out: real images of training patients that limits keep away from training; only an oracle sees them.
        seed: of what is random in building.
    """

    real: LabelledImages
    synthetic: LabelledImages
    left_out: LabelledImages
    seed: int = 0


@dataclass(frozen=True)
class Arm:
    """A way of training under test.

    All arms have the same classifier, steps and batch size.

    Attributes:
        build: `ArmImages` -> the training set.
        role: "baseline" may be the best without a generator; "augmented" adds synthetic images to all real ones;
            "control" is there to be looked at.
        uses_synthetic: whether it needs a generator.
        by_ratio: whether it is run at every ratio, or at the largest only.
        recipe: how the classifier sees its training set.
        shares: whether `--share` says how often synthetic images are drawn.
        seed_offset: added to the classifier's seed.
    """

    build: Callable[[ArmImages], LabelledImages]
    role: Role = "control"
    uses_synthetic: bool = False
    by_ratio: bool = False
    recipe: Recipe = MILD
    shares: bool = False
    seed_offset: int = 0


ARMS: Plugins[Arm] = Plugins("braingan.arms", "arm", SettingsError, "option")


def register_arm(name: str) -> Callable[[Callable[[], Arm]], Callable[[], Arm]]:
    """Decorator that makes an arm known in this process; packages declare theirs in the group `braingan.arms`.

    Args:
        name: what `--arms` takes.

    Raises:
        SettingsError: the name is taken.
    """

    def register(factory: Callable[[], Arm]) -> Callable[[], Arm]:
        ARMS.register(name, factory)
        return factory

    return register


def list_arms() -> list[PluginInfo]:
    """What is known of each arm, broken ones too."""
    return [ARMS.info(name) for name in ARMS.names()]


def arms_named(names: Sequence[str]) -> dict[str, Arm]:
    """Arms by name, in the order given.

    Raises:
        SettingsError: a name is unknown or given twice, or none is given.
    """
    if not names:
        raise SettingsError(f"no arm was asked; there are {', '.join(ARMS.names())}")
    doubled = [name for name in names if list(names).count(name) > 1]
    if doubled:
        raise SettingsError(f"arm {doubled[0]!r} was asked twice; once works")
    return {name: ARMS.create(name, {}) for name in names}


def _real(images: ArmImages) -> LabelledImages:
    return images.real


def _together(images: ArmImages) -> LabelledImages:
    return images.real + images.synthetic


def _synthetic_first(images: ArmImages) -> LabelledImages:
    """Synthetic images, and real ones of the classes that the generator cannot make: healthy slices, say."""
    return images.real.of_labels(images.synthetic.labels, wanted=False) + images.synthetic


def _wrongly_labelled(images: ArmImages) -> LabelledImages:
    """Labels drawn from the real ones: shuffling would change nothing where only one class can be made."""
    random = torch.Generator().manual_seed(images.seed)
    chosen = torch.randint(len(images.real), (len(images.synthetic),), generator=random)
    drawn = images.synthetic
    return images.real + LabelledImages(drawn.images, images.real.labels[chosen], drawn.synthetic)


def _all_real(images: ArmImages) -> LabelledImages:
    return images.real + images.left_out


@register_arm("real")
def real() -> Arm:
    """The real training images, every class seen equally often."""
    return Arm(_real, "baseline")


@register_arm("natural")
def natural() -> Arm:
    """The real training images, each seen equally often: classes as they occur."""
    return Arm(_real, "baseline", recipe=Recipe(sampling="natural"))


@register_arm("real+classic")
def real_classic() -> Arm:
    """The real training images with strong classic augmentation."""
    return Arm(_real, "baseline", recipe=STRONG)


@register_arm("real+mixup")
def real_mixup() -> Arm:
    """The real training images with mixup and CutMix."""
    return Arm(_real, "baseline", recipe=Recipe(mixing=True))


@register_arm("synthetic")
def synthetic() -> Arm:
    """Synthetic images, and real ones of classes that cannot be made."""
    return Arm(_synthetic_first, uses_synthetic=True)


@register_arm("combined")
def combined() -> Arm:
    """Real and synthetic images together."""
    return Arm(_together, "augmented", uses_synthetic=True, by_ratio=True, shares=True)


@register_arm("combined+classic")
def combined_classic() -> Arm:
    """Real and synthetic images together, with strong classic augmentation."""
    return Arm(_together, "augmented", uses_synthetic=True, by_ratio=True, shares=True, recipe=STRONG)


@register_arm("pretrain+finetune")
def pretrain_finetune() -> Arm:
    """Synthetic images for the first half of the steps, then real ones."""
    return Arm(_together, uses_synthetic=True, recipe=Recipe(pretrain=0.5))


@register_arm("shuffled")
def shuffled() -> Arm:
    """Real images, and synthetic ones with labels drawn at random: a negative control."""
    return Arm(_wrongly_labelled, uses_synthetic=True, shares=True)


@register_arm("duplicates")
def duplicates() -> Arm:
    """The real training images again, under another seed: any difference to `real` is chance."""
    return Arm(_real, seed_offset=RESEEDED)


@register_arm("oracle-same-patients")
def oracle_same_patients() -> Arm:
    """All real images of the training patients, also those that limits leave out: what more data would give."""
    return Arm(_all_real)


BUILT_IN = frozenset(ARMS.registered)  # known in every process that imports this module
