"""The verbs: each is a command of `braingan`, and the command line is made from these signatures.

Heavy modules are imported when a verb is called, so that `import braingan` and `braingan --help` are quick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from braingan.augmentation.mixing import AugmentedDataset
    from braingan.augmentation.synthetic import SyntheticSet
    from braingan.data.known import KnownSet
    from braingan.data.phantom import PhantomSummary
    from braingan.data.writing import Written
    from braingan.evaluation.file_comparison import FileComparison
    from braingan.experiment.result import BenchmarkResult
    from braingan.generation.listing import RunSummary
    from braingan.generation.protocol import Generator
    from braingan.inspection.result import Inspection

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
ClassSampling = Literal["balanced", "natural"]
Precision = Literal["auto", "float32", "bfloat16", "float16"]
EngineName = Literal["local", "dask", "ray"]
Preset = Literal["quick", "standard", "thorough"]
Numbers = float | str | Sequence[float]  # a string has commas: what the command line gives


def train(
    data: Path,
    run: Path,
    *,
    backend: str = "dcgan",
    size: int = 64,
    channels: int = 1,
    steps: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    device: DeviceName = "auto",
    split: Path | None = None,
    class_sampling: ClassSampling = "balanced",
    precision: Precision = "auto",
    compile: bool = False,
    patience: int = 10,
    checkpoint_every: int | None = None,
    resume: bool = False,
    devices: int = 1,
    num_nodes: int = 1,
    strategy: str = "auto",
    log: Sequence[str] | None = None,
    hyperparameters: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
) -> Generator:
    """Train a generator on a folder of images.

    Args:
        data: folder with a subfolder of images for each class, or with a metadata.csv.
        run: new folder for the generator: model.safetensors, config.json, split.json, stats.jsonl, samples.
        backend: generator backend; `braingan backends` lists them.
        size: height and width of the images in pixels.
        channels: 1 for grey images, 3 for colour.
        steps: updates of the generator.
        batch_size: images in a step.
        seed: of everything random in the training.
        device: where to compute.
        split: split file; only its training part is learned from. Without one, all images are.
        class_sampling: show every class equally often, or as often as it occurs.
        precision: of convolutions and products; `auto` times a few steps of each and keeps the quickest.
        compile: pass the networks through torch.compile; slower on the CPUs that were tried, untried on a GPU.
        patience: end after so many measurements (one in 100 steps) without better samples; 0 for never.
        checkpoint_every: steps between two checkpoints; without it, one a minute.
        resume: start, go on where a stopped training of this folder left off, or return at once if it is finished.
        devices: processes on each machine that share this training, a device each.
        num_nodes: machines that share this training.
        strategy: of Lightning Fabric: auto or ddp.
        log: tell the training's figures to a logger, too: tensorboard, mlflow, or a plugin's; repeat for more.
        hyperparameters: of the backend, as NAME=VALUE; repeat for more.
        skip_bad: go on without files that cannot be read.

    Raises:
        BrainganError: see `braingan.errors`; settings are refused before training starts.
    """
    from braingan.data.preparation import prepare_folder
    from braingan.data.split import given_split, locate
    from braingan.data.workplace import CACHE, check_place
    from braingan.engine.team import launch
    from braingan.errors import OutputError
    from braingan.generation.callbacks import make_callbacks
    from braingan.generation.settings import TrainingSettings
    from braingan.generation.storage import is_finished
    from braingan.generation.train import How, check_settings, train_generator

    run = Path(run)
    if not resume and is_finished(run):
        raise OutputError(f"{run} holds a trained generator already; give another folder, or --resume")
    check_place(run, Path(data))
    settings = TrainingSettings(
        backend=backend, hyperparameters=hyperparameters or {}, size=size, channels=channels, steps=steps,
        batch_size=batch_size, seed=seed, class_sampling=class_sampling, device=device, precision=precision,
        compile=compile, patience=patience,
    ).resolved()  # fmt: skip
    callbacks = make_callbacks(log or ())
    team = launch(device, devices=devices, num_nodes=num_nodes, strategy=strategy)
    how = How(team, checkpoint_every, callbacks)
    prepared = team.writer_first(  # the others find what it decoded
        lambda: prepare_folder(Path(data), settings.preprocessing, run / CACHE, skip_bad=skip_bad)
    )
    check_settings(settings, prepared.spec, how)
    parts = given_split(Path(split) if split else None, prepared)
    located = locate(parts, prepared)
    chosen, held_out = prepared.select(located.train), prepared.select(located.val)
    return train_generator(chosen, parts, settings, run, reference=held_out, resume=resume, how=how).generator


def sample(
    run: Path,
    out: Path,
    *,
    count: int = 100,
    class_name: str | None = None,
    tumor_size: float = 1.0,
    seed: int = 0,
) -> SyntheticSet:
    """Draw images from a trained generator.

    Args:
        run: folder that `train` made.
        out: new or empty folder; images become OUT/<class>/<six-digit index>.png, listed in manifest.jsonl.
        count: images of each class.
        class_name: make this class only.
        tumor_size: width of the tumours, times that in training; for backends that place tumours.
        seed: of the series; image i of a class is the same whatever the count.

    Raises:
        BrainganError: see `braingan.errors`.
    """
    from dataclasses import replace

    from braingan.augmentation.synthesis import counts_made, warn_of_patients, write_synthetic
    from braingan.augmentation.synthetic import load_synthetic
    from braingan.data.files import replacing_folder
    from braingan.data.workplace import check_place
    from braingan.errors import SettingsError
    from braingan.generation.protocol import check_seed
    from braingan.generation.samples import with_tumor_size
    from braingan.generation.storage import load_run

    check_seed(seed)
    if count < 1:
        raise SettingsError(f"a count of {count} was asked; 1 or more work")
    check_place(Path(out), Path(run))
    stored = load_run(Path(run))
    classes = stored.generator.spec.classes
    if class_name is not None and class_name not in classes:
        raise SettingsError(f"class {class_name!r} was asked; the generator makes {', '.join(map(repr, classes))}")
    counts = {label: count for label, name in enumerate(classes) if class_name in {None, name}}
    counts = counts_made(stored, counts, None if class_name is None else [class_name])
    stored = replace(stored, generator=with_tumor_size(stored.generator, tumor_size))
    with replacing_folder(Path(out)) as beside:
        write_synthetic(stored, counts, beside, seed=seed)
    warn_of_patients(stored)
    return load_synthetic(out)


def runs(folder: Path) -> Sequence[RunSummary]:
    """List the trainings in a folder: state, step, best measure.

    Args:
        folder: of a run, or of many; all below it is searched.

    Raises:
        OutputError: it is no folder, or holds no run. A damaged run is listed as such.
    """
    from braingan.generation.listing import list_runs

    return list_runs(Path(folder))


def augment(
    data: Path,
    out: Path,
    *,
    ratio: float | None = None,
    balance: bool = False,
    classes: Sequence[str] | None = None,
    tumor_size: float = 1.0,
    generator: Path | None = None,
    backend: str = "dcgan",
    size: int = 64,
    channels: int = 1,
    steps: int = 1000,
    batch_size: int = 64,
    seed: int = 0,
    device: DeviceName = "auto",
    split: Path | None = None,
    test: Path | None = None,
    class_sampling: ClassSampling = "balanced",
    precision: Precision = "auto",
    patience: int = 10,
    hyperparameters: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    allow_leakage: bool = False,
) -> AugmentedDataset:
    """Train a generator on a folder of images and write synthetic images beside the real ones.

    Args:
        data: folder with a subfolder of images for each class, or with a metadata.csv.
        out: folder for OUT/real, OUT/synthetic (both prepared alike), OUT/val and OUT/test (see `split` and `test`),
            manifest.jsonl and OUT/generator.
        ratio: synthetic images for each real one, within each class (0.5 unless --balance).
        balance: fill every class up to the largest one instead.
        classes: make images of these classes only; repeat for more. Without it, of all that the backend can make.
        tumor_size: width of the tumours, times that in training; for backends that place tumours.
        generator: folder of a trained generator, instead of training one; size and channels are then its own.
        backend: generator backend; `braingan backends` lists them.
        size: height and width of the images in pixels.
        channels: 1 for grey images, 3 for colour.
        steps: updates of the generator.
        batch_size: images in a step.
        seed: of everything random, of the training and of the images.
        device: where to compute.
        split: split file; only its training part is learned from. Without one, all images are. Its validation and test
            images are written to OUT/val and OUT/test, prepared as the real ones are.
        test: folder of held-out images, to check that the generator has not seen any of them, and to be written to
            OUT/test (instead of those of a split), prepared as the real ones are.
        class_sampling: show every class equally often, or as often as it occurs.
        precision: of convolutions and products; `auto` times a few steps of each and keeps the quickest.
        patience: end training after so many measurements (one in 100 steps) without better samples; 0 for never.
        hyperparameters: of the backend, as NAME=VALUE; repeat for more.
        skip_bad: go on without files that cannot be read.
        allow_leakage: go on although the generator has seen held-out images, and mark the result. For research.

    Raises:
        BrainganError: see `braingan.errors`; settings are refused before training starts.
    """
    from braingan.augmentation.augment import augment_folder
    from braingan.generation.settings import TrainingSettings

    settings = TrainingSettings(
        backend=backend, hyperparameters=hyperparameters or {}, size=size, channels=channels, steps=steps,
        batch_size=batch_size, seed=seed, class_sampling=class_sampling, device=device, precision=precision,
        patience=patience,
    )  # fmt: skip
    return augment_folder(
        Path(data),
        Path(out),
        settings,
        ratio=ratio,
        balance=balance,
        classes=classes,
        tumor_size=tumor_size,
        generator=Path(generator) if generator else None,
        split_file=Path(split) if split else None,
        test=Path(test) if test else None,
        skip_bad=skip_bad,
        allow_leakage=allow_leakage,
    )


def benchmark(
    data: Path,
    out: Path,
    *,
    preset: Preset | None = None,
    backend: str = "dcgan",
    model: str = "resnet10t",
    size: int = 64,
    channels: int = 1,
    ratio: Numbers | None = None,
    arms: Sequence[str] | None = None,
    share: float | None = None,
    folds: int | None = None,
    repeats: int | None = None,
    generators: int | None = None,
    seeds: int | None = None,
    steps: int = 1000,
    batch_size: int = 64,
    classifier_steps: int = 300,
    classifier_batch_size: int = 32,
    classifier_learning_rate: float = 2e-3,
    split_seed: int = 0,
    margin: float = 0.02,
    positive: str | None = None,
    limit: Mapping[str, Any] | None = None,
    limit_patients: Mapping[str, Any] | None = None,
    train_patients: int | None = None,
    test: Path | None = None,
    external: Path | None = None,
    curve: Numbers | None = None,
    split: Path | None = None,
    generator: Path | None = None,
    weights: Path | None = None,
    pretrained: bool = False,
    device: DeviceName = "auto",
    class_sampling: ClassSampling = "balanced",
    precision: Precision = "auto",
    classifier_precision: Precision = "auto",
    patience: int = 10,
    hyperparameters: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
    group_duplicates: bool = True,
    drop_leaking: bool = False,
    allow_leakage: bool = False,
    config: Path | None = None,
    inspection: bool = True,
    without_images: bool = False,
    jobs: int = 1,
    engine: EngineName = "local",
    address: str | None = None,
) -> BenchmarkResult:
    """Ask whether synthetic images help a classifier: an experiment with control arms, and a verdict.

    The verdict is helps, hurts, no evidence or under-powered. The split comes first; generators and classifiers learn
    from the training part only, choices are made on validation patients, and test images are always real. A stopped
    benchmark goes on in the same folder.

    Args:
        data: folder with a subfolder of images for each class, or with a metadata.csv.
        out: folder for result.json, predictions.csv, table.md, report.html and all that they came from.
        preset: quick (one split; the default), standard (5 folds, 2 ratios, 8 arms) or thorough (2 repeats, 2
            generators a fold); sets folds, repeats, generators, seeds, ratio and arms where these are not given.
        backend: generator backend; `braingan backends` lists them.
        model: classifier: a timm name, or your own as package.module:function.
        size: height and width of the images in pixels.
        channels: 1 for grey images, 3 for colour.
        ratio: synthetic images for each real training image, within each class; several with commas: 0.25,0.5,1.
        arms: what classifiers are trained on, with commas: `braingan arms` lists them.
        share: 0 to 1, how much of what is seen of each class is synthetic where real and synthetic images are together;
            without it, all images of a class are seen equally often.
        steps: updates of the generator.
        batch_size: images in a step of the generator.
        classifier_steps: optimiser steps of each classifier, equal for all arms.
        classifier_batch_size: images in a step of the classifier.
        classifier_learning_rate: of the classifiers, at its height; pretrained and large ones need less.
        folds: parts of a cross-validation by patient, each the test part once; 1 is a single split.
        repeats: how often to deal the patients into folds.
        generators: trainings of the generator in each fold; `quick` has one for each seed, at most 3.
        seeds: classifiers of each arm and fold; with several generators, they take these in turn.
        split_seed: of the split by patient, and of what limits choose.
        margin: the smallest difference that would matter: 0.02 are two points.
        positive: of two classes the one that is looked for (sensitivity and the like); by default the one that is not
            named like healthy.
        limit: keep so many training images of a class, chosen at random: tumor=60; repeat for more.
        limit_patients: keep the training images of a class of so many patients.
        train_patients: keep so many training patients.
        external: folder of another site's images, which all classifiers are scored on as well.
        curve: parts of the training patients that real images alone are learned from as well: 0.25,0.5.
        test: folder of test images; DATA is then split into training and validation only.
        split: split file to use instead of a new split.
        generator: folder of a trained generator, instead of training; refused if it has seen held-out images.
        weights: safetensors file that classifiers start from.
        pretrained: start classifiers from the weights that timm knows of (needs a network).
        device: where to compute.
        class_sampling: show the generator every class equally often, or as often as it occurs.
        precision: of the generators: `auto` times a few steps of each and keeps the quickest.
        classifier_precision: the same for the classifiers, alike for all arms.
        patience: end a generator's training after so many measurements without better samples; 0 for never.
        hyperparameters: of the backend, as NAME=VALUE; repeat for more.
        skip_bad: go on without files that cannot be read.
        group_duplicates: where no patients are known, keep images of the same picture on one side of the split, and
            count them as one.
        drop_leaking: score without test images that show the same picture as a training image.
        allow_leakage: go on in spite of a leak, and mark the result in red. For research.
        config: result.json of another run: take its settings and its split. Other settings stay out then.
        inspection: look at the data as `inspect` does, before training, and put what it says into the report.
        without_images: leave pictures out of the report.
        jobs: trainings at the same time, in processes of this machine that share its cores.
        engine: where trainings run: on this machine, or on the workers of a Dask or Ray cluster.
        address: of the cluster: tcp://HOST:8786 or a scheduler file (Dask), HOST:6379 or auto (Ray).

    Raises:
        CellsFailedError: some trainings failed; the others are finished, and the same call redoes only these.
        BrainganError: see `braingan.errors`; settings are refused before training starts.
    """
    from braingan.engine.stopping import ended_by_sigterm
    from braingan.experiment.data import Sources
    from braingan.experiment.engines import open_engine
    from braingan.experiment.repeat import settings_and_splits
    from braingan.experiment.run import run_benchmark
    from braingan.experiment.settings import (
        DEFAULT_PRESET,
        BenchmarkSettings,
        counts_of,
        names_of,
        numbers_of,
        preset_named,
    )
    from braingan.inspection.beside import inspect_beside
    from braingan.reporting.write import write_reports

    design = preset_named(
        preset or DEFAULT_PRESET, folds=folds, repeats=repeats, generators=generators, seeds=seeds,
        ratio=None if ratio is None else numbers_of(ratio, "ratio"), arms=None if arms is None else names_of(arms),
    )  # fmt: skip
    asked = BenchmarkSettings(
        backend=backend, hyperparameters=hyperparameters or {}, size=size, channels=channels, steps=steps,
        batch_size=batch_size, class_sampling=class_sampling, share=share, model=model, **design, margin=margin,
        positive=positive,
        limit=counts_of(limit, "limit"), limit_patients=counts_of(limit_patients, "limit-patients"),
        train_patients=train_patients, curve=() if curve is None else numbers_of(curve, "curve"),
        precision=precision, classifier_precision=classifier_precision, patience=patience,
        weights=str(weights) if weights else None,
        pretrained=pretrained, classifier_steps=classifier_steps, classifier_batch_size=classifier_batch_size,
        classifier_learning_rate=classifier_learning_rate,
        split_seed=split_seed, device=device, skip_bad=skip_bad,
        group_duplicates=group_duplicates, drop_leaking=drop_leaking, allow_leakage=allow_leakage,
    )  # fmt: skip
    folders = {"test": test, "external": external, "generator": generator}
    settings, splits = settings_and_splits(asked, config=config, split=split, folders=folders, preset=preset)
    there = {name: Path(folder) if folder else None for name, folder in folders.items()}
    sources = Sources(Path(data), there["test"], there["external"], splits, limited=config is not None)
    with ended_by_sigterm("stopped; the same command goes on"), open_engine(engine, jobs, address) as opened:
        look = partial(inspect_beside, Path(out), sources.data, sources.test, margin=settings.margin)
        ready = look if inspection else None
        result = run_benchmark(sources, Path(out), settings, generator=there["generator"], engine=opened, ready=ready)
    write_reports(result, Path(out), without_images=without_images)
    return result


def report(out: Path, *, without_images: bool = False) -> BenchmarkResult:
    """Write the report of a benchmark again, from what lies in its folder: report.html and table.md.

    Nothing is trained. While the benchmark is running, or was stopped, the report is about the folds that are finished,
    and says so. For a page to be sent, `without_images` leaves pictures and patients' ids out; names of files
    stay in, so that images can be found: look whether these tell of patients.

    Args:
        out: folder of a benchmark.
        without_images: leave pictures and patients' ids out.

    Raises:
        OutputError: it is no benchmark's, nothing is finished, or something in it is damaged.
    """
    from braingan.reporting.write import rewrite_reports

    return rewrite_reports(Path(out), without_images=without_images)


def compare_files(
    a: Path,
    b: Path,
    *,
    metric: str = "macro_f1",
    arm_a: str | None = None,
    arm_b: str | None = None,
    positive: str | None = None,
    resamples: int = 10_000,
    seed: int = 0,
    confidence: float = 0.95,
) -> FileComparison:
    """Compare two classifiers from their predictions in CSV files: b minus a, with an interval and a p-value.

    A row for each image and training run. Columns: file (or image), target, and predicted (names of classes) or
    p_<class> for each class (probabilities); where they are there also patient (or picture: what shows the same one
    counts once), run or seed, batch (runs that share a generator), fold and arm. What `benchmark` writes as
    predictions.csv is such a file.

    Args:
        a: CSV file of predictions.
        b: the same of the other classifier, for the same images; the same file if arms are given.
        metric: macro_f1, macro_precision, macro_recall, balanced_accuracy, accuracy, f1:CLASS, precision:CLASS,
            recall:CLASS; of probabilities auroc, average_precision, recall_at_specificity:VALUE, brier.
        arm_a: take only the rows of this arm from A.
        arm_b: take only the rows of this arm from B.
        positive: of two classes the one that counts as 1, for average_precision and the like; by default the one that
            is not named like healthy, else the latter in order of names.
        resamples: of the patients.
        seed: of the resamples.
        confidence: of the interval, between 0 and 1.

    Raises:
        DataError: a file that cannot be read, or files that do not fit each other.
        SettingsError: a metric, arm or class that there is not.
    """
    from braingan.evaluation.file_comparison import compare_files

    return compare_files(
        Path(a),
        Path(b),
        metric=metric,
        arm_a=arm_a,
        arm_b=arm_b,
        positive=positive,
        resamples=resamples,
        seed=seed,
        confidence=confidence,
    )


def inspect(
    data: Path,
    test: Path | None = None,
    *,
    out: Path | None = None,
    format: str = "auto",
    format_options: Mapping[str, Any] | None = None,
    recall: float = 0.85,
    correlation: float = 0.3,
    power: float = 0.8,
    without_images: bool = False,
) -> Inspection:
    """Say what is wrong with the data, and what to do about it, before anything is trained.

    Finds bad files, images of the same picture (renamed, re-encoded, resized, mirrored, turned, cropped), test images
    that training has seen, contradictory labels, scanners that give the class away, and too few patients.

    Args:
        data: folder of images in any known format; one that holds train* and test* subfolders is taken apart.
        test: folder of test images.
        out: folder for inspection.json and inspection.html, a page with the pictures.
        format: how the folder is read; `auto` picks: folders, kaggle_3m, cheng, nifti, dicom, or one of a plugin.
        format_options: of the format, as NAME=VALUE; repeat for more.
        recall: that a classifier is assumed to reach, for the smallest difference that the test set can show.
        correlation: assumed between two images of one patient, for the same.
        power: that the same is stated for.
        without_images: leave pictures out of the page.

    Raises:
        BrainganError: see `braingan.errors`; bad files are findings here, not errors.
    """
    from braingan.inspection.inspecting import check_out, inspect_folders
    from braingan.inspection.sufficiency import Assumptions
    from braingan.reporting.inspection_page import write_inspection

    assumed = Assumptions(recall=recall, correlation=correlation, power=power)
    folders = Path(data), Path(test) if test else None
    if out:
        check_out(Path(out), *folders)
    inspection, facts = inspect_folders(*folders, format=format, options=format_options, assumed=assumed)
    if out:
        write_inspection(inspection, facts, Path(out), without_images=without_images)
    return inspection


def prepare(
    source: Path,
    out: Path,
    *,
    format: str = "auto",
    format_options: Mapping[str, Any] | None = None,
    skip_bad: bool = False,
) -> Written:
    """Turn any known format into class folders of PNG with masks and a metadata.csv, which every other tool can use.

    A stopped run goes on when the same command is given again.

    Args:
        source: folder in any known format: class folders, kaggle_3m, Cheng's .mat, NIfTI, DICOM, or one of a plugin.
        out: new folder; receives OUT/<class>/, OUT/masks/ and, last of all, OUT/metadata.csv.
        format: how the source is read; `auto` picks.
        format_options: of the format, as NAME=VALUE; repeat for more (axis=coronal, sequence=all).
        skip_bad: go on without files that cannot be used.

    Raises:
        BrainganError: see `braingan.errors`.
    """
    from braingan.data.writing import write_folder

    return write_folder(Path(source), Path(out), format=format, options=format_options, skip_bad=skip_bad)


def datasets(name: str | None = None, *, check: Path | None = None) -> Sequence[KnownSet]:
    """Describe well-known public sets: citation, licence, where to get them, traps. Nothing is downloaded.

    Args:
        name: of one set; without it, all are described.
        check: folder to compare with what was published: counts of files, and checksums of some.

    Raises:
        DataError: no set of this name, or the folder is not as published; the message shows the differences.
    """
    from braingan.data.known import check_folder, find_set, known_sets
    from braingan.errors import DataError, SettingsError

    if check and not name:
        raise SettingsError("--check was asked without a name; give the set that the folder should be")
    if check and name and (differences := check_folder(name, Path(check))):
        raise DataError(f"{check} is not {name} as published: {'; '.join(differences)}")
    return known_sets() if name is None else [find_set(name)]


def phantom(out: Path, *, patients: int = 40, seed: int = 0, slices: int = 8, size: int = 128) -> PhantomSummary:
    """Draw a phantom data set: procedural brain slices with and without tumour, of nobody.

    Args:
        out: new or empty folder; receives class folders, masks and metadata.csv.
        patients: how many, 4 or more.
        seed: a patient depends on the seed and its number only.
        slices: of each patient.
        size: height and width of the images in pixels.

    Raises:
        BrainganError: see `braingan.errors`.
    """
    from braingan.data.phantom import write_phantom

    return write_phantom(Path(out), patients=patients, seed=seed, slices=slices, size=size)
