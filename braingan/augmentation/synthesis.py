"""A stored generator -> PNG files, each of which says what it is and where it came from."""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import torch

from braingan.data.files import write_json
from braingan.data.folders import METADATA
from braingan.data.pictures import MODES, to_uint8, write_png
from braingan.data.records import ImageSpec
from braingan.data.split import Split
from braingan.errors import SettingsError
from braingan.generation.protocol import Generator
from braingan.generation.samples import SHOWS_PATIENTS, Samples, draw_samples, edits_real_slices, labels_made
from braingan.generation.storage import StoredGenerator
from braingan.progress import Progress

log = logging.getLogger("braingan")

UNGROUPED = (
    "no patients are known, so held-out slices may be of the very heads that tumours were put into: scores will be too "
    "good; a metadata.csv with a column `patient` mends that"
)

MANIFEST, CONFIG, MASKS = "manifest.jsonl", "config.json", "masks"
CHUNK = 256  # images in memory at a time

Entry = dict[str, str | int]  # a line of the manifest


def draw(generator: Generator, label: int, count: int, *, seed: int) -> Iterator[Samples]:
    """The first `count` images of a class, in chunks, with what is known of them; their pixels are uint8.

    Image i does not depend on `count`.
    """
    for first in range(0, count, CHUNK):
        labels = torch.full((min(CHUNK, count - first),), label, dtype=torch.int64)
        drawn = draw_samples(generator, labels, seed=seed, first=first)
        yield replace(drawn, images=to_uint8(drawn.images))


def counts_made(stored: StoredGenerator, counts: Mapping[int, int], classes: Sequence[str] | None) -> dict[int, int]:
    """The counts of the classes that a generator can make.

    Args:
        stored: the generator.
        counts: images for each label.
        classes: those that were asked for by name; None for whatever it can make.

    Raises:
        SettingsError: one was asked for that it cannot make, or nothing is left.
    """
    return made_of(labels_made(stored.generator), stored.generator.spec, counts, classes, stored.settings.backend)


def made_of(
    made: Sequence[int], spec: ImageSpec, counts: Mapping[int, int], classes: Sequence[str] | None, backend: str
) -> dict[int, int]:
    """As `counts_made`, before there is a generator: `made` are the labels that the backend can make."""
    names = ", ".join(repr(spec.classes[label]) for label in made)
    refused = [spec.classes[label] for label, count in counts.items() if count and label not in made]
    if classes is not None and refused:
        raise SettingsError(f"class {refused[0]!r} was asked; backend {backend!r} makes {names} from these images")
    possible = {label: count for label, count in counts.items() if label in made}
    if not sum(possible.values()):
        raise SettingsError(
            f"no image was asked for of a class that backend {backend!r} can make ({names}); a larger ratio makes some"
        )
    if refused:
        log.info("%s makes %s; there will be no synthetic images of %s", backend, names, ", ".join(refused))
    return possible


def warn_of_patients(stored: StoredGenerator) -> None:
    """Say so where images show the training patients."""
    if edits_real_slices(stored.generator):
        log.warning(
            "these images are slices of real patients with synthetic tumours: they may not be handed out as anonymous"
        )
        if stored.split.grouped_by != "patient":
            log.warning("%s", UNGROUPED)


def check_can_write(channels: int) -> None:
    """Raise `SettingsError` for images that a PNG cannot hold."""
    if channels not in MODES:
        raise SettingsError(f"images of {channels} channels were asked for as PNG; 1, 3 or 4 work")


