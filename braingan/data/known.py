"""Public sets of brain MRI: what they hold, under which terms, and which traps they set.

Nothing is downloaded. Counts, citations and licences are as their publishers or several users of a set state them;
where only one source could be found, it says so.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from braingan.data.files import sha256_of
from braingan.data.walking import names_below
from braingan.errors import DataError

PATIENTS = "patients"  # the fact that is no pattern of files


@dataclass(frozen=True)
class KnownSet:
    """A public data set.

    Attributes:
        name: what `check_folder` takes.
        title: as it is published.
        citation: what to cite.
        licence: as stated by the publisher.
        where: host and identifier.
        contents: what it holds.
        expected: facts that can be checked: how many files match a pattern (`*.tif`, `yes/*`; the case does
            not matter), and how many `patients` there are by the names of files.
        checksums: SHA-256 of a few files as published, by name.
        notes: traps.
        reader: the braingan format, and how to prepare the set.
        patient: regular expression of a patient in a file's path; empty where names do not tell.
        copies: folders of the published archive that hold the set a second time.
        beside: files that are no images, though they look like them.
    """

    name: str
    title: str
    citation: str
    licence: str
    where: str
    contents: str
    expected: Mapping[str, int]
    notes: tuple[str, ...]
    reader: str
    checksums: Mapping[str, str] = field(default_factory=dict)
    patient: str = ""
    copies: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()


def known_sets() -> tuple[KnownSet, ...]:
    """All of them, in alphabetical order."""
    return tuple(sorted(_SETS, key=lambda known: known.name))


def find_set(name: str) -> KnownSet:
    """One of them.

    Raises:
        DataError: no such set.
    """
    by_name = {known.name: known for known in _SETS}
    if name not in by_name:
        near = difflib.get_close_matches(name, by_name, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sorted(by_name))}"
        raise DataError(f"data set {name!r} is unknown; {hint}")
    return by_name[name]


def check_folder(name: str, folder: Path) -> list[str]:
    """Compare a folder with what was published.

    Args:
        name: of the set.
        folder: where it was unpacked; the set may lie deeper.

    Returns:
        A line for each difference; none where all is as expected.

    Raises:
        DataError: no such set, or no such folder.
    """
    known, folder = find_set(name), Path(folder)
    if not folder.is_dir():
        raise DataError(f"{folder} is not a folder; give the folder into which {name} was unpacked")
    files = _without_copies(names_below(folder), known)
    return [*_count_differences(known, files), *_content_differences(known, folder, files)]


def _without_copies(files: list[str], known: KnownSet) -> list[str]:
    """The set once, without what is no image; a copy counts where nothing else is there."""
    images = [file for file in files if PurePosixPath(file).name.lower() not in known.beside]
    once = [file for file in images if not set(PurePosixPath(file).parts[:-1]) & set(known.copies)]
    return once if any(_matches(file, pattern) for file in once for pattern in known.expected) else images


def _matches(file: str, pattern: str) -> bool:
    """Whether a file's path, or its end, fits."""
    path, wanted = file.lower(), pattern.lower()
    return fnmatchcase(path, wanted) or fnmatchcase(path, f"*/{wanted}")


def _count_differences(known: KnownSet, files: list[str]) -> list[str]:
    differences = []
    for fact, published in known.expected.items():
        found = _patients(known, files) if fact == PATIENTS else sum(_matches(file, fact) for file in files)
        if found != published:
            what = PATIENTS if fact == PATIENTS else f"files {fact}"
            differences.append(f"{what}: {found:,} found, {published:,} published")
    return differences


def _patients(known: KnownSet, files: list[str]) -> int:
    return len({match[0] for file in files if (match := re.search(known.patient, file))})


def _content_differences(known: KnownSet, folder: Path, files: list[str]) -> list[str]:
    differences = []
    for file in files:
        published = known.checksums.get(PurePosixPath(file).name)
        if published and (found := _sha256(folder / file)) != published:
            differences.append(f"{file}: has SHA-256 {found[:12]}, {published[:12]} is published")
    return differences


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error


