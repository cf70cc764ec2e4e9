"""Training: what it sees, what it leaves behind, and how it stops."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

import braingan
from braingan import (
    Generator,
    ImageSpec,
    OutputError,
    SettingsError,
    Split,
    SplitError,
    TrainingData,
    TrainingDivergedError,
    TrainingRun,
    register_backend,
)
from braingan.data.preparation import prepare_folder
from braingan.data.preprocessing import Preprocessing
from braingan.generation import registry
from braingan.generation.generator import GANGenerator
from braingan.generation.latents import draw_latents
from braingan.generation.storage import load_run
from braingan_dcgan import DCGAN

Options = dict[str, Any]


def test_a_run_folder_holds_the_generator_and_all_about_it(data: Path, tmp_path: Path, tiny: Options) -> None:
    generator = braingan.train(data, tmp_path / "run", **tiny)
    run = tmp_path / "run"
    config = json.loads((run / "config.json").read_text())
    assert config["settings"]["backend"] == "dcgan"
    assert config["settings"]["hyperparameters"]["dropout"] == 0.4
    assert config["spec"] == {"size": 32, "channels": 1, "classes": ["no_tumor", "tumor"]}
    assert config["preprocessing"]["percentiles"] == [1.0, 99.0]
    assert len(Split.load(run / "split.json").train) == 40
    lines = [json.loads(line) for line in (run / "stats.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "d_loss" in line] == [1, 2]
    assert [line["step"] for line in lines if "distance" in line] == [2]
    assert [path.name for path in (run / "samples").iterdir()] == ["step_000002.png"]
    assert list((run / "checkpoints").glob("*.safetensors"))
    labels = torch.tensor([0, 1, 1])
    loaded = braingan.load_generator(run)
    assert torch.equal(loaded.sample(labels, seed=1), generator.sample(labels, seed=1))


def test_a_training_is_repeated_by_its_seed_and_leaves_the_callers_random_state_alone(
    data: Path, tmp_path: Path, tiny: Options
) -> None:
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    labels = torch.tensor([0, 1])
    first = braingan.train(data, tmp_path / "a", **tiny).sample(labels, seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.rand(3)
    assert torch.equal(braingan.train(data, tmp_path / "b", **tiny).sample(labels, seed=0), first)
    assert not torch.equal(braingan.train(data, tmp_path / "c", **tiny, seed=1).sample(labels, seed=0), first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 48}, "asked for size 48; 32, 64, 128, 256 work"),
        ({"steps": 0}, "0 steps were asked"),
        ({"batch_size": 0}, "batch size of 0"),
        ({"seed": -1}, "seed -1"),
        ({"channels": 2}, "2 channels were asked"),
        ({"device": "tpu"}, "device 'tpu' was asked"),
        ({"class_sampling": "odd"}, "class sampling 'odd'"),
        ({"seed": 2**32}, "seed 4294967296"),
        ({"hyperparameters": {"n_critic": 0}}, "n_critic 0"),
        ({"hyperparameters": {"base_channels": 0}}, "base_channels 0"),
        ({"hyperparameters": {"dropout": 1}}, "dropout 1.0"),
        ({"hyperparameters": {"learning_rate": "nan"}}, "learning_rate nan"),
        ({"hyperparameters": {"latent_size": "inf"}}, "latent_size='inf'"),
        ({"backend": "wgan-gp", "hyperparameters": {"base_channels": 0}}, "base_channels 0"),
        ({"hyperparameters": {"ema_decay": 1.5}}, "ema_decay 1.5"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_training(
    data: Path, tmp_path: Path, tiny: Options, options: Options, words: str
) -> None:
    with pytest.raises(SettingsError, match=words):
        braingan.train(data, tmp_path / "run", **(tiny | options))
    assert not (tmp_path / "run" / "stats.jsonl").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_device_that_is_not_there_is_refused(data: Path, tmp_path: Path, tiny: Options) -> None:
    with pytest.raises(SettingsError, match="device 'cuda' was asked but torch finds none"):
        braingan.train(data, tmp_path / "run", **tiny, device="cuda")


def test_one_image_one_step_and_a_batch_of_one_work(write_data: Callable[..., Path], tmp_path: Path) -> None:
    data = write_data("few", patients=1, slices=1, metadata=False)
    options: Options = {"size": 32, "steps": 1, "hyperparameters": {"base_channels": 4}}
    for batch_size in (1, 50):
        generator = braingan.train(data, tmp_path / f"run{batch_size}", batch_size=batch_size, **options)
        assert bool(generator.sample(torch.tensor([0, 1]), seed=0).isfinite().all())


def test_only_the_training_part_of_a_split_is_learned_from(data: Path, tmp_path: Path, tiny: Options) -> None:
    braingan.train(data, tmp_path / "all", **tiny)
    whole = json.loads((tmp_path / "all" / "split.json").read_text())
    train = [file for file in whole["train"] if file["group"] < "data-P02"]
    part = whole | {"train": train, "test": [file for file in whole["train"] if file["group"] > "data-P07"]}
    (tmp_path / "split.json").write_text(json.dumps(part))
    braingan.train(data, tmp_path / "part", **tiny, split=tmp_path / "split.json")
    assert json.loads((tmp_path / "part" / "config.json").read_text())["train_images"] == 8


def test_a_finished_run_and_a_foreign_folder_are_not_overwritten(data: Path, tmp_path: Path, tiny: Options) -> None:
    braingan.train(data, tmp_path / "run", **tiny)
    with pytest.raises(OutputError, match="holds a trained generator already"):
        braingan.train(data, tmp_path / "run", **tiny)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(OutputError, match=r"thesis holds chapter1\.tex, which braingan did not write"):
        braingan.train(data, tmp_path / "thesis", **tiny)


def test_a_folder_without_a_generator_or_with_a_damaged_one_is_refused(
    data: Path, tmp_path: Path, tiny: Options
) -> None:
    with pytest.raises(OutputError, match=r"holds no trained generator \(model.safetensors is missing\)"):
        braingan.load_generator(tmp_path)
    braingan.train(data, tmp_path / "run", **tiny)
    model = tmp_path / "run" / "model.safetensors"
    model.write_bytes(model.read_bytes()[:500])
    with pytest.raises(OutputError, match="run is damaged"):
        braingan.load_generator(tmp_path / "run")


@dataclass(frozen=True)
class Diverging(DCGAN):
    """Loses its numbers in the fifth step."""

    def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
        loss = super().generator_loss(D, real, fake, y)
        counter = D.get_buffer("counter") if hasattr(D, "counter") else torch.zeros(())
        D.register_buffer("counter", counter + 1)
        return loss * float("nan") if int(D.get_buffer("counter")) >= 5 else loss


def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    spec = ImageSpec(32, 1, ("a", "b"))
    data = TrainingData(torch.zeros(4, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1, 0, 1]), spec)
    run = TrainingRun(tmp_path, steps=10, batch_size=2, checkpoint_every=2)
    with pytest.raises(
        TrainingDivergedError,
        match=r"diverged at step 5 .*last checkpoint, of step 4, is kept .*--resume --steps 4 takes",
    ):
        Diverging(latent_size=4, base_channels=4).fit(data, run)
    with safe_open(tmp_path / "checkpoints" / "step_000004.safetensors", framework="pt") as file:
        assert all(bool(file.get_tensor(key).isfinite().all()) for key in file.keys())  # noqa: SIM118
        assert {key.partition(".")[0] for key in file.keys()} == {"G", "D", "ema", "optimizer_G", "optimizer_D"}  # noqa: SIM118


def test_latents_depend_on_seed_class_and_index_alone() -> None:
    many = draw_latents([0, 1, 0, 1], 6, seed=3)
    assert torch.equal(many[2:3], draw_latents([0], 6, seed=3, first=2))
    assert torch.equal(draw_latents([1] * 4, 6, seed=3)[1], many[1])
    assert not torch.equal(draw_latents([1], 6, seed=3)[0], many[0])
    assert not torch.equal(draw_latents([0], 6, seed=4)[0], many[0])
    assert len(torch.unique(draw_latents([0] * 2000, 2, seed=0), dim=0)) == 2000


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (torch.zeros(2, 1, 32, 32), torch.zeros(2, dtype=torch.int64), "uint8 works"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64), "2 training images have 3"),
        (torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 7]), "labels reach from 0 to 7"),
    ],
)
def test_training_data_that_do_not_fit_are_refused(images: Tensor, labels: Tensor, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        TrainingData(images, labels, ImageSpec(32, 1, ("a", "b")))


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        (torch.zeros(3, 32, 32, dtype=torch.bool), r"masks are \(3, 32, 32\) torch.bool; \(2, 32, 32\) bool works"),
        (
            torch.zeros(2, 1, 32, 32, dtype=torch.bool),
            r"masks are \(2, 1, 32, 32\) torch.bool; \(2, 32, 32\) bool works",
        ),
        (torch.zeros(2, 32, 32, dtype=torch.uint8), r"masks are \(2, 32, 32\) torch.uint8; \(2, 32, 32\) bool works"),
    ],
)
def test_masks_that_do_not_fit_are_refused(masks: Tensor, words: str) -> None:
    images, labels = torch.zeros(2, 1, 32, 32, dtype=torch.uint8), torch.tensor([0, 1])
    with pytest.raises(SettingsError, match=words):
        TrainingData(images, labels, ImageSpec(32, 1, ("a", "b")), masks=masks)


def test_a_backend_is_handed_the_masks_of_its_training_images(tmp_path: Path, tiny: Options) -> None:
    handed: list[TrainingData] = []

    @dataclass(frozen=True)
    class Watching(DCGAN):
        """Notes what it is handed."""

        def fit(self, data: TrainingData, run: TrainingRun) -> Generator:
            handed.append(data)
            return super().fit(data, run)

    braingan.phantom(tmp_path / "heads", patients=4, slices=3, size=48)
    before = dict(registry.BACKENDS.registered)
    register_backend("watching")(Watching)
    try:
        braingan.train(tmp_path / "heads", tmp_path / "run", **tiny | {"backend": "watching"})
    finally:
        registry.BACKENDS.registered.clear()
        registry.BACKENDS.registered.update(before)
    prepared = prepare_folder(tmp_path / "heads", Preprocessing(size=32), tmp_path / "cache")
    masks = handed[-1].masks
    assert masks is not None
    assert prepared.masks is not None
    assert torch.equal(masks, prepared.masks)


def test_a_split_whose_training_part_lacks_a_class_is_refused(data: Path, tmp_path: Path, tiny: Options) -> None:
    braingan.train(data, tmp_path / "all", **tiny)
    whole = json.loads((tmp_path / "all" / "split.json").read_text())
    only = [file for file in whole["train"] if file["label"] == "tumor"]
    (tmp_path / "split.json").write_text(json.dumps(whole | {"train": only}))
    with pytest.raises(SplitError, match="training part has no image of class 'no_tumor'"):
        braingan.train(data, tmp_path / "part", **tiny, split=tmp_path / "split.json")


def test_a_run_says_which_files_it_left_out_and_whether_patients_were_known(
    write_data: Callable[..., Path], tmp_path: Path, tiny: Options
) -> None:
    data = write_data("nameless", metadata=False)
    (data / "tumor" / "P00_tumor_0.png").write_bytes(b"no image")
    braingan.train(data, tmp_path / "run", **tiny, skip_bad=True)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert [bad["file"] for bad in config["bad_files"]] == ["tumor/P00_tumor_0.png"]
    assert config["grouped_by"] == "file"


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_generator_samples_in_the_precision_it_was_trained_in_also_when_it_is_loaded(
    data: Path, tmp_path: Path, tiny: Options, precision: str
) -> None:
    braingan.train(data, tmp_path / "run", **tiny, precision=precision)
    stored = load_run(tmp_path / "run")
    assert isinstance(stored.generator, GANGenerator)
    assert (stored.settings.precision, stored.generator.precision) == (precision, precision)
    exact = stored.generator.in_precision("float32").sample(torch.tensor([0, 1]), seed=1)
    found = stored.generator.sample(torch.tensor([0, 1]), seed=1)
    assert torch.equal(found, exact) == (precision == "float32")
    assert float((found - exact).abs().max()) < 3 / 255


def test_a_folder_of_an_earlier_version_is_taken_with_what_that_version_did(
    data: Path, tmp_path: Path, tiny: Options
) -> None:
    run = tmp_path / "run"
    braingan.train(data, run, **tiny, precision="float32", patience=0)
    asked = json.loads((run / "asked.json").read_text())
    new = {"precision", "patience", "compile"}
    (run / "asked.json").write_text(json.dumps({key: value for key, value in asked.items() if key not in new}))
    braingan.train(data, run, **tiny, precision="float32", patience=0, resume=True)
    with pytest.raises(OutputError, match=r"for other work \(precision float32 there, bfloat16 asked\)"):
        braingan.train(data, run, **tiny, precision="bfloat16", resume=True)


def test_weights_of_somebody_else_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"architectures": ["Llama"]}')
    with pytest.raises(OutputError, match=r"is damaged, or was not made by braingan: config"):
        braingan.load_generator(tmp_path)


@pytest.mark.parametrize("steps", [2, 60])  # so many that precisions are tried first
def test_a_batch_that_does_not_fit_into_memory_is_told_of_in_one_line(
    data: Path, tmp_path: Path, tiny: Options, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    @dataclass(frozen=True)
    class Greedy(DCGAN):
        """Wants more than there is."""

        def generator_loss(self, D: nn.Module, real: Tensor, fake: Tensor, y: Tensor) -> Tensor:
            return torch.empty(2**55).sum()

    monkeypatch.setattr(registry.BACKENDS, "registered", dict(registry.BACKENDS.registered))
    register_backend("greedy")(Greedy)
    with pytest.raises(SettingsError, match="no memory for batches of 4 images of 32 pixels; a smaller --batch-size"):
        braingan.train(data, tmp_path / "run", **(tiny | {"steps": steps}), backend="greedy")
