"""What a generator or its images have seen, against what is held out."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from braingan.data.held_out import synthetic_files
from braingan.data.preparation import PreparedSet
from braingan.data.split import Split
from braingan.duplicates.grouping import looks_of
from braingan.duplicates.seen import find_leak, some_names
from braingan.duplicates.twins import find_twins_across
from braingan.errors import LeakageError, SettingsError
from braingan.generation.storage import StoredGenerator

log = logging.getLogger("braingan")

ALLOWED = "--allow-leakage goes on and marks the result"


def check_classes(stored: StoredGenerator, classes: Sequence[str]) -> None:
    """Refuse a generator of other classes.

    Raises:
        SettingsError: its classes are not those of the data.
    """
    made, asked = list(stored.generator.spec.classes), list(classes)
    if made != asked:
        raise SettingsError(
            f"the generator in {stored.folder} makes {', '.join(made)}; the data have {', '.join(asked)}"
        )


def check_generator(
    stored: StoredGenerator, split: Split, train: PreparedSet, held_out: PreparedSet, *, allow_leakage: bool
) -> list[str]:
    """Refuse a generator that has seen what is held out, whatever the files were called or looked like then.

    Args:
        stored: the generator.
        split: which images are for what; its validation and test images are held out.
        train: the training part. What shows the same picture as one of these is the data's doing.
        held_out: images that are held out.
        allow_leakage: go on all the same.

    Returns:
        What has to stand in red beside every result; nothing where there is no leak.

    Raises:
        LeakageError: some of its training images, or others of their patients, are held out.
    """
    seen, shared = seen_and_shared(stored, split, train, held_out)
    if not seen:
        _warn(shared)
        return []
    what = (
        f"leak: the generator in {_named(stored)} was trained on {len(seen)} held-out images or on others of their "
        f"patients ({some_names(seen)})"
    )
    own = f", or use its own split with --split {stored.folder / 'split.json'}" if stored.split.test else ""
    return _said(what, f"train one on the training part alone{own}", allow_leakage=allow_leakage)


def seen_and_shared(
    stored: StoredGenerator, split: Split, train: PreparedSet, images: PreparedSet
) -> tuple[list[str], list[str]]:
    """Names of images that a generator has seen, or others of their patients; and of those that `train` shows, too.

    Args:
        stored: the generator.
        split: of the images; patients are compared where both sides know them.
        train: the training part.
        images: what may have been seen.
    """
    found = find_leak(stored.seen, looks_of(images), looks_of(train))
    by_patient = stored.split.grouped_by == split.grouped_by == "patient"
    patients = {file.group for file in stored.split.train} if by_patient else set()
    records = images.source.records
    seen = [record.file for record, leaked in zip(records, found.leaked, strict=True)
            if leaked or record.group in patients]  # fmt: skip
    return seen, [record.file for record, both in zip(records, found.shared, strict=True) if both]


def check_left_out(
    stored: StoredGenerator, split: Split, train: PreparedSet, left_out: PreparedSet, *, allow_leakage: bool
) -> list[str]:
    """Refuse a generator that has seen images which limits keep from the arms without it.

    Args, returns and raises as `check_generator`. Some images of a patient may be left out and others not, so that
    patients say nothing.
    """
    seen, _ = seen_and_shared(stored, replace(split, grouped_by="file"), train, left_out)
    if not seen:
        return []
    what = (
        f"leak: the generator in {_named(stored)} was trained on {len(seen)} images that limits leave out of the "
        f"training part ({some_names(seen)})"
    )
    return _said(what, "leave the limits out, or let the benchmark train its own", allow_leakage=allow_leakage)


def check_choice(stored: StoredGenerator, split: Split, test: PreparedSet, *, allow_leakage: bool) -> list[str]:
    """Refuse a generator whose best step was chosen by images that it is to be judged on.

    Its own validation images, and those of their patients, are fit for choices, not for scores.

    Args, returns and raises as `check_generator`; `test` is what scores come from.
    """
    if not stored.chosen_on_validation:
        return []
    by_patient = stored.split.grouped_by == split.grouped_by == "patient"
    patients = {file.group for file in stored.split.val} if by_patient else set()
    hashes = {file.sha256 for file in stored.split.val}
    used = [record.file for record, sha in zip(test.source.records, test.hashes, strict=True)
            if sha in hashes or record.group in patients]  # fmt: skip
    if not used:
        return []
    what = (
        f"leak: the best step of the generator in {_named(stored)} was chosen by {len(used)} of the test images, or by "
    )
    what += f"others of their patients ({some_names(used)})"
    return _said(what, "train one with the split at hand", allow_leakage=allow_leakage)


def _named(stored: StoredGenerator) -> str:
    """Its folder without the way there, which a report that is sent would tell."""
    return stored.folder.resolve().name


def warn_of_shared(held_out: PreparedSet, train: PreparedSet) -> None:
    """Say so where training images show held-out pictures: a generator that is trained on them will have seen them."""
    twins = find_twins_across(looks_of(held_out), looks_of(train))
    _warn([held_out.source.records[number].file for number in sorted({twin.first for twin in twins})])


def _warn(shared: list[str]) -> None:
    if shared:
        log.warning(
            "%d held-out images (%s) show the same picture as training images: that is the data's doing, not the "
            "generator's; `braingan inspect` shows which", len(shared), some_names(shared),
        )  # fmt: skip


def check_real(images: PreparedSet, part: str, *, allow_leakage: bool) -> list[str]:
    """Refuse images of a part that say of themselves that they are synthetic.

    Returns and raises as `check_generator`.
    """
    synthetic = synthetic_files(images.source.records)
    if not synthetic:
        return []
    what = f"leak: {len(synthetic)} {part} images are synthetic ({some_names(synthetic)})"
    return _said(what, "scores need real images: take them out", allow_leakage=allow_leakage)


def _said(what: str, remedy: str, *, allow_leakage: bool) -> list[str]:
    said = refuse_leak(what, remedy, allow_leakage=allow_leakage)
    log.warning("%s", what)
    return said


def refuse_leak(what: str, remedy: str, *, allow_leakage: bool) -> list[str]:
    """Raise a `LeakageError`, or give what is to be said of it."""
    if not allow_leakage:
        raise LeakageError(f"{what}; {remedy}; {ALLOWED}")
    return [what]
