"""A trained generator on disk: `model.safetensors`, `config.json`, `split.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from braingan.data.files import read_json, replacing, sha256_of, write_json
from braingan.data.preparation import PreparedSet
from braingan.data.preprocessing import Preprocessing
from braingan.data.records import ImageSpec
from braingan.data.split import Split
from braingan.duplicates.grouping import looks_of
from braingan.duplicates.seen import Seen
from braingan.errors import OutputError
from braingan.generation.protocol import Generator
from braingan.generation.registry import create_backend
from braingan.generation.samples import InPrecision, edits_real_slices
from braingan.generation.settings import TrainingSettings
from braingan.versions import versions

MODEL, CONFIG, SPLIT = "model.safetensors", "config.json", "split.json"


@dataclass(frozen=True)
class StoredGenerator:
    """A generator, and all that is known of how it came to be.

    Attributes:
        generator: what samples.
        settings: how it was trained.
        preprocessing: how its training images were made.
        split: what it was trained on (`train`), and what was held out.
        seen: what it was trained on, by content and by picture.
        chosen_on_validation: whether its best step was chosen by the validation images of the split.
        sha256: of the weights file; names the generator in manifests.
        folder: where it lies.
    """

    generator: Generator
    settings: TrainingSettings
    preprocessing: Preprocessing
    split: Split
    seen: Seen
    chosen_on_validation: bool
    sha256: str
    folder: Path


def is_finished(run: Path, steps: int = 0, patience: int | None = None) -> bool:
    """Whether a run folder holds a generator that was trained for so many steps, or whose patience ran out.

    Args:
        run: the folder.
        steps: that are wanted.
        patience: that is wanted; another than the one that ran out is not finished. None for any.
    """
    trained = steps_of(run)
    if trained is None:
        return False
    config = read_json(run / CONFIG)
    done = config.get("step")
    if done is None or done >= trained:
        return trained >= steps
    return done >= steps or patience in {None, config["settings"].get("patience")}


def steps_of(run: Path) -> int | None:
    """For how many steps the generator in a run folder was trained, or None where there is none."""
    if not (run / MODEL).exists():
        return None
    try:
        return int(read_json(run / CONFIG)["settings"]["steps"])
    except (KeyError, TypeError, ValueError) as error:
        raise OutputError(
            f"{run} is damaged, or was not made by braingan: {CONFIG} says nothing of a training"
        ) from error


def save_run(
    run: Path,
    generator: Generator,
    settings: TrainingSettings,
    train: PreparedSet,
    split: Split,
    record: Mapping[str, Any],
) -> None:
    """Write a run folder; the weights come last, so that a folder with weights is complete.

    Args:
        run: the folder.
        generator: what was trained.
        settings: how it was trained.
        train: on what.
        split: of the data.
        record: `seconds` of training and, from backends that note them, `step`, `best_step`, `best_distance`.
    """
    (run / MODEL).unlink(missing_ok=True)  # of fewer steps
    split.save(run / SPLIT)
    Seen.of(looks_of(train)).save(run)
    config = {
        "settings": settings.to_json(),
        "spec": asdict(generator.spec),
        "preprocessing": train.preprocessing.to_json(),
        "grouped_by": split.grouped_by,
        "bad_files": [asdict(bad) for bad in train.bad_files],
        "train_hash": split.train_hash,
        "train_images": len(split.train),
        "edits_real_slices": edits_real_slices(generator),
        **record,
        "versions": versions(),
    }
    write_json(run / CONFIG, config)
    with replacing(run / MODEL, durable=True) as beside:
        save_file(generator.state_dict(), beside, {"format": "pt"})  # one entry: several come in any order


def load_run(run: Path) -> StoredGenerator:
    """Read a run folder.

    Raises:
        OutputError: the folder holds no trained generator, or a damaged one.
        BackendError: its backend is not installed.
    """
    run = Path(run)
    if not is_finished(run):
        raise OutputError(
            f"{run} holds no trained generator ({MODEL} is missing); `braingan train DATA {run}` makes one"
        )
    config = read_json(run / CONFIG)
    try:
        settings = TrainingSettings.from_json(config["settings"])
        spec = ImageSpec(**(config["spec"] | {"classes": tuple(config["spec"]["classes"])}))
        preprocessing = Preprocessing.from_json(config["preprocessing"])
        state = load_file(run / MODEL)
    except (KeyError, TypeError, SafetensorError) as error:
        raise OutputError(f"{run} is damaged: {type(error).__name__}: {error}") from error
    generator = create_backend(settings.backend, **settings.hyperparameters).load(spec, state)
    if isinstance(generator, InPrecision) and settings.precision == "bfloat16":  # float16 is slow on a CPU
        generator = generator.in_precision(settings.precision)
    split = Split.load(run / SPLIT)
    chosen = bool(config.get("chosen_on_validation"))
    seen, sha256 = Seen.load(run), sha256_of(run / MODEL)
    return StoredGenerator(generator, settings, preprocessing, split, seen, chosen, sha256, run)


def load_generator(run: Path) -> Generator:
    """Load what `train` made; see `load_run`."""
    return load_run(run).generator
