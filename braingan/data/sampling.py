"""Which image comes next: a pure function of the position, so that any step can be made again."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Sampler

from braingan.errors import SettingsError


def check_share(share: float) -> None:
    """Refuse a share of synthetic images that cannot be.

    Raises:
        SettingsError: it is not within 0 to 1.
    """
    if not 0 <= share <= 1:
        raise SettingsError(f"share {share} was asked; it is the synthetic part of what is drawn of a class, 0 to 1")


class IndexSampler:
    """Endless indices into a labelled set, without state.

    "balanced" takes the classes in turn, so that each is seen equally often; "natural" takes all
    images as one pool. Within a class (or the pool) every image comes once before any comes again,
    in an order shuffled anew each time. A batch may be larger than the set.

    With a share, the real and the synthetic images of a class are two pools, each with its own order, and that part of
    the draws of every class is synthetic: after any number of draws, to less than one image. A class that has only one
    kind of images is drawn from these. "natural" then shows every class as often as it occurs among the real images,
    and a class that has none of these not at all.

    Args:
        labels: (N,) int64.
        how: "balanced" or "natural".
        seed: of the shuffles, 0 or more.
        synthetic: (N,) bool, which images are synthetic; without a share, it does not matter.
        share: 0 to 1, of the draws of a class that are synthetic; None draws all images of a class alike.

    Raises:
        SettingsError: the share is not within 0 to 1, or above 0 where no class that is shown has synthetic images.
    """

    def __init__(
        self,
        labels: Tensor,
        how: Literal["balanced", "natural"],
        *,
        seed: int,
        synthetic: Tensor | None = None,
        share: float | None = None,
    ) -> None:
        values = labels.cpu().numpy()
        if share is None:
            marked = np.zeros(len(values), bool)
            classes = [values == label for label in np.unique(values)] if how == "balanced" else [~marked]
        else:
            check_share(share)
            marked = np.zeros(len(values), bool) if synthetic is None else synthetic.cpu().numpy()
            shown = values if how == "balanced" else values[~marked]
            classes = [values == label for label in np.unique(shown)]
            if share and not any((own & marked).any() for own in classes):
                raise SettingsError(
                    f"share {share} was asked, and no class has synthetic images to be drawn; add some, or ask for 0"
                )
        self.seed = seed
        self.pools = [np.flatnonzero(own & kind) for kind in (~marked, marked) for own in classes]
        self._rules = [_rule(own, marked, share or 0, which, len(classes)) for which, own in enumerate(classes)]
        self._orders: dict[int, tuple[int, np.ndarray]] = {}
        self._natural: np.ndarray | None = None  # the class of every real image, to be shuffled as a schedule
        if how == "natural" and share is not None:
            self._natural = np.repeat(np.arange(len(classes)), [len(pool) for pool in self.pools[: len(classes)]])
        self._schedule: tuple[int, np.ndarray, np.ndarray] | None = None  # epoch, classes, turn of each within its own

    def batch(self, step: int, size: int) -> Tensor:
        """The indices of batch number `step`: (size,) int64."""
        start = step * size
        return torch.tensor([self.at(position) for position in range(start, start + size)])

    def at(self, position: int) -> int:
        """The index at a position, from 0 on."""
        pool, turn = self._class_at(position)
        per_turn, start, whole = self._rules[pool]
        before = (turn * per_turn + start) // whole
        if ((turn + 1) * per_turn + start) // whole > before:
            pool, turn = pool + len(self._rules), before
        else:
            turn -= before
        epoch, place = divmod(turn, len(self.pools[pool]))
        return int(self._order(pool, epoch)[place])

    def _class_at(self, position: int) -> tuple[int, int]:
        """Which class comes at a position, and how often it has come before."""
        if self._natural is None:
            turn, which = divmod(position, len(self._rules))
            return which, turn
        epoch, place = divmod(position, len(self._natural))
        if self._schedule is None or self._schedule[0] != epoch:
            shuffled = np.random.default_rng([self.seed, len(self.pools), epoch]).permutation(self._natural)
            turns = np.empty_like(shuffled)
            for which, pool in enumerate(self.pools[: len(self._rules)]):
                turns[shuffled == which] = epoch * len(pool) + np.arange(len(pool))
            self._schedule = (epoch, shuffled, turns)
        return int(self._schedule[1][place]), int(self._schedule[2][place])

    def _order(self, pool: int, epoch: int) -> np.ndarray:
        """The pool in the order of an epoch; only the latest is kept."""
        kept = self._orders.get(pool)
        if kept is None or kept[0] != epoch:
            shuffled = np.random.default_rng([self.seed, pool, epoch]).permutation(self.pools[pool])
            kept = self._orders[pool] = (epoch, shuffled)
        return kept[1]


def _rule(own: np.ndarray, marked: np.ndarray, share: float, which: int, classes: int) -> tuple[int, int, int]:
    """Whole numbers (a, b, c) such that (n * a + b) // c of the first n draws of a class are synthetic.

    Each class rounds at a place of its own, evenly apart. So they do not all turn to synthetic images at once, and
    after every round the draws of all classes together have the share as well, rounded.
    """
    real, synthetic = (own & ~marked).any(), (own & marked).any()
    exact = Fraction(str(share)) if real and synthetic else Fraction(int(synthetic))  # as written: 0.3 is 3/10
    start = Fraction(2 * which + 1, 2 * classes)
    whole = exact.denominator * start.denominator
    return exact.numerator * start.denominator, start.numerator * exact.denominator, whole


class EpochSampler(Sampler[int]):
    """An `IndexSampler` for a DataLoader.

    Each iteration goes on where the one before it was to end, so that it shuffles anew, and an image that did not
    come in one comes early in the next.

    Args:
        indices: what is drawn.
        length: of one iteration, 1 or more.

    Raises:
        SettingsError: the length is less than 1.
    """

    def __init__(self, indices: IndexSampler, length: int) -> None:
        if length < 1:
            raise SettingsError(f"length {length} was asked; an epoch of 1 image or more works")
        self.indices = indices
        self.length = length
        self.begun = 0  # iterations

    def __iter__(self) -> Iterator[int]:
        start = self.begun * self.length
        self.begun += 1
        return map(self.indices.at, range(start, start + self.length))

    def __len__(self) -> int:
        return self.length
