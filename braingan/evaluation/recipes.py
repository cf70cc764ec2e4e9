"""How a classifier sees its training set: which images, in what order, and how they are changed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import torch
from torch import Tensor

from braingan.data.sampling import IndexSampler
from braingan.errors import SettingsError

if TYPE_CHECKING:
    from braingan.evaluation.classifier import ClassifierSettings

Sampling = Literal["balanced", "natural"]
Augmentation = Literal["mild", "strong"]


SHOWN_AS = 2  # part of a cell's key: to be raised when the same recipe shall show other pixels


@dataclass(frozen=True)
class Recipe:
    """A way to train on the same images; plain values, so that it can be kept as JSON and sent to other processes.

    Attributes:
        sampling: "balanced" sees every class equally often, "natural" as often as it occurs.
        augmentation: "mild" is `augment_batch`; "strong" is `augment_strongly` and then that.
        mixing: whether images and labels are blended; see `Mixing`.
        pretrain: 0 to 1, the share of the steps, at the beginning, that see synthetic images only, and real ones of
            classes that have none; all other steps see real ones only, and synthetic ones of classes that have none.

    Raises:
        SettingsError: a value that cannot be.
    """

    sampling: Sampling = "balanced"
    augmentation: Augmentation = "mild"
    mixing: bool = False
    pretrain: float = 0.0

    def __post_init__(self) -> None:
        if self.sampling not in get_args(Sampling):
            raise SettingsError(f"sampling {self.sampling!r} was asked; {_quoted(get_args(Sampling))} work")
        if self.augmentation not in get_args(Augmentation):
            raise SettingsError(f"augmentation {self.augmentation!r} was asked; {_quoted(get_args(Augmentation))} work")
        if not isinstance(self.mixing, bool):
            raise SettingsError(f"mixing {self.mixing!r} was asked; True or False work")
        number = isinstance(self.pretrain, int | float) and not isinstance(self.pretrain, bool)
        if not number or not 0 <= self.pretrain <= 1:
            raise SettingsError(
                f"pretrain {self.pretrain!r} was asked; it is the share of the steps that see synthetic images first, "
                "0 to 1"
            )


PLAIN = Recipe()


def _quoted(names: tuple[str, ...]) -> str:
    return " or ".join(map(repr, names))


class RecipeSampler:
    """The batches of a training: a pure function of the step, without state.

    Args:
        labels: (N,) int64.
        recipe: its `sampling` and `pretrain` are heeded.
        steps: of the whole training; `round(pretrain * steps)` of them come first.
        seed: of the order, 0 or more.
        synthetic: (N,) bool, which images are synthetic; None where none is.
        share: 0 to 1, of the draws of a class that are synthetic, see `IndexSampler`; not with `pretrain`.

    Raises:
        SettingsError: the share cannot be, or was asked beside `pretrain`; or `pretrain` was, and images of one kind
            are missing.
    """

    def __init__(
        self, labels: Tensor, recipe: Recipe, steps: int, *, seed: int, synthetic: Tensor | None = None,
        share: float | None = None,
    ) -> None:  # fmt: skip
        def sampler(share: float | None) -> IndexSampler:
            return IndexSampler(labels, recipe.sampling, seed=seed, synthetic=synthetic, share=share)

        self.first = round(recipe.pretrain * steps)
        if recipe.pretrain:
            _check_pretrain(recipe.pretrain, share, synthetic)
            self.before, self.after = sampler(1.0), sampler(0.0)
        else:
            self.before = self.after = sampler(share)

    def batch(self, step: int, size: int) -> Tensor:
        """The indices of batch number `step`: (size,) int64."""
        if step < self.first:
            return self.before.batch(step, size)
        return self.after.batch(step - self.first, size)


def _check_pretrain(pretrain: float, share: float | None, synthetic: Tensor | None) -> None:
    if share is not None:
        raise SettingsError(
            f"share {share} and pretrain {pretrain} were both asked; both say when synthetic images are seen: give one"
        )
    count, total = (0, None) if synthetic is None else (int(synthetic.sum()), len(synthetic))
    if count in {0, total}:
        missing = "synthetic" if count == 0 else "real"
        raise SettingsError(
            f"pretrain {pretrain} was asked, and no training image is {missing}; give images of both kinds, or 0"
        )


def seen(
    labels: Tensor,
    synthetic: Tensor | None,
    settings: ClassifierSettings,
    recipe: Recipe = PLAIN,
    share: float | None = None,
    seed: int = 0,
) -> dict[str, list[int]]:
    """How often `train_classifier` with the same arguments sees real and synthetic images, from its sampler alone.

    An image that is mixed into another is counted once.

    Args:
        labels: (N,) int64.
        synthetic: (N,) bool, which images are synthetic; None where none is.
        settings: of the classifier.
        recipe: of the training.
        share: see `train_classifier`.
        seed: of the training.

    Returns:
        {"real": counts, "synthetic": counts}, each in the order of the labels; all of them sum to steps * batch size.

    Raises:
        SettingsError: what training would refuse of these.
    """
    sampler = RecipeSampler(labels, recipe, settings.steps, seed=seed, synthetic=synthetic, share=share)
    drawn = torch.cat([sampler.batch(step, settings.batch_size) for step in range(settings.steps)])
    marked = torch.zeros(len(labels), dtype=torch.bool) if synthetic is None else synthetic.cpu()
    classes, own = int(labels.max()) + 1, labels.cpu()
    kinds = {"real": drawn[~marked[drawn]], "synthetic": drawn[marked[drawn]]}
    return {kind: torch.bincount(own[indices], minlength=classes).tolist() for kind, indices in kinds.items()}
