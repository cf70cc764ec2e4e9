"""Names of volumes -> what belongs together: sequences of one patient, and the mask of their tumour."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from braingan.data.building import MASK_FOLDERS, folder_label
from braingan.data.findings import Findings
from braingan.data.records import UNLABELLED

log = logging.getLogger("braingan")

MASK_WORDS = {
    *("mask", "masks", "seg", "segs", "segm", "dseg", "segmentation", "label", "labels", "truth", "lesion", "lesions"),
    *("roi", "rois", "ot", "voi"),
}
ANATOMY = re.compile(
    r"(brain|head|skull|tissue|bet|synthstrip|brain[^a-z0-9]?extraction)[^a-z0-9]?(mask|labels?)|aparc|aseg(?![a-z])",
    re.IGNORECASE,
)
SEQUENCE_WORDS = {
    *("t1", "t1w", "t1c", "t1ce", "t1gd", "t1n", "t2", "t2w", "t2f", "flair", "pd", "dwi", "adc", "swi"),
    *("bold", "ce", "gd", "post", "pre", "mprage"),
}
PROCESSED_WORDS = {
    *("bet", "brain", "n4", "bias", "corrected", "reg", "registered", "coreg", "resampled", "norm", "normalized"),
    *("normalised", "stripped", "skullstripped", "ss"),
}
VISIT = re.compile(
    r"(ses|session|visit|timepoint|tp|scan|day|week|month|year|anat|followup|follow[-_ ]up)[-_ ]?\d*|ses-.+|baseline|"
    r"(pre|post)[-_ ]?op(erative)?|(19|20)\d\d([-_. ]?\d\d){2}|func|dwi|perf",
    re.IGNORECASE,
)
MOST_SEQUENCES = 4
MOST_VISITS = 6  # a folder with more folders is one of patients


@dataclass(frozen=True)
class Study:
    """Volumes that are the channels of one image.

    Attributes:
        images: their names.
        names: what the sequences are called; empty where there is one and nobody asked for it.
        mask: the volume that says where the tumour is; None where there is none.
        label: the class; empty where the mask tells it.
        patient: whose they are.
    """

    images: tuple[str, ...]
    names: tuple[str, ...]
    mask: str | None
    label: str
    patient: str


@dataclass(frozen=True)
class _Group:
    """Images of one folder that share a mask, or one image without."""

    folder: str
    images: tuple[str, ...]
    mask: str | None


def find_studies(files: Sequence[str], sequences: Sequence[str], findings: Findings) -> list[Study]:
    """What belongs together, told by the names.

    Args:
        files: names of volumes, relative to the data, sorted.
        sequences: parts of names, each of which picks one volume of a folder; none: all beside a mask.
        findings: receives volumes that belong to nothing.
    """
    groups = []
    for folder, beside in _by_folder(_usable(files, findings)).items():
        groups += _groups(folder, beside, findings)
    if sequences:
        groups = _whole_folders(groups)
    patients = _Patients(groups)
    patients.warn_of_siblings(groups)
    studies = []
    for group in groups:
        try:
            images, names = _choose(group, sequences)
        except _UnclearError as error:
            findings.add(group.images[0], str(error))
            continue
        label = "" if group.mask else _label(group.images[0], any_mask=patients.any_mask)
        studies.append(Study(images, names, group.mask, label, patients.of(group)))
    return studies


def stem_of(file: str) -> str:
    """The name of a volume without folders and endings.

    >>> stem_of("p1/T1.v2.nii.gz")
    'T1.v2'
    """
    return re.sub(r"(\.nii)?(\.gz)?$|\.hdr$", "", PurePosixPath(file).name, flags=re.IGNORECASE)


def is_mask(file: str) -> bool:
    """Whether a volume is named like the mask of a tumour.

    >>> is_mask("OTMultiClass.nii"), is_mask("t1seg.nii.gz"), is_mask("VSD.O.OT.1.nii"), is_mask("rotated.nii")
    (True, True, True, False)
    """
    return any(_is_mask_word(word) for word in _words(stem_of(file)))


def _is_mask_word(word: str) -> bool:
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", word)
    return any(part.lower() in MASK_WORDS for part in (*parts, word)) or word.lower().endswith(("mask", "seg"))


def _words(stem: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", stem) if word]


def _usable(files: Sequence[str], findings: Findings) -> list[str]:
    """Without maps of the anatomy, which are no images and say nothing of tumours."""
    images_and_masks = [file for file in files if not ANATOMY.search(stem_of(file))]
    if left := len(files) - len(images_and_masks):
        log.info("%d volumes are maps of the anatomy by their names, and not read", left)
    usable = []
    for file in images_and_masks:
        if MASK_FOLDERS.isdisjoint(part.lower() for part in PurePosixPath(file).parts[:-1]):
            usable.append(file)
        else:
            findings.add(file, "lies in a folder of masks; put each mask beside its image")
    return usable


def _by_folder(files: Iterable[str]) -> dict[str, list[str]]:
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(str(PurePosixPath(file).parent), []).append(file)
    return folders


# Images and masks


def _groups(folder: str, files: Sequence[str], findings: Findings) -> list[_Group]:
    """Each mask with its images, and the images without."""
    masks = [file for file in files if is_mask(file)]
    images = [file for file in files if file not in masks]
    fitting = {image: _masks_for(image, masks) for image in images}
    if len(masks) == 1 and not any(fitting.values()):
        fitting = dict.fromkeys(images, masks)
    groups = []
    for mask in masks:
        if members := tuple(image for image in images if fitting[image] == [mask]):
            groups.append(_Group(folder, members, mask))
        elif not any(mask in several for several in fitting.values()):
            findings.add(mask, "is named like a mask and no image beside it belongs to it; rename or remove it")
    for image in images:
        if len(fitting[image]) > 1:
            names = " and ".join(PurePosixPath(mask).name for mask in fitting[image])
            findings.add(image, f"lies beside {names}, and its name does not say which is its mask; leave one")
    return groups + [_Group(folder, (image,), None) for image in images if not fitting[image]]


def _masks_for(image: str, masks: Sequence[str]) -> list[str]:
    """The masks whose names, but for the word that says mask, are part of the image's: those that share most."""
    shared = {mask: _identity(mask) for mask in masks}
    words = {word.lower() for word in _words(stem_of(image))}
    fitting = [mask for mask in masks if shared[mask] <= words]
    most = max((len(shared[mask]) for mask in fitting), default=0)
    return [mask for mask in fitting if len(shared[mask]) == most]


