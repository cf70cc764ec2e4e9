"""Which image comes next: a pure function of the position, so that any step can be made again."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor


class IndexSampler:
    """Endless indices into a labelled set, without state.

    "balanced" takes the classes in turn, so that each is seen equally often; "natural" takes all
    images as one pool. Within a class (or the pool) every image comes once before any comes again,
    in an order shuffled anew each time. A batch may be larger than the set.

    Args:
        labels: (N,) int64.
        how: "balanced" or "natural".
        seed: of the shuffles, 0 or more.
    """

    def __init__(self, labels: Tensor, how: Literal["balanced", "natural"], *, seed: int) -> None:
        values = labels.cpu().numpy()
        every = np.arange(len(values))
        self.pools = [every[values == label] for label in np.unique(values)] if how == "balanced" else [every]
        self.seed = seed
        self._orders: dict[int, tuple[int, np.ndarray]] = {}

    def batch(self, step: int, size: int) -> Tensor:
        """The indices of batch number `step`: (size,) int64."""
        start = step * size
        return torch.tensor([self._at(position) for position in range(start, start + size)])

    def _at(self, position: int) -> int:
        turn, pool = divmod(position, len(self.pools))
        epoch, place = divmod(turn, len(self.pools[pool]))
        return int(self._order(pool, epoch)[place])

    def _order(self, pool: int, epoch: int) -> np.ndarray:
        """The pool in the order of an epoch; only the latest is kept."""
        kept = self._orders.get(pool)
        if kept is None or kept[0] != epoch:
            shuffled = np.random.default_rng([self.seed, pool, epoch]).permutation(self.pools[pool])
            kept = self._orders[pool] = (epoch, shuffled)
        return kept[1]