_BRATS_TERMS = "data usage agreement: free for one's own research if the papers named here are cited; registration"
_BRATS_PAPERS = (
    "B. H. Menze et al., The Multimodal Brain Tumor Image Segmentation Benchmark (BRATS), IEEE Transactions on Medical "
    "Imaging 34(10), 1993-2024, 2015, doi:10.1109/TMI.2014.2377694; S. Bakas et al., Advancing The Cancer Genome "
    "Atlas glioma MRI collections with expert segmentation labels and radiomic features, Scientific Data 4:170117, "
    "2017, doi:10.1038/sdata.2017.117"
)
_BRATS_CONTENTS = (
    "before surgery, T1, T1 with contrast, T2 and FLAIR as NIfTI of 240x240x155 voxels of 1 mm, on one grid, without "
    "skull; masks of necrosis (1), oedema (2) and enhancing tumour (4)"
)
_BRATS_NOTES = (
    "Every patient has a tumour: slices without are from the same heads, there are no healthy people.",
    "Patients come back from year to year under other names, and some are those of TCGA-LGG: never train on one of "
    "these sets and test on another.",
    "Validation and test cases are published without masks; counts are of the training part.",
)
_BRATS_READER = (
    "nifti: `braingan prepare FOLDER OUT` with the option sequences=t1ce,flair (3 at most); classes tumor and no_tumor "
    "come from the masks, a folder is a patient"
)

