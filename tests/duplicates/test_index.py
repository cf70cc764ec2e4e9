"""The index: near neighbours are found among many without comparing each with each."""

from __future__ import annotations

import numpy as np
import pytest

from braingan.data.views import VIEW
from braingan.duplicates.descriptor import describe, flipped, orientations
from braingan.duplicates.index import BLOCK, EXACT, Index

DIMENSIONS = describe(np.zeros((1, VIEW, VIEW), np.uint8)).shape[1]


def directions(count: int, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, DIMENSIONS)).astype(np.float32)
    units: np.ndarray = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return units


def near(base: np.ndarray, correlation: float, seed: int = 1) -> np.ndarray:
    """For each vector one of length one that correlates with it by just so much."""
    other = directions(len(base), seed)
    other -= (other * base).sum(axis=1, keepdims=True) * base
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    planted: np.ndarray = correlation * base + np.sqrt(1 - correlation**2) * other
    return planted.astype(np.float32)


def found(index: Index, queries: np.ndarray, k: int, least: float) -> list[tuple[int, int]]:
    blocks = index.nearest(queries, k, least)
    return [(int(one), int(two)) for first, second in blocks for one, two in zip(first, second, strict=True)]


def brute_force(base: np.ndarray, queries: np.ndarray, k: int, least: float) -> set[tuple[int, int]]:
    products = queries @ base.T
    return {
        (row, int(column))
        for row in range(len(queries))
        for column in np.argsort(-products[row], kind="stable")[:k]
        if products[row, column] >= least
    }


@pytest.fixture(scope="module")
def many() -> tuple[np.ndarray, Index]:
    base = directions(EXACT + 2000)
    return base, Index.build(base)


@pytest.mark.parametrize("correlation", [0.95, 0.98, 0.999])
def test_planted_neighbours_are_found_among_many(many: tuple[np.ndarray, Index], correlation: float) -> None:
    base, index = many
    assert len(index.pivots)  # not each with each
    queries = near(base[:3000], correlation)
    pairs = set(found(index, queries, k=5, least=0.8))
    assert np.mean([(number, number) in pairs for number in range(len(queries))]) >= 0.99


def test_never_more_than_asked_and_never_less_alike_than_asked(many: tuple[np.ndarray, Index]) -> None:
    base, index = many
    queries = near(base[:500], 0.6)
    for k, least in ((1, 0.0), (3, 0.3), (16, 0.5)):
        pairs = np.array(found(index, queries, k, least))
        assert np.unique(pairs[:, 0], return_counts=True)[1].max() <= k
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        assert ((queries[pairs[:, 0]] * base[pairs[:, 1]]).sum(axis=1) >= least - 1e-5).all()


def test_the_nearest_of_many_copies_come_first(many: tuple[np.ndarray, Index]) -> None:
    base, _ = many
    copies = np.concatenate([near(base[:1], share, seed) for seed, share in enumerate((0.99, 0.97, 0.95), 2)])
    index = Index.build(np.concatenate([base, copies]))
    assert found(index, base[:1], k=3, least=0.8) != []
    assert set(found(index, base[:1], k=3, least=0.8)) == {(0, 0), (0, len(base)), (0, len(base) + 1)}


@pytest.mark.parametrize("count", [1, 2, 40, 700])
@pytest.mark.parametrize(("k", "least"), [(1, -1.0), (5, 0.2), (16, 0.8), (5000, 0.0)])
def test_few_are_compared_each_with_each(count: int, k: int, least: float) -> None:
    base, queries = directions(count), np.concatenate([near(directions(count), 0.9), directions(30, seed=5)])
    index = Index.build(base)
    pairs = found(index, queries, k, least)
    assert set(pairs) == brute_force(base, queries, k, least)
    assert len(pairs) == len(set(pairs))


def test_more_queries_than_a_block_are_numbered_on() -> None:
    base = directions(50)
    queries = np.tile(base, (BLOCK // 50 + 2, 1))
    assert found(Index.build(base), queries, 1, 0.99) == [(number, number % 50) for number in range(len(queries))]


def test_the_same_descriptors_give_the_same_index(many: tuple[np.ndarray, Index]) -> None:
    base, index = many
    again = Index.build(base)
    assert np.array_equal(again.pivots, index.pivots)
    assert np.array_equal(again.cell, index.cell)


def test_nothing_is_found_among_nothing_and_by_nobody() -> None:
    none = directions(0)
    assert found(Index.build(none), directions(3), 4, 0.0) == []
    assert found(Index.build(directions(3)), none, 4, 0.0) == []


def test_a_blank_descriptor_is_near_to_nothing(many: tuple[np.ndarray, Index]) -> None:
    base, index = many
    blank = np.zeros((2, DIMENSIONS), np.float32)
    assert found(index, blank, 4, 0.5) == []
    assert found(Index.build(np.concatenate([blank, base[:20]])), base[:5], 30, 0.5) == [
        (number, number + 2) for number in range(5)
    ]


def test_a_descriptor_of_a_flipped_view_is_had_without_flipping_it() -> None:
    views = np.random.default_rng(0).integers(0, 256, (6, VIEW, VIEW), np.uint8)
    for flip, described in orientations(describe(views)):
        assert np.allclose(described, describe(flipped(views, flip)), atol=1e-5)
