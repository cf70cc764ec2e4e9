"""Training backends that need masks: what they refuse beforehand, what they leave, and how a stop ends."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import braingan
from braingan import OutputError, SettingsError, TrainingData, TrainingRun
from braingan.engine.team import Team
from braingan.errors import StoppedError
from braingan.generation.callbacks import Callback, Callbacks
from braingan.generation.checkpoints import checkpoints_in, load_checkpoint
from braingan.generation.samples import EditingGenerator, draw_samples
from braingan.generation.settings import TrainingSettings
from braingan.generation.train import How, check_settings
from braingan.testing import check_backend
from braingan_dcgan import DCGAN
from braingan_insert import Insert
from braingan_insert.placing import NORMALS

Options = dict[str, Any]
Write = Callable[..., Path]
StopAt = Callable[[int], Callback]
Verb = Callable[..., object]

VERBS = pytest.mark.parametrize("verb", [braingan.train, braingan.augment, braingan.benchmark])
SMALL: Options = {"base_channels": 4, "latent_size": 8}
GAMES = {
    "as it comes": (Insert(**SMALL), {}),
    "in bfloat16": (Insert(**SMALL), {"precision": "bfloat16"}),
    "with two turns of the critic": (Insert(**SMALL, n_critic=2), {"class_sampling": "natural"}),
    "with nothing hidden or refilled": (
        Insert(**SMALL, blanks=False, refill_weight=0.0, healthy_as_fake=False), {}
    ),
}  # fmt: skip


def fit(game: Insert, data: TrainingData, folder: Path, steps: int, *callbacks: Callback, **options: Any) -> Any:
    """Train in this process, or go on with what is in the folder."""
    folder.mkdir(exist_ok=True)
    run = TrainingRun(folder, steps, batch_size=4, callbacks=Callbacks(callbacks), **options)
    return game.fit(data, run).state_dict()


def assert_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name, value in one.items() if not torch.equal(value, other[name])] == []


@pytest.mark.parametrize("name", GAMES)
def test_a_training_that_was_stopped_ends_as_an_unbroken_one(
    name: str, training: TrainingData, tmp_path: Path, stop_at: StopAt
) -> None:
    game, options = GAMES[name]
    unbroken = fit(game, training, tmp_path / "unbroken", 6, **options)
    for step in (2, 4):
        with pytest.raises(StoppedError, match=f"stopped at step {step} of 6; the same command goes on"):
            fit(game, training, tmp_path / "stopped", 6, stop_at(step), **options)
        torch.rand(step)  # the caller's random state decides nothing
    assert_equal(fit(game, training, tmp_path / "stopped", 6, **options), unbroken)
    first, second = (load_checkpoint(checkpoints_in(tmp_path / run / "checkpoints")[-1])
                     for run in ("stopped", "unbroken"))  # fmt: skip
    assert_equal(first.tensors, second.tensors)


def test_every_option_decides_the_weights(training: TrainingData, tmp_path: Path) -> None:
    plain = fit(Insert(**SMALL), training, tmp_path / "plain", 3)
    changes: list[Options] = [
        {"blanks": False}, {"refill_weight": 0.0}, {"healthy_as_fake": False}, {"variation": 0.0},
        {"match_level": False},
    ]  # fmt: skip
    for number, change in enumerate(changes):
        other = fit(Insert(**SMALL, **change), training, tmp_path / str(number), 3)
        assert not torch.equal(plain["G.first.weight"], other["G.first.weight"]), change


@pytest.mark.slow
def test_two_processes_share_a_training(slices: Path, tmp_path: Path) -> None:
    command = [Path(sys.executable).with_name("braingan"), "train", slices, tmp_path / "run", "--backend", "insert",
               "--size", "32", "--steps", "2", "--batch-size", "4", "--precision", "float32", "--devices", "2",
               "--device", "cpu", "--hyperparameters", "refill_weight=0",
               "--hyperparameters", "base_channels=4", "--hyperparameters", "latent_size=8"]  # fmt: skip
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("training Insert on cpu by 2 processes") == 1
    generator = braingan.load_generator(tmp_path / "run")
    assert generator.sample(torch.tensor([1]), seed=0).isfinite().all()
    weights = {name: value for name, value in generator.state_dict().items() if name.startswith("G.")}
    alone = braingan.train(slices, tmp_path / "alone", backend="insert", size=32, steps=2, batch_size=4,
                           precision="float32", device="cpu",
                           hyperparameters=SMALL | {"refill_weight": 0.0})  # fmt: skip
    for name, value in weights.items():  # the noise of refilling would differ from process to process
        assert (value - alone.state_dict()[name]).abs().max() < 1e-5


def test_paste_does_not_share_a_training() -> None:
    team = Team(torch.device("cpu"))
    team.size = 2
    spec = braingan.ImageSpec(32, 1, ("healthy", "tumor"))
    with pytest.raises(SettingsError, match="'paste' cannot share a training between devices; --devices 1 works"):
        check_settings(TrainingSettings(backend="paste", size=32), spec, How(team))


@VERBS
@pytest.mark.parametrize("backend", ["insert", "paste"])
def test_data_without_masks_are_refused_before_training_and_the_folder_can_be_used_for_what_works(
    data: Path, tmp_path: Path, quick: Options, verb: Verb, backend: str
) -> None:
    out = tmp_path / "out"
    options = quick | {"backend": backend, "hyperparameters": {}}
    with pytest.raises(SettingsError, match=r"needs tumour masks, and no training image has one; `dcgan`") as raised:
        verb(data, out, **options)
    assert "\n" not in str(raised.value)
    assert repr(backend) in str(raised.value)
    assert not [path for path in out.rglob("*") if path.is_file() and ".braingan" not in path.as_posix()
                and "cache" not in path.as_posix()]  # fmt: skip
    if verb is not braingan.benchmark:
        verb(data, out, **(quick | {"backend": "dcgan"}))


@VERBS
def test_data_in_which_every_class_has_masks_are_refused(
    write: Write, tmp_path: Path, quick: Options, verb: Verb
) -> None:
    cheng = write(tmp_path / "cheng", ("round", "ring"))
    with pytest.raises(SettingsError, match="'ring', 'round' has tumour masks: there is no healthy class") as raised:
        verb(cheng, tmp_path / "out", **quick)
    assert "\n" not in str(raised.value)


@VERBS
def test_of_two_classes_without_masks_one_has_to_be_named_healthy(
    write: Write, tmp_path: Path, quick: Options, verb: Verb, tiny_model: str
) -> None:
    doubtful = write(tmp_path / "doubtful", ("healthy", "round", "unsure"), count=9)
    more = {"model": tiny_model, "classifier_steps": 1, "seeds": 1} if verb is braingan.benchmark else {}
    with pytest.raises(SettingsError, match=r"'healthy', 'unsure' have no tumour masks; which one .* healthy=NAME"):
        verb(doubtful, tmp_path / "out", **quick, **more)
    verb(doubtful, tmp_path / "out", **(quick | {"hyperparameters": SMALL | {"healthy": "healthy"}}), **more)


def test_a_training_in_a_folder_goes_on_with_the_very_same_masks_only(
    write: Write, tmp_path: Path, quick: Options
) -> None:
    data = write(tmp_path / "data", ("no_tumor", "round"))
    braingan.train(data, tmp_path / "insert", **quick)
    braingan.train(data, tmp_path / "dcgan", **(quick | {"backend": "dcgan"}))
    mask = data / "masks" / "round" / "0.png"
    Image.fromarray(np.roll(np.asarray(Image.open(mask)), 5, axis=0)).save(mask)
    braingan.train(data, tmp_path / "dcgan", **(quick | {"backend": "dcgan", "steps": 4}), resume=True)
    with pytest.raises(OutputError, match=r"is for other work .*training masks"):
        braingan.train(data, tmp_path / "insert", **(quick | {"steps": 4}), resume=True)


def test_noise_to_image_backends_notice_nothing_of_masks(slices: Path, tmp_path: Path, quick: Options) -> None:
    plain = tmp_path / "plain"
    shutil.copytree(slices, plain)
    shutil.rmtree(plain / "masks")
    with (slices / "metadata.csv").open(newline="") as stream:
        rows = [{**row, "mask": ""} for row in csv.DictReader(stream)]
    with (plain / "metadata.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for name, data in (("with", slices), ("without", plain)):
        braingan.train(data, tmp_path / name, **(quick | {"backend": "dcgan"}))
    one, other = (tmp_path / name for name in ("with", "without"))
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    assert (one / "asked.json").read_bytes() == (other / "asked.json").read_bytes()


def test_dcgan_in_memory_is_the_same_with_masks_and_without(training: TrainingData, tmp_path: Path) -> None:
    states = []
    for name, data in (("with", training), ("without", replace(training, masks=None))):
        (tmp_path / name).mkdir()
        game = DCGAN(base_channels=4, latent_size=8)
        states.append(game.fit(data, TrainingRun(tmp_path / name, steps=3, batch_size=4)).state_dict())
    assert_equal(*states)


@pytest.mark.parametrize("backend", ["insert", "paste"])
def test_of_several_tumour_classes_each_is_made_with_outlines_of_its_own(
    two_kinds: Path, tmp_path: Path, quick: Options, backend: str
) -> None:
    options = quick if backend == "insert" else quick | {"backend": "paste", "hyperparameters": {}}
    generator = braingan.train(two_kinds, tmp_path / "run", **options)
    assert isinstance(generator, EditingGenerator)
    classes = generator.spec.classes
    assert sorted(classes[label] for label in generator.makes) == ["ring", "round"]
    synthetic = braingan.sample(tmp_path / "run", tmp_path / "out", count=6)
    assert {file.class_name for file in synthetic.files} == {"ring", "round"}
    assert {(file.class_name, str(file.mask_source).split("/")[0]) for file in synthetic.files} == {
        ("ring", "ring"), ("round", "round"),
    }  # fmt: skip
    assert {str(file.canvas).split("/")[0] for file in synthetic.files} == {"no_tumor"}

    def filled(name: str) -> float:
        """How much of its middle a tumour fills."""
        masks = [np.asarray(Image.open(str(file.mask))) > 0 for file in synthetic.files if file.class_name == name]
        middles = [mask[tuple(np.argwhere(mask).mean(axis=0).round().astype(int))] for mask in masks]
        return float(np.mean(middles))

    assert filled("round") > filled("ring")


def test_the_class_decides_what_insert_makes(two_kinds: Path, tmp_path: Path, quick: Options) -> None:
    generator = braingan.train(two_kinds, tmp_path / "run", **quick)
    places = generator.placer.draw(torch.tensor([generator.makes[0]] * 4), torch.randn(4, NORMALS))  # type: ignore[attr-defined]
    latents = torch.zeros(4, generator.latents)  # type: ignore[attr-defined]
    with torch.inference_mode():
        one, other = (generator.edit(places, torch.tensor([label] * 4), latents)[0]  # type: ignore[attr-defined]
                      for label in generator.makes)  # type: ignore[attr-defined]  # fmt: skip
    assert not torch.equal(one, other)


SQUARES = """
import numpy as np