_SETS = (
    KnownSet(
        name="kaggle-yesno",
        title="Brain MRI Images for Brain Tumor Detection",
        citation="N. Chakrabarty, Brain MRI Images for Brain Tumor Detection, Kaggle, 2019",
        licence="no licence stated",
        where="Kaggle: navoneel/brain-mri-images-for-brain-tumor-detection",
        contents="253 pictures of mixed sequences, planes, sizes and colour modes: 155 with a tumour, 98 without",
        expected={"yes/*": 155, "no/*": 98, "*.jpg": 245, "*.jpeg": 6, "*.png": 2},
        checksums={
            "Y1.jpg": "27a43972bf6b6bb00fd071791c3925f422295c16f881ef8c395a9534f12cf0af",
            "Y100.JPG": "00aa87e56bf59778ed1756c3cdf29d5c44b91252c278e85057b6112b8b849089",
            "Y108.jpg": "a52bf95251106e5164b9ff00ac98e65cd23d6416ae2d9253976adb4469dc13d3",
            "1 no.jpeg": "e4d9d83f89339366f4f77137d440a4c3b62e799a482ebfa6c79c9209d47ffdc9",
            "no 1.jpg": "a638ba6f81ce54a12698eeb5abda3ad60665ecb817d3d94ebeb5ffc73aff5a38",
        },
        notes=(
            "The archive holds yes and no twice, the second time in brain_tumor_dataset: read as it is, it has three "
            "classes and every picture twice. Give braingan the inner folder.",
            "92 of the 253 pictures have a near-identical twin in the set, 22 groups are the same byte for byte: a "
            "random split leaks.",
            "No patients are known, and nothing says where the pictures come from: a classifier may learn the source.",
        ),
        reader="folders: give the folder that holds yes and no; every file counts as a patient of its own",
        copies=("brain_tumor_dataset",),
    ),
    KnownSet(
        name="kaggle-4class",
        title="Brain Tumor MRI Dataset",
        citation="M. Nickparvar, Brain Tumor MRI Dataset, Kaggle, 2021, doi:10.34740/KAGGLE/DSV/2645886",
        licence="CC0, as a user of the set states it; the sets it was put together from have terms of their own",
        where="Kaggle: masoudnickparvar/brain-tumor-mri-dataset, the version with 7,023 images",
        contents="7,023 JPEG of various sizes, Training 5,712, Testing 1,311: glioma, meningioma, notumor, pituitary",
        expected={
            "Training/glioma/*": 1321,
            "Training/meningioma/*": 1339,
            "Training/notumor/*": 1595,
            "Training/pituitary/*": 1457,
            "Testing/glioma/*": 300,
            "Testing/meningioma/*": 306,
            "Testing/notumor/*": 405,
            "Testing/pituitary/*": 300,
        },
        notes=(
            "The published split LEAKS: a good part of Testing stands in Training too, byte for byte or re-encoded.",
            "A mixture of the sets of Cheng (figshare 1512427), SARTAJ and Br35H; notumor is from Br35H, so that the "
            "source gives this class away.",
            "No patients are known, though Cheng's has several slices of each.",
        ),
        reader="folders: give Training with --test Testing; every file counts as a patient of its own",
    ),
    KnownSet(
        name="lgg",
        title="LGG segmentation set (kaggle_3m)",
        citation="M. Buda, A. Saha, M. A. Mazurowski, Association of genomic subtypes of lower-grade gliomas with "
        "shape features automatically extracted by a deep learning algorithm, Computers in Biology and Medicine 109, "
        "218-225, 2019, doi:10.1016/j.compbiomed.2019.05.002; images from The Cancer Imaging Archive, TCGA-LGG",
        licence="CC BY-NC-SA 4.0; mirrors state CC BY 4.0: treat it as non-commercial",
        where="Kaggle: mateuszbuda/lgg-mri-segmentation",
        contents="110 patients with lower-grade glioma, 3,929 slices of 256x256 as TIFF (pre-contrast, FLAIR, "
        "post-contrast as channels), each with a mask of what is abnormal in FLAIR; 5 institutions",
        expected={"*.tif": 7858, "*_mask.tif": 3929, PATIENTS: 110},
        checksums={
            "TCGA_CS_5395_19981004_8.tif": "d6a0efa61a3bb14106e4d6158202d5e0bf1963605f0088d6a1def29f8056f6db",
            "TCGA_CS_5395_19981004_8_mask.tif": "ab7233e2b69e64b6862e0d38232a00875aa27e8e4c6188be9f29a6a8cef6aa60",
        },
        notes=(
            "The archive holds the set twice, the second time in lgg-mri-segmentation.",
            "In 9 patients the post-contrast sequence is missing, in 6 the pre-contrast one; FLAIR stands in for them.",
            "Neighbouring slices look alike: split by patient, which is in the name of the folder.",
            "TCGA-LGG is a source of BraTS: patients of one are in the other.",
        ),
        reader="kaggle_3m: give kaggle_3m or the folder around it; option sequence=flair, pre, post or all",
        patient=r"TCGA_[A-Z0-9]+_[A-Z0-9]+(?=_\d{8}/)",
        copies=("lgg-mri-segmentation",),
    ),
    KnownSet(
        name="cheng",
        title="brain tumor dataset",
        citation="J. Cheng et al., Enhanced Performance of Brain Tumor Classification via Tumor Region Augmentation "
        "and Partition, PLoS ONE 10(10), e0140381, 2015; J. Cheng et al., Retrieval of Brain Tumors by Adaptive "
        "Spatial Pooling and Fisher Vector Representation, PLoS ONE 11(6), e0157112, 2016",
        licence="CC BY 4.0",
        where="figshare, article 1512427, doi:10.6084/m9.figshare.1512427",
        contents="3,064 slices, T1 with contrast, of 233 patients as MATLAB 7.3 files with class, patient and mask: "
        "meningioma 708, glioma 1,426, pituitary 930; two hospitals in Guangzhou and Tianjin, 2005 to 2010",
        expected={"*.mat": 3064},
        notes=(
            "There is no healthy class. Never add normal images from elsewhere: the scanner would give the label away.",
            "A patient has many slices, and a split by slice leaks; cvind.mat holds the authors' own five folds.",
            "Scans with the suffix B, C or D are repeat scans of a patient.",
        ),
        reader="cheng: unpack all four archives into one folder and give that; needs braingan[mat]",
        beside=("cvind.mat",),
    ),
    KnownSet(
        name="btp",
        title="Brain-Tumor-Progression",
        citation="K. M. Schmainda, M. Prah, Data from Brain-Tumor-Progression, The Cancer Imaging Archive, 2018, "
        "doi:10.7937/K9/TCIA.2018.15quzvnb",
        licence="CC BY 3.0",
        where="The Cancer Imaging Archive: Brain-Tumor-Progression, doi:10.7937/K9/TCIA.2018.15quzvnb",
        contents="20 patients with glioblastoma, two examinations each (after radiochemotherapy, and at progression), "
        "as DICOM: T1, T1 with contrast, FLAIR, T2, ADC, perfusion, masks of the tumour; registered to each other",
        expected={"*.dcm": 8798, PATIENTS: 20},
        notes=(
            "Masks are series of their own, in folders called MaskTumor: as DICOM, braingan reads them as images.",
            "Every patient has a tumour: only slices without one can be a second class.",
            "The number of files is from one source only.",
        ),
        reader="nifti: convert each series to NIfTI, the mask named so beside its image, a folder a patient; or "
        "dicom without masks, sorted into class folders first",
        patient=r"PGBM-\d+",
    ),
    KnownSet(
        name="brats-2020",
        title="Multimodal Brain Tumor Segmentation Challenge 2020",
        citation=_BRATS_PAPERS,
        licence=_BRATS_TERMS,
        where="CBICA, University of Pennsylvania: BraTS 2020, by registration",
        contents=f"369 patients with glioma in the training part, {_BRATS_CONTENTS}",
        expected={PATIENTS: 369},
        notes=_BRATS_NOTES,
        reader=_BRATS_READER,
        patient=r"BraTS20_Training_\d{3}",
    ),
    KnownSet(
        name="brats-2021",
        title="RSNA-ASNR-MICCAI Brain Tumor Segmentation Challenge 2021",
        citation="U. Baid et al., The RSNA-ASNR-MICCAI BraTS 2021 Benchmark on Brain Tumor Segmentation and "
        f"Radiogenomic Classification, arXiv:2107.02314, 2021; {_BRATS_PAPERS}",
        licence=_BRATS_TERMS,
        where="Synapse: BraTS 2021, by registration",
        contents=f"1,251 patients with glioma in the training part, {_BRATS_CONTENTS}",
        expected={PATIENTS: 1251, "*_seg.nii.gz": 1251},
        notes=_BRATS_NOTES,
        reader=_BRATS_READER,
        patient=r"BraTS2021_\d{5}",
    ),
    KnownSet(
        name="brisc-2025",
        title="BRISC: Annotated Dataset for Brain Tumor Segmentation and Classification",
        citation="A. Fateh et al., BRISC: Annotated Dataset for Brain Tumor Segmentation and Classification, "
        "Scientific Data 13:361, 2026, doi:10.1038/s41597-026-06753-y; arXiv:2506.14318",
        licence="CC BY 4.0",
        where="Kaggle: briscdataset/brisc2025; figshare, doi:10.6084/m9.figshare.30533120",
        contents="6,000 slices, T1 with contrast, in three planes: glioma 1,401, meningioma 1,635, pituitary 1,757, "
        "no_tumor 1,207; masks of the tumours",
        expected={
            "classification_task/train/glioma/*": 1147,
            "classification_task/train/meningioma/*": 1329,
            "classification_task/train/no_tumor/*": 1067,
            "classification_task/train/pituitary/*": 1457,
            "classification_task/test/glioma/*": 254,
            "classification_task/test/meningioma/*": 306,
            "classification_task/test/no_tumor/*": 140,
            "classification_task/test/pituitary/*": 300,
        },
        notes=(
            "Put together from the sets of Cheng, SARTAJ and Br35H by way of kaggle-4class: no test of a classifier "
            "that learned from one of these.",
            "No patients are known. Users count 7 pictures of test that stand in train byte for byte.",
            "Users count all of no_tumor as RGB and most of glioma as grey files: the colour mode gives the class away "
            "where it is not evened out.",
        ),
        reader="folders: give classification_task/train with --test classification_task/test",
    ),
    KnownSet(
        name="ixi",
        title="Information eXtraction from Images (IXI)",
        citation="IXI dataset, brain-development.org; to be acknowledged as the source",
        licence="CC BY-SA 3.0",
        where="brain-development.org: IXI dataset",
        contents="nearly 600 healthy people of three hospitals in London as NIfTI: T1 of 581, T2 of 578, PD, MRA and "
        "diffusion",
        expected={"*-T1.nii.gz": 581},
        notes=(
            "All are healthy. As the normal class beside tumours from elsewhere, the scanner gives the label away.",
            "Not everybody has all sequences. The hospital (Guys, HH, IOP) is in the name of the file, and its scanner "
            "in the image.",
        ),
        reader="nifti: sort volumes into class folders; there are no masks and no tumours",
    ),
)
