"""An inspection as one HTML file with the pictures that it speaks of, and as JSON."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from braingan.data.files import replacing
from braingan.duplicates.twins import Twin
from braingan.inspection.advice import Duplicates, Facts
from braingan.inspection.examination import Examined
from braingan.inspection.inspecting import TEST_SHARE
from braingan.inspection.result import PAGE, RESULT, Inspection
from braingan.inspection.shortcuts import CHANCE, FEWEST, FLAGGED_FROM, LEAST_ABOVE
from braingan.progress import readable_seconds
from braingan.reporting.facts import NO_DEVICE, plural
from braingan.reporting.html import BAD_FILES_SHOWN, render, with_commands
from braingan.reporting.inspection_text import summary
from braingan.reporting.thumbnails import thumbnails

GROUPS_SHOWN = 40
PICTURES_SHOWN = 6  # of a group
PAIRS_SHOWN = 40
PATIENTS_SHOWN = 20

T = TypeVar("T")


@dataclass(frozen=True)
class Frame:
    """A place for a picture.

    Attributes:
        part: `train` or `test`.
        number: of the image in that part.
        file: its name.
        label: its class.
        kind: how it is the same picture as others.
    """

    part: str
    number: int
    file: str
    label: str
    kind: str


@dataclass(frozen=True)
class Card:
    """Pictures side by side that show the same.

    Attributes:
        frames: what is shown.
        contradictory: whether the images carry different labels, also those that are not shown.
        images: how many there are.
    """

    frames: tuple[Frame, ...]
    contradictory: bool
    images: int


def write_inspection(inspection: Inspection, facts: Facts, out: Path, *, without_images: bool) -> None:
    """Write `inspection.html` and, last, `inspection.json`; each whole or not at all.

    The same inspection of the same files gives the same bytes. Only images that are shown are opened.

    Args:
        inspection: the record.
        facts: what it was made from.
        out: folder for both files.
        without_images: leave the pictures out of the page.

    Raises:
        OutputError: a file cannot be written.
    """
    page = _page(inspection, facts, with_pictures=not without_images)
    with replacing(out / PAGE) as beside:
        beside.write_text(page, encoding="utf-8", errors="replace")  # a folder's name need not be text
    inspection.save(out / RESULT)


def spread(items: Iterable[T], *keys: Callable[[T], Hashable]) -> list[T]:
    """Reordered so that whatever is cut off at the end, all values of the first key keep about equal shares.

    Within each value of the first key the same holds for the second, and so on.

    >>> spread(["a1", "a2", "a3", "b1", "c1", "c2"], lambda item: item[0])
    ['a1', 'b1', 'c1', 'a2', 'c2', 'a3']
    """
    if not keys:
        return list(items)
    piles: dict[Hashable, list[T]] = {}
    for item in items:
        piles.setdefault(keys[0](item), []).append(item)
    turns = itertools.zip_longest(*(spread(pile, *keys[1:]) for pile in piles.values()))
    return [item for turn in turns for item in turn if item is not None]


def _page(inspection: Inspection, facts: Facts, *, with_pictures: bool) -> str:
    groups, pairs = _group_cards(facts), _pair_cards(facts)
    return render(
        "inspection.html",
        {"words": with_commands, "duration": readable_seconds, "commas": _commas},
        inspection=inspection,
        facts=facts,
        summary=summary(inspection),
        known=[line for line in inspection.advice if line not in inspection.serious],
        parts=_parts(facts),
        rows=_rows(facts),
        groups=groups,
        pairs=pairs,
        pictures=_pictures([*groups, *pairs], facts) if with_pictures else None,
        contradictory=sum(group.contradictory for group in facts.duplicates),
        has_patients=all(part.source.has_patients for part in facts.parts),
        limits={"bad_files": BAD_FILES_SHOWN, "patients": PATIENTS_SHOWN, "flagged": FLAGGED_FROM, "chance": CHANCE,
                "low": LEAST_ABOVE, "fewest": FEWEST, "share": TEST_SHARE},
        place=_place,
        plural=plural,
        no_device=NO_DEVICE,
    )  # fmt: skip


def _parts(facts: Facts) -> dict[str, Examined]:
    return {"train": facts.train} | ({"test": facts.test} if facts.test else {})


def _rows(facts: Facts) -> list[tuple[str, list[tuple[int, int]]]]:
    """For each class, and for all together: (images, patients) of each part."""
    classes = dict.fromkeys(name for part in facts.parts for name in part.source.classes)
    return [(name or "all", [_counted(part, name) for part in facts.parts]) for name in (*classes, None)]


def _counted(part: Examined, name: str | None) -> tuple[int, int]:
    own = [group for group, label in zip(part.groups, part.source.targets, strict=True)
           if name in (None, part.source.classes[label])]  # fmt: skip
    return len(own), len(set(own))


def _group_cards(facts: Facts) -> list[Card]:
    """Groups of duplicates: contradictory ones first, then from all parts and classes alike; large before small."""
    order = {group: number for number, group in enumerate(facts.duplicates)}
    wrong, rest = ([group for group in order if group.contradictory is which] for which in (True, False))
    chosen = [*wrong, *spread(rest, lambda group: (group.part, group.labels[0]))][:GROUPS_SHOWN]
    chosen.sort(key=lambda group: (not group.contradictory, -len(group.members), order[group]))
    return [_group_card(group, _parts(facts)[group.part]) for group in chosen]


def _group_card(group: Duplicates, part: Examined) -> Card:
    # spread over labels: a contradiction must be seen, however large the group
    shown = sorted(spread(range(len(group.members)), lambda place: group.labels[place])[:PICTURES_SHOWN])
    kinds = _kinds(group, part)
    frames = [Frame(group.part, group.members[at], group.files[at], group.labels[at], kinds[at]) for at in shown]
    return Card(tuple(frames), group.contradictory, len(group.members))


def _kinds(group: Duplicates, part: Examined) -> list[str]:
    """How each image of a group is the same as another: a group is recorded with all its kinds together."""
    contents = [part.looks.hashes[number] for number in group.members]
    copies, others = Counter(contents), [kind for kind in group.kinds if kind != "identical"]
    return ["identical" if copies[content] > 1 or not others else " or ".join(others) for content in contents]


def _pair_cards(facts: Facts) -> list[Card]:
    """Test images beside their twin in training, contradictory ones first, then of all classes and kinds alike."""
    crossing, test, train = facts.crossing, facts.test, facts.train
    if crossing is None or test is None:
        return []
    pairs = {twin: _pair_card(twin, test, train) for twin in crossing.twins}
    closest: dict[int, Twin] = {}
    for twin in sorted(pairs, key=lambda twin: (not pairs[twin].contradictory, -twin.score)):
        closest.setdefault(twin.first, twin)
    wrong, rest = ([pairs[twin] for twin in closest.values() if pairs[twin].contradictory is which]
                   for which in (True, False))  # fmt: skip
    spread_out = spread(rest, lambda card: card.frames[0].label, lambda card: card.frames[0].kind)
    chosen = [*wrong, *spread_out][:PAIRS_SHOWN]
    return sorted(chosen, key=lambda card: (not card.contradictory, card.frames[0].number))


def _pair_card(twin: Twin, test: Examined, train: Examined) -> Card:
    first, second = (
        Frame(name, number, part.names[number], part.source.classes[part.labels[number]], twin.kind)
        for name, part, number in (("test", test, twin.first), ("train", train, twin.second))
    )
    return Card((first, second), first.label != second.label, 2)


def _pictures(cards: Iterable[Card], facts: Facts) -> dict[tuple[str, int], str | None]:
    """(part, number) -> address of the picture; None where it cannot be opened any more."""
    wanted = {(frame.part, frame.number) for card in cards for frame in card.frames}
    return {
        (name, number): address
        for name, part in _parts(facts).items()
        for number, address in thumbnails(
            part.source.records, [number for own, number in wanted if own == name]
        ).items()
    }


def _place(accuracy: float) -> float:
    """Where a balanced accuracy stands on a scale from chance to always right, in percent."""
    return round(100 * max(0.0, accuracy - CHANCE) / (1 - CHANCE), 2)


def _commas(names: Iterable[str]) -> str:
    """Words in a row.

    >>> _commas(["a"]), _commas(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