def write_synthetic(
    stored: StoredGenerator,
    counts: Mapping[int, int],
    out: Path,
    *,
    seed: int,
    below: str = "",
    leakage: Sequence[str] = (),
) -> None:
    """Write images, masks where the generator gives any, `manifest.jsonl`, `config.json` and `seen.safetensors`.

    Args:
        stored: the generator.
        counts: images for each label.
        out: an existing folder; images become `out/below/<class>/<six-digit index>.png`, masks
            `out/below/masks/<class>/<six-digit index>.png`, with a `metadata.csv` that names them.
        seed: of the series.
        below: a folder between, or none.
        leakage: what was allowed although it leaks; stands in `config.json`.
    """
    spec = stored.generator.spec
    check_can_write(spec.channels)
    entries = []
    with Progress("sampling", sum(counts.values())) as progress:
        for label, count in counts.items():
            index = 0
            (out / below / spec.classes[label]).mkdir(parents=True, exist_ok=True)
            for drawn in draw(stored.generator, label, count, seed=seed):
                for number in range(len(drawn.images)):
                    entry = _entry(stored, spec.classes[label], index, seed, below) | _origin(
                        stored.split, drawn, number
                    )
                    entries.append(_write_image(out, below, entry, drawn, number, stored.preprocessing.fingerprint))
                    index += 1
                progress.advance(len(drawn.images))
    if entries and all("mask" in entry for entry in entries):
        _write_metadata(out / below, below, entries)
    lines = "".join(json.dumps(entry) + "\n" for entry in entries)
    (out / MANIFEST).write_text(lines, encoding="utf-8")
    config = {
        "kind": "synthetic images",
        "classes": list(spec.classes),
        "preprocessing": stored.preprocessing.to_json(),
        "training": stored.settings.to_json(),
        "generator": stored.sha256,
        "train_hash": stored.split.train_hash,
        "seed": seed,
        "tumor_size": getattr(stored.generator, "tumor_size", None),
        "edits_real_slices": edits_real_slices(stored.generator),
        "leakage": list(leakage),
        "braingan": version("braingan"),
    }
    stored.seen.save(out)
    write_json(out / CONFIG, config)


def _entry(stored: StoredGenerator, name: str, index: int, seed: int, below: str) -> Entry:
    return {
        "file": (Path(below) / name / f"{index:06d}.png").as_posix(),
        "class": name,
        "index": index,
        "seed": seed,
        "backend": stored.settings.backend,
        "generator": stored.sha256,
        "train_hash": stored.split.train_hash,
    }


def _write_image(out: Path, below: str, entry: Entry, drawn: Samples, number: int, preprocessing: str) -> Entry:
    """Write an image, and its mask where there is one; gives its line of the manifest."""
    text = _text(entry) | {"Preprocessing": preprocessing}
    if drawn.masks is not None:
        beside = Path(str(entry["file"])).relative_to(below)
        entry = entry | {"mask": (Path(below) / MASKS / beside).as_posix()}
        of_mask = {**text, "Comment": "Mask of a synthetic tumour. Not for diagnosis."}
        write_png(out / str(entry["mask"]), drawn.masks[number][None].byte() * 255, of_mask)
    write_png(out / str(entry["file"]), drawn.images[number], text)
    return entry


def _origin(split: Split, drawn: Samples, number: int) -> Entry:
    """The training images that an image was made from, and their patients; nothing where it was made from nothing."""
    if drawn.canvases is None:
        return {}
    canvas = split.train[int(drawn.canvases[number])]
    origin: Entry = {
        "canvas": canvas.file, "canvas_sha256": canvas.sha256, "canvas_patient": canvas.group
    }  # fmt: skip
    if drawn.mask_sources is not None and (at := int(drawn.mask_sources[number])) >= 0:
        source = split.train[at]
        origin |= {"mask_source": source.file, "mask_source_patient": source.group}
    return origin


def _write_metadata(folder: Path, below: str, entries: Sequence[Entry]) -> None:
    """A `metadata.csv` beside the class folders, by which readers tell masks from images, and whom an image shows."""
    with (folder / METADATA).open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file_name", "label", "patient", "mask", "mask_source_patient"])
        for entry in entries:
            name, mask = (Path(str(entry[key])).relative_to(below).as_posix() for key in ("file", "mask"))
            patients = (entry.get("canvas_patient", ""), entry.get("mask_source_patient", ""))
            writer.writerow([name, entry["class"], patients[0], mask, patients[1]])


def _text(entry: Entry) -> dict[str, str]:
    """PNG text chunks: whoever finds the file alone learns whether it shows a patient, and what made it."""
    unexamined = (
        "Synthetic image made by a generative model; whether it resembles a training image was not examined. "
        "Not for diagnosis."
    )
    canvas = {"Canvas-SHA256": str(entry["canvas_sha256"])} if "canvas" in entry else {}
    return {
        "Software": f"braingan {version('braingan')}",
        "Comment": SHOWS_PATIENTS if canvas else unexamined,
        "Synthetic": "true",
        **canvas,
        "Backend": str(entry["backend"]),
        "Generator": str(entry["generator"]),
        "Seed": str(entry["seed"]),
        "Index": str(entry["index"]),
        "Class": str(entry["class"]),
    }
