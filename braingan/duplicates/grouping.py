"""Twins -> groups that a split keeps together."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from braingan.data.preparation import PreparedSet
from braingan.data.records import ImageSet
from braingan.duplicates.twins import Looks, Twin, find_twins

log = logging.getLogger("braingan")


def looks_of(prepared: PreparedSet) -> Looks:
    """What twins of prepared images are recognised by."""
    return Looks(prepared.views.numpy(), prepared.hashes)


def twin_groups(twins: Sequence[Twin], count: int) -> list[list[int]]:
    """Images that are linked by twins, directly or through others; each group in ascending order."""
    if not twins:
        return []
    first, second = (np.array([getattr(twin, end) for twin in twins]) for end in ("first", "second"))
    linked = coo_array((np.ones(len(twins)), (first, second)), shape=(count, count))
    names = connected_components(linked, directed=False)[1]
    members: dict[int, list[int]] = {}
    for number in np.unique(np.concatenate([first, second])):
        members.setdefault(int(names[number]), []).append(int(number))
    return sorted(members.values())


def group_duplicates(prepared: PreparedSet) -> PreparedSet:
    """The same images, twins in one group, so that a split keeps them on one side; only where no patients are known.

    The group is named after the first file in it.
    """
    source = prepared.source
    if source.has_patients:
        return prepared
    groups = twin_groups(find_twins(looks_of(prepared), [record.group for record in source.records]), len(source))
    if not groups:
        return prepared
    records = list(source.records)
    for members in groups:
        for number in members:
            records[number] = replace(records[number], group=records[members[0]].group)
    together = sum(map(len, groups))
    log.info("%d images are twins in %d groups; each group stays together and counts as one", together, len(groups))
    return replace(prepared, source=ImageSet(records, source.classes, transform=source.transform))