def squares(canvas, room, label, masks, random):
    mask = np.zeros_like(room)
    mask[14:18, 14 : 17 + random.integers(3)] = True
    return mask

def triangles(canvas, room, label, masks, random):
    return np.tri(*room.shape, dtype=bool)

def nothing(canvas, room, label, masks, random):
    return np.zeros_like(room)

def others(canvas, room):
    return room

number = 3
"""


def test_a_mask_sampler_of_ones_own_is_used_in_training_and_sampling_and_recorded(
    slices: Path, tmp_path: Path, quick: Options, own_module: Callable[[str], str]
) -> None:
    module = own_module(SQUARES)
    options = quick | {"hyperparameters": SMALL | {"mask_sampler": f"{module}:squares"}}
    generator = braingan.train(slices, tmp_path / "run", **options)
    plain = braingan.train(slices, tmp_path / "plain", **quick)
    assert not torch.equal(generator.state_dict()["G.first.weight"], plain.state_dict()["G.first.weight"])
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["settings"]["hyperparameters"]["mask_sampler"] == f"{module}:squares"
    labels = torch.ones(8, dtype=torch.int64)
    masks = draw_samples(braingan.load_generator(tmp_path / "run"), labels, seed=0).masks
    assert masks is not None
    assert {int(mask.sum()) for mask in masks} == {12, 16, 20}
    assert masks[:, 14:18, 14:17].all()
    synthetic = braingan.sample(tmp_path / "run", tmp_path / "out", count=4)
    assert all(file.mask_source is file.mask_source_patient is None for file in synthetic.files)
    assert all(file.canvas_patient for file in synthetic.files)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nothing", r"the mask sampler gave bool \(32, 32\) with 0 pixels; a numpy array of bool \(32, 32\)"),
        ("missing", "mask_sampler .*:missing cannot be imported"),
        ("number", "mask_sampler .*:number is int, no function"),
        ("others", "mask_sampler .*:others cannot be called: .* it is given canvas, room, label, masks and random"),
    ],
)
@VERBS
def test_a_mask_sampler_that_cannot_work_is_refused_before_training(
    slices: Path, tmp_path: Path, quick: Options, own_module: Callable[[str], str], verb: Verb, name: str, words: str
) -> None:
    sampler = f"{own_module(SQUARES)}:{name}"
    with pytest.raises(SettingsError, match=words) as raised:
        verb(slices, tmp_path / "out", **(quick | {"hyperparameters": SMALL | {"mask_sampler": sampler}}))
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out" / "asked.json").exists()


def test_a_mask_as_large_as_the_image_does_not_break_anything(
    slices: Path, tmp_path: Path, quick: Options, own_module: Callable[[str], str]
) -> None:
    sampler = f"{own_module(SQUARES)}:triangles"
    options = quick | {"hyperparameters": SMALL | {"mask_sampler": sampler}}
    generator = braingan.train(slices, tmp_path / "run", **options)
    drawn = draw_samples(generator, torch.ones(3, dtype=torch.int64), seed=0)
    assert drawn.masks is not None
    assert drawn.masks.flatten(1).any(1).all()


def test_the_last_step_is_kept_and_validation_images_choose_nothing(
    slices: Path, tmp_path: Path, quick: Options
) -> None:
    braingan.train(slices, tmp_path / "whole", **quick)
    split = json.loads((tmp_path / "whole" / "split.json").read_text())
    patients = sorted({file["group"] for file in split["train"]})
    val = [file for file in split["train"] if file["group"] in patients[-3:]]
    split |= {"train": [file for file in split["train"] if file not in val], "val": val}
    (tmp_path / "split.json").write_text(json.dumps(split))
    braingan.train(slices, tmp_path / "run", **quick, split=tmp_path / "split.json")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["chosen_on_validation"] is False
    assert config["step"] == 3


def test_the_contract_holds_with_other_options() -> None:
    check_backend(Insert(base_channels=2, latent_size=4, blanks=False, variation=0.0, match_level=False))
