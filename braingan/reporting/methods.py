"""A methods paragraph ready for a paper, from the facts of a result, and the CLAIM items that it covers."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from braingan.evaluation.augmentation import ROTATION, SCALE, SHIFT
from braingan.evaluation.classifier import LEARNING_RATE, WEIGHT_DECAY
from braingan.evaluation.comparison import RESAMPLES
from braingan.experiment.result import EXTENDED, BenchmarkResult
from braingan.reporting.facts import confidence_text, groups_in, plural, ratios, seeds, summary, tested_files, unit_of

CLAIM = "CLAIM, 2024 update (Tejani et al., Radiology: Artificial Intelligence 2024; 6(4): e240300)"
TO_WRITE = (
    "Not covered, because no program knows it: where the images come from and who was included (items 7, 8), how they "
    "were de-identified (11) and acquired (13), who set the labels and how (14 to 18), the sample that was intended "
    "(21), the patients' characteristics (36). Nor is the uncertainty of each arm's own scores over patients (29, 37): "
    "what stands after ± is over training runs."
)
_AUGMENTATION = {
    "real+classic": "strong classic augmentation besides: one operation of TrivialAugment for each image, milder than "
    "in its wide space where that would move a slice out of sight or turn it black",
    "combined+classic": "augmented like real+classic",
    "real+mixup": "mixup and CutMix",
    "natural": "classes as they occur",
    "shuffled": "synthetic images with labels drawn at random, as a negative control",
    "duplicates": "real images again under another seed, as an A/A check",
    "oracle-same-patients": "real images, also those that limits left out",
    "pretrain+finetune": "synthetic images first and real ones after them",
}

_RESAMPLED = {
    "patient": "patients with all their images",
    "picture": "pictures (images of the same picture together; patients were not known)",
    "file": "images (patients were not known)",
}


def methods(result: BenchmarkResult) -> list[str]:
    """Paragraphs, in the past tense of a methods section; nothing in them that the result does not say."""
    return [_data(result), _generators(result), _classifiers(result), _statistics(result), _software(result)]


def _data(result: BenchmarkResult) -> str:
    files, settings, prepared = result.splits["files"], result.settings, result.preprocessing
    by_class = Counter(file["label"] for file in files)
    counts = ", ".join(f"{by_class[name]} {name}" for name in result.classes)
    said = [f"The data were {plural(len(files), 'image')}{_patients(result)} ({counts}).", _preparation(prepared)]
    if result.bad_files:
        said.append(f"{plural(len(result.bad_files), 'file')} that could not be read took no part.")
    said += [_partition(result), _limits(settings, unit_of(result, "training"))]
    if settings.get("drop_leaking"):
        said.append("Images for testing that show the same picture as one for training or validation are left out.")
    if settings.get("external"):
        said.append("All classifiers were also scored on images of another site.")
    if result.leakage:
        said.append("Leakage was found and allowed, so that the scores are no evidence.")
    return _joined(said)


def _patients(result: BenchmarkResult) -> str:
    """How many the images are of; of a test folder without ids nobody knows."""
    files, tested = result.splits["files"], tested_files(result)
    if result.splits["grouped_by"] != "patient":
        return ""
    if unit_of(result) == "patient":
        return f" of {plural(groups_in(files), 'patient')}"
    known = [file for file in files if file not in tested]
    return f", {len(known)} of them of {plural(groups_in(known), 'patient')} and {len(tested)} of unknown patients"


def _preparation(prepared: dict[str, Any]) -> str:
    steps = ["Images were"]
    if prepared.get("crop"):
        steps.append("cropped to a square around the head,")
    size = prepared.get("size")
    steps.append(f"resized to {size} by {size} pixels")
    if prepared.get("percentiles"):
        low, high = prepared["percentiles"]
        steps.append(f"and scaled so that percentiles {low:g} and {high:g} of intensity became black and white")
    return f"{' '.join(steps)}."


def _partition(result: BenchmarkResult) -> str:
    settings, splits = result.settings, result.splits
    units = {"patient": "patient", "twins": "picture (files that show the same picture together)"}
    unit = units.get(splits["grouped_by"], "file")
    seed = "" if splits.get("seed") is None else f", seed {splits['seed']}"
    parts = {"train": "for training", "val": "for validation", "test": "for testing"}
    if result.folds_a_repeat == 1:
        apart_from = settings.get("test")
        named = {part: f"{len(splits['folds'][0][part])} {name}" for part, name in parts.items()}
        tested = f", and {named.pop('test')} came from a folder of their own ({apart_from})" if apart_from else ""
        how = f"They were split once by {unit}{seed}: {', '.join(named.values())}{tested}."
    else:
        repeats = result.folds // result.folds_a_repeat
        again = f", repeated {repeats} times" if repeats > 1 else ""
        how = (
            f"They were divided by {unit} into {result.folds_a_repeat} test parts{again} (cross-validation{seed}); "
            "in each fold, some of the other images were set aside for validation in the same way."
        )
    known = unit_of(result) == "patient"
    if unit != "patient":
        return f"{how} Patients were not known{', but for the images for testing' if known else ''}."
    if not known:
        return f"{how} No patient stood in training and in validation; those of the images for testing were not known."
    return f"{how} No patient stood in two parts of a fold."


def _limits(settings: dict[str, Any], unit: str) -> str:
    said = [f"{count} training images of class {name}" for name, count in (settings.get("limit") or {}).items()]
    said += [f"the images of {count} training {unit}s of class {name}"
             for name, count in (settings.get("limit_patients") or {}).items()]  # fmt: skip
    if settings.get("curve"):
        parts = ", ".join(f"{100 * part:g} %" for part in settings["curve"])
        extra = f" For a learning curve, {parts} of the training {unit}s were used as well."
    else:
        extra = ""
    if settings.get("train_patients"):
        said.append(f"{settings['train_patients']} training {unit}s")
    limited = f"Training was limited to {' and '.join(said)}, chosen at random." if said else ""
    return f"{limited}{extra}".strip()


def _generators(result: BenchmarkResult) -> str:
    settings = result.settings
    if not result.generators:
        return ""
    learned = any(own.get("losses") for own in result.generators)  # others may take steps of their own, or none
    given = {name: value for name, value in settings["hyperparameters"].items() if value not in (None, "")}
    options = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in given.items())
    if settings.get("generator"):
        how = f"Synthetic images came from one generator ({settings['backend']}) that had been trained before."
    else:
        each = settings.get("generators") or 1
        several = "folds" in settings and each > 1  # before there were folds, there was one for each seed
        count = f"{each} generators" if several else "a generator" if "folds" in settings else "a generator a seed"
        verb = "were" if several else "was"
        place = "in each fold, " if result.folds > 1 else ""
        steps = f", for at most {settings['steps']} steps of {settings['batch_size']} images" if learned else ""
        how = (
            f"{place}{count} ({settings['backend']}{f': {options}' if options else ''}) {verb} "
            f"{'trained on' if learned else 'fitted to'} the training part alone{steps}."
        )
    said = [how[0].upper() + how[1:]]
    if learned and all(own.get("chosen_on_validation") for own in result.generators):
        said.append("The step whose samples were nearest to validation images was kept.")
    said.append(f"Synthetic images for each real training image of a class (ratio): {ratios(result)}.")
    if settings.get("share") is not None:
        said.append(
            f"Of what classifiers saw of a class in the mixed training sets, a share of {settings['share']:g} was "
            "synthetic, whatever the ratio."
        )
    return _joined(said)


def _classifiers(result: BenchmarkResult) -> str:
    settings = result.settings
    begun = "from random weights"
    if settings.get("pretrained"):
        begun = "from the pretrained weights of timm"
    elif settings.get("weights"):
        begun = f"from the weights in {settings['weights']}"
    arms = list(summary(result))
    named = ", ".join(dict.fromkeys(_described(arm) for arm in arms))
    return (
        f"Classifiers ({settings['model']}, {begun}) were trained with AdamW for {settings['classifier_steps']} steps "
        f"of {settings['classifier_batch_size']} images, equal for all arms, with {plural(seeds(result), 'seed')}. "
        f"{_trained(settings)}Arms: {named}."
    )  # fmt: skip


def _trained(settings: dict[str, Any]) -> str:
    if "folds" not in settings:  # of the earlier format: it may have been otherwise
        return ""
    rate = settings.get("classifier_learning_rate", LEARNING_RATE)
    return (
        f"The learning rate rose to {rate:g} over the first fifth of the steps and fell in a cosine; weight decay was "
        f"{WEIGHT_DECAY:g}. Where an arm is not said to differ, classes were drawn equally often, and images were "
        f"flipped left and right at random, turned by up to {math.degrees(ROTATION):.0f} degrees, shifted by up to "
        f"{100 * SHIFT:g} % of their side, scaled by up to {100 * SCALE:g} %, and varied in brightness and contrast. "
    )


def _described(arm: str) -> str:
    name = arm.split("@")[0]
    return f"{name} ({_AUGMENTATION[name]})" if name in _AUGMENTATION else name


def _statistics(result: BenchmarkResult) -> str:
    chosen = any(own.get("at_specificity") for own in result.scores)
    at_specificity = (
        "sensitivity at thresholds with specificities of 0.90 and 0.95 on validation images, " if chosen else ""
    )
    said = [
        "Macro F1 (the mean over classes; the most probable class counted) was the main measure; macro precision and "
        f"recall, accuracy, AUROC, average precision, {at_specificity}the Brier score and the calibration error were "
        "computed as well."
        if result.scores
        else "Macro precision, recall and F1 (means over classes) and accuracy were computed."
    ]
    if not result.comparisons:
        return _joined([*said, "No comparison was tested."])
    primary, first = result.primary, result.comparisons[0]
    choice = result.choice or {"arm": "the arm with synthetic images"}
    family = sum(own["family"] == "declared" for own in result.comparisons)
    runs = (
        ", and from the variance between training runs (classifiers that shared one of several generators counted as "
        "one run)"
        if first.get("covers_runs", True)
        else ", for these trained classifiers only: with one training run an arm, how runs vary is not in them"
    )
    said += [
        f"The primary contrast, {declared_text(result)}, compared {choice['arm']} at the ratio that was best on "
        "validation images with the best arm without synthetic images, both chosen in each fold by macro F1 on "
        "validation images." if primary else "There was no primary contrast.",
        f"Standard errors came from a bootstrap of {RESAMPLES} resamples of {_RESAMPLED[unit_of(result)]}{runs}; "
        f"intervals ({confidence_text(first)}) and two-sided p-values from t distributions with Satterthwaite's "
        "degrees of freedom.",
        f"{'A further ' if primary else ''}{plural(family, 'comparison')} with real images alone formed a declared "
        "family with Holm's correction; all others were exploratory." if family else "",
        f"A difference of {100 * first['margin']:g} points was taken to be the smallest that matters.",
    ]  # fmt: skip
    return _joined(said)


def declared_text(result: BenchmarkResult) -> str:
    """When the primary contrast was declared."""
    if any(note.startswith(EXTENDED) for note in result.notes):
        return "of a benchmark that was extended after its start"
    return "declared before the runs"


def _software(result: BenchmarkResult) -> str:
    versions = dict(result.versions)
    machine = versions.pop("machine", "")
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    return _joined([f"Software: {listed}.", f"Computer: {machine}." if machine else ""])


def claim_items(result: BenchmarkResult) -> list[tuple[int, str]]:
    """CLAIM items that this page covers, by number and topic; those that depend on the run only where they hold."""
    settings, compared = result.settings, bool(result.comparisons)
    limited = bool(settings.get("limit") or settings.get("limit_patients") or settings.get("train_patients"))
    items = [
        (9, "how images were preprocessed", True),
        (10, "which part of the data was used", limited),
        (19, "how images were assigned to partitions", True),
        (20, "that partitions share no patient", result.splits["grouped_by"] == unit_of(result) == "patient"),
        (23, "software and versions", True),
        (24, "where the weights began", True),
        (25, "how networks were trained (with the settings below)", True),
        (26, "how the final model was selected: on validation images", result.choice is not None),
        (28, "measures of performance", True),
        (29, "statistical significance and uncertainty of differences", compared),
        (32, "evaluation on internal data", True),
        (33, "testing on external data", bool(settings.get("external"))),
        (37, "differences in performance with their uncertainty", compared),
        (40, "limitations, as far as the design has them", True),
    ]
    return [(number, topic) for number, topic, holds in items if holds]


def _joined(sentences: list[str]) -> str:
    return " ".join(sentence for sentence in sentences if sentence)