def _identity(mask: str) -> set[str]:
    return {word.lower() for word in _words(stem_of(mask)) if not _is_mask_word(word)}


def _whole_folders(groups: Sequence[_Group]) -> list[_Group]:
    """Where sequences were asked for, images without a mask belong together by folder."""
    whole = [group for group in groups if group.mask]
    for folder in dict.fromkeys(group.folder for group in groups if not group.mask):
        alone = [group.images[0] for group in groups if group.folder == folder and not group.mask]
        whole.append(_Group(folder, tuple(alone), None))
    return whole


# Sequences


class _UnclearError(Exception):
    """Why sequences cannot be chosen."""


def _choose(group: _Group, sequences: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The images of a group that become channels, and what they are called."""
    if sequences:
        return tuple(_matching(group, name) for name in sequences), tuple(sequences)
    images = group.images[:MOST_SEQUENCES]
    if len(images) < len(group.images):
        log.warning("%s: only the first %d of %d sequences are read", group.folder, len(images), len(group.images))
    return images, _short_names(images) if len(images) > 1 else ()


def _matching(group: _Group, name: str) -> str:
    """The one image with this part in its name; a whole word counts before a part (t1 is not t1ce)."""
    stems = {image: stem_of(image).lower() for image in group.images}
    whole = [image for image, stem in stems.items() if name.lower() in _words(stem)]
    matching = whole or [image for image, stem in stems.items() if name.lower() in stem]
    if len(matching) != 1:
        have = ", ".join(PurePosixPath(image).name for image in group.images[:6])
        raise _UnclearError(f"sequence {name!r} was asked and {len(matching)} of the volumes that belong together "
                            f"are called so ({have}); one must be")  # fmt: skip
    return matching[0]


def _short_names(images: Sequence[str]) -> tuple[str, ...]:
    """The names without the words that all of them begin or end with.

    >>> _short_names(["p1_Flair_norm.nii", "p1_T1c_norm.nii"])
    ('Flair', 'T1c')
    """
    stems = [_words(stem_of(image)) for image in images]
    first = len(_common_start(stems))
    last = len(_common_start([stem[first:][::-1] for stem in stems]))
    short = tuple("_".join(stem[first : len(stem) - last]) for stem in stems)
    return short if all(short) else tuple(stem_of(image) for image in images)


def _common_start(lists: Sequence[Sequence[str]]) -> list[str]:
    """What all lists begin with."""
    common = []
    for items in zip(*lists, strict=False):
        if len(set(items)) > 1:
            break
        common.append(items[0])
    return common


# Classes and patients


def _label(file: str, *, any_mask: bool) -> str:
    """The class of an image without a mask: where others have one, nothing says that it shows no tumour."""
    label = folder_label(file)
    return UNLABELLED if any_mask or label.startswith("sub-") else label


class _Patients:
    """Whose the volumes are: of a folder of their own, else of their names."""

    def __init__(self, groups: Sequence[_Group]) -> None:
        self.any_mask = any(group.mask for group in groups)
        scans = Counter(group.folder for group in groups)
        self.flat = len(scans) == 1 < len(groups)  # all patients in one folder
        for folder in sorted({group.folder for group in groups if group.mask} - {"."}):
            if scans[folder] > 1 and not self.flat:
                log.warning("%s: its %d scans count as one patient's; give each patient a folder",
                            folder, scans[folder])  # fmt: skip

    def warn_of_siblings(self, groups: Sequence[_Group]) -> None:
        """Say so where a few folders in one are taken for patients: they may be scans of one, or whole patients."""
        inner: dict[str, set[str]] = {}
        for patient in {self.of(group) for group in groups}:
            above, _, below = patient.rpartition("/")
            if above:
                inner.setdefault(above, set()).add(below)
        several = {above: sorted(below) for above, below in inner.items() if 1 < len(below) <= MOST_VISITS}
        if several:
            folder, scans = min(several.items())
            more = f" (and {len(several) - 1} more folders)" if len(several) > 1 else ""
            log.warning("%s/%s and %s/%s%s count as different patients; if they are scans of one, put them into one "
                        "folder, or a patient will stand on both sides of a split",
                        folder, scans[0], folder, scans[1], more)  # fmt: skip

    def of(self, group: _Group) -> str:
        """The BIDS subject, or the folder without class and visits, or what the names have in common."""
        names = [*PurePosixPath(group.images[0]).parts[:-1], stem_of(group.images[0]).partition("_")[0]]
        if subject := next((name for name in names if name.startswith("sub-")), ""):
            return subject
        parts = [] if (self.flat and self.any_mask) or group.folder == "." else group.folder.split("/")
        parts = parts if self.any_mask else parts[1:]
        while len(parts) > 1 and (VISIT.fullmatch(parts[-1]) or parts[-1].lower() in SEQUENCE_WORDS):
            parts = parts[:-1]
        return "/".join(parts) or _common_name(group)


def _common_name(group: _Group) -> str:
    """What the names of a patient's volumes begin with; of one volume, its name without the sequence.

    >>> _common_name(_Group(".", ("case1_flair.nii", "case1_t1.nii"), None))
    'case1'
    >>> _common_name(_Group(".", ("case-1_t1.nii",), None)), _common_name(_Group(".", ("t1.nii",), None))
    ('case-1', 't1')
    >>> _common_name(_Group("glioma", ("glioma/case1_t1_bet.nii",), None))
    'case1'
    """
    stems = [stem_of(file) for file in (*group.images, *([group.mask] if group.mask else []))]
    pieces = [re.split(r"([^A-Za-z0-9]+)", stem) for stem in stems]
    common = _common_start(pieces)
    while common and (not common[-1] or not common[-1][0].isalnum() or _is_no_name(common[-1])):
        common = common[:-1]
    return "".join(common) or stems[0]


def _is_no_name(word: str) -> bool:
    """Whether a word is a sequence, or what was done to it."""
    return word.lower() in SEQUENCE_WORDS | PROCESSED_WORDS
