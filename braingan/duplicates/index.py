"""Nearest descriptors among many, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

EXACT = 6000  # up to so many images each is compared with each: quicker than anything clever
PROBES = 16  # cells that are searched for each query
BLOCK = 4096  # queries at a time, so that memory stays small


@dataclass(frozen=True)
class Index:
    """Descriptors, dealt into cells around some of themselves (an inverted file).

    Each query searches the nearest cells only. With about 2 sqrt(N) cells the work for N queries grows as N^1.5.
    Neighbours that are near, as twins are, lie in a searched cell nearly always.

    Attributes:
        base: (N, D) float32 of length 1.
        pivots: (P, D) centres of the cells; none where all are compared.
        cell: (N,) the cell of each descriptor.
    """

    base: np.ndarray
    pivots: np.ndarray
    cell: np.ndarray

    @classmethod
    def build(cls, base: np.ndarray) -> Index:
        """Index some descriptors; the same ones give the same index."""
        if len(base) <= EXACT:
            return cls(base, base[:0], np.zeros(len(base), np.int64))
        chosen = np.random.default_rng(0).choice(len(base), round(2 * np.sqrt(len(base))), replace=False)
        pivots = base[np.sort(chosen)]
        cell = np.concatenate([(base[part] @ pivots.T).argmax(axis=1) for part in _blocks(len(base))])
        return cls(base, pivots, cell)

    def nearest(self, queries: np.ndarray, k: int, least: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """For blocks of queries, the pairs (query, neighbour) of the up to k nearest with a correlation of `least`."""
        for part in _blocks(len(queries)):
            if len(self.pivots):
                yield self._in_cells(queries, part, k, least)
            else:
                rows, columns = _best(queries[part] @ self.base.T, k, least)
                yield rows + part.start, columns

    def _in_cells(self, queries: np.ndarray, part: slice, k: int, least: float) -> tuple[np.ndarray, np.ndarray]:
        asked = queries[part]
        probed = np.argpartition(-(asked @ self.pivots.T), PROBES, axis=1)[:, :PROBES]
        order, starts = self._members()
        best = np.full((len(asked), PROBES, k), -2.0, np.float32)  # a place for the k best of each cell
        names = np.zeros((len(asked), PROBES, k), np.int64)
        by_cell = np.argsort(probed.ravel(), kind="stable")
        bounds = np.searchsorted(probed.ravel()[by_cell], np.arange(len(self.pivots) + 1))
        for number in range(len(self.pivots)):  # one product for all queries of a cell
            members = order[starts[number] : starts[number + 1]]
            rows, slots = np.divmod(by_cell[bounds[number] : bounds[number + 1]], PROBES)
            if len(rows) and len(members):
                products = asked[rows] @ self.base[members].T
                few = min(k, len(members))
                columns = np.argpartition(-products, few - 1, axis=1)[:, :few]
                best[rows, slots, :few] = np.take_along_axis(products, columns, axis=1)
                names[rows, slots, :few] = members[columns]
        found = best.reshape(len(asked), -1)
        rows, columns = _best(found, k, least)
        return rows + part.start, names.reshape(len(asked), -1)[rows, columns]

    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.cell, kind="stable")
        return order, np.searchsorted(self.cell[order], np.arange(len(self.pivots) + 1))


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, BLOCK):
        yield slice(first, min(first + BLOCK, count))


def _best(products: np.ndarray, k: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Row and column of the k largest of each row that reach `least`."""
    k = min(k, products.shape[1])
    if not k:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = np.argpartition(-products, k - 1, axis=1)[:, :k].ravel()
    rows = np.repeat(np.arange(len(products)), k)
    kept = products[rows, columns] >= least
    return rows[kept], columns[kept]
