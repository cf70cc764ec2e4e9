"""Nearest descriptors among many, without comparing each with each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

EXACT = 6000  # up to so many images each is compared with each: quicker than anything clever
PROBES = 16  # cells that are searched for each query
BLOCK = 2048  # queries at a time, so that memory stays small


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
                yield _best(queries[part] @ self.base.T, np.arange(len(self.base)), part.start, k, least)

    def _in_cells(self, queries: np.ndarray, part: slice, k: int, least: float) -> tuple[np.ndarray, np.ndarray]:
        close = queries[part] @ self.pivots.T
        probed = np.argpartition(-close, PROBES, axis=1)[:, :PROBES]
        order, starts = self._members()
        found: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        asked = np.argsort(probed.ravel(), kind="stable")
        bounds = np.searchsorted(probed.ravel()[asked], np.arange(len(self.pivots) + 1))
        for number in range(len(self.pivots)):  # one product for all queries of a cell
            members = order[starts[number] : starts[number + 1]]
            rows = asked[bounds[number] : bounds[number + 1]] // PROBES
            if len(rows) and len(members):
                products = queries[part][rows] @ self.base[members].T
                at, which = np.nonzero(products >= least)
                found.append((rows[at], members[which], products[at, which]))
        if not found:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        query, neighbour, product = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = _first_of_each(query, product, k)
        return query[kept] + part.start, neighbour[kept]

    def _members(self) -> tuple[np.ndarray, np.ndarray]:
        order = np.argsort(self.cell, kind="stable")
        return order, np.searchsorted(self.cell[order], np.arange(len(self.pivots) + 1))


def _blocks(count: int) -> Iterator[slice]:
    for first in range(0, count, BLOCK):
        yield slice(first, min(first + BLOCK, count))


def _best(products: np.ndarray, names: np.ndarray, first: int, k: int, least: float) -> tuple[np.ndarray, np.ndarray]:
    """The k largest of each row that reach `least`, as (row + first, name of the column)."""
    k = min(k, products.shape[1])
    if not k:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    columns = np.argpartition(-products, k - 1, axis=1)[:, :k]
    rows = np.repeat(np.arange(len(products)), k)
    columns = columns.ravel()
    kept = products[rows, columns] >= least
    return rows[kept] + first, names[columns[kept]]


def _first_of_each(query: np.ndarray, product: np.ndarray, k: int) -> np.ndarray:
    """Which entries are among the k largest of their query."""
    order = np.lexsort((-product, query))
    starts = np.searchsorted(query[order], query[order])  # where the entries of the same query begin
    kept: np.ndarray = order[np.arange(len(order)) - starts < k]
    return kept
