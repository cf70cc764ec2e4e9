"""What a reader has found -> `ImageSet`, with the checks that all formats share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from braingan.data.findings import BadFile, Findings
from braingan.data.records import UNLABELLED, ImageRecord, ImageSet, PixelSource, class_name_problem
from braingan.errors import DataError

MASK_FOLDERS = {  # in lower case
    *("mask", "masks", "seg", "segs", "segmentation", "segmentations", "label", "labels", "labelstr", "labelsts"),
    "annotations",
}
# Training and test folders read as classes would be the worst mistake of all.
PART = re.compile(r"train(ing)?|test(ing)?|val(id(ation)?)?", re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """One image: see `ImageRecord`. `label` is the name of the class, `patient` is empty where unknown."""

    path: Path
    file: str
    label: str
    patient: str
    mask: Path | None = None
    source: PixelSource | None = None
    columns: tuple[tuple[str, str], ...] = ()


def folder_label(file: str) -> str:
    """The class of a file whose format does not tell: the folder it lies in at the top, or `UNLABELLED`.

    >>> folder_label("glioma/p1/t1.dcm"), folder_label("t1.dcm")
    ('glioma', 'unlabelled')
    """
    parts = PurePosixPath(file).parts
    return parts[0] if len(parts) > 1 else UNLABELLED


def build_set(data: Path, found: Sequence[Found], findings: Findings) -> ImageSet:
    """Images in the order of their names, classes in alphabetical order.

    Patients are known only where every image has one; else each image is a group of its own.

    Raises:
        DataError: bad files that are not to be skipped, no images, or classes that cannot be told apart.
    """
    findings.refuse(data)
    classes = sorted({image.label for image in found})
    _check_classes(data, classes, findings.bad)
    has_patients = all(image.patient for image in found)
    labels = {name: label for label, name in enumerate(classes)}
    records = [
        ImageRecord(
            path=image.path,
            file=image.file,
            label=labels[image.label],
            group=image.patient if has_patients else image.file,
            mask=image.mask,
            source=image.source,
            columns=image.columns,
        )
        for image in sorted(found, key=lambda image: image.file)
    ]
    return ImageSet(records, classes, has_patients=has_patients)


def _check_classes(data: Path, classes: list[str], bad: Sequence[BadFile]) -> None:
    if not classes:
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        why = f"; {bad[0].file}: {bad[0].reason}{more}" if bad else ""
        raise DataError(f"{data} holds no images that can be used{why}")
    for name in classes:
        if wrong := class_name_problem(name):
            raise DataError(f"{data}: class {name!r} {wrong}")
    if parts := [name for name in classes if PART.fullmatch(name)]:
        raise DataError(
            f"{data}: {_join(parts)} would be {'a class' if len(parts) == 1 else 'classes'}, and name parts of a "
            "split; give the folder of one part, with a folder for each class in it (and, to benchmark, augment or "
            "inspect, test images with --test)"
        )
    folded = Counter(name.casefold() for name in classes)
    alike = [name for name in classes if folded[name.casefold()] > 1]
    if alike:
        raise DataError(f"{data}: classes {_join(alike)} differ only by case; give them one name or two")


def _join(names: Iterable[str]) -> str:
    return " and ".join(repr(name) for name in names)
