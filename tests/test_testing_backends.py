"""Backends to check a benchmark with: they keep the contract, and give what they say."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

import braingan
from braingan import Generator, GeneratorBackend, ImageSpec, OutputError, SettingsError, TrainingData, TrainingRun
from braingan.augmentation.synthetic import load_synthetic
from braingan.data.decoding import read_pixels
from braingan.data.pictures import to_uint8
from braingan.generation import registry
from braingan.testing import Copycat, Noise, Oracle, check_backend

SPEC = ImageSpec(32, 1, ("no_tumor", "tumor"))


def some_images(labels: Tensor, spec: ImageSpec = SPEC, seed: int = 7) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (len(labels), *spec.shape), dtype=torch.uint8, generator=random)


@pytest.fixture
def oracle(tmp_path: Path) -> Oracle:
    """Of 8 images without and 4 with a tumour."""
    labels = torch.tensor([0, 0, 1] * 4)
    return Oracle.of(some_images(labels), labels, tmp_path / "others.safetensors")


def fit(backend: GeneratorBackend, folder: Path, labels: Tensor) -> tuple[Generator, TrainingData]:
    data = TrainingData(some_images(labels, seed=1), labels, SPEC)
    return backend.fit(data, TrainingRun(folder, steps=1)), data


def places(found: Tensor, images: Tensor) -> list[int]:
    """Which of the images each one is, pixel by pixel."""
    return [int((images == one).flatten(1).all(1).nonzero()) for one in to_uint8(found)]


@pytest.mark.parametrize("channels", [1, 4])
def test_they_keep_the_contract(tmp_path: Path, channels: int) -> None:
    check_backend(Noise(), channels=channels)
    check_backend(Copycat(), channels=channels)
    labels = torch.arange(12) % 2
    images = some_images(labels, ImageSpec(32, channels, SPEC.classes))
    check_backend(Oracle.of(images, labels, tmp_path / "others.safetensors"), channels=channels)


def test_the_oracle_hands_out_its_own_images_of_the_class_that_was_asked(oracle: Oracle, tmp_path: Path) -> None:
    generator, data = fit(oracle, tmp_path, torch.tensor([0, 1, 1]))
    own = generator.state_dict()["images"]
    assert torch.equal(own, some_images(torch.zeros(12)))
    found = places(generator.sample(torch.tensor([0] * 8 + [1] * 4), seed=0), own)
    assert sorted(found[:8]) == [0, 1, 3, 4, 6, 7, 9, 10]
    assert sorted(found[8:]) == [2, 5, 8, 11]
    assert not (own[:, None] == data.images).flatten(2).all(2).any()


def test_no_image_comes_again_before_all_of_its_class_have_come(oracle: Oracle, tmp_path: Path) -> None:
    generator, _ = fit(oracle, tmp_path, torch.tensor([0, 1]))
    own = generator.state_dict()["images"]
    healthy = torch.zeros(20, dtype=torch.int64)
    found = places(generator.sample(healthy, seed=5), own)
    assert all(len(set(found[start : start + 8])) == 8 for start in range(13))
    assert places(generator.sample(healthy[:6], seed=5, first=9), own) == found[9:15]
    assert places(generator.sample(healthy, seed=6), own) != found


def test_the_copycat_hands_out_the_training_images_and_can_make_only_their_classes(tmp_path: Path) -> None:
    generator, data = fit(Copycat(), tmp_path, torch.tensor([1, 1, 1]))
    assert sorted(places(generator.sample(torch.tensor([1, 1, 1]), seed=2), data.images)) == [0, 1, 2]
    assert Copycat().makes(data) == (1,)
    with pytest.raises(SettingsError, match="class 'no_tumor' was asked; this generator makes 'tumor'"):
        generator.sample(torch.tensor([0]), seed=0)


def test_all_grey_levels_are_alike_in_noise_of_any_class(tmp_path: Path) -> None:
    generator, _ = fit(Noise(), tmp_path, torch.tensor([0, 1]))
    for label in (0, 1):
        images = generator.sample(torch.full((20,), label), seed=0)
        share = torch.histc(images, 8, -1, 1) / images.numel()
        assert torch.allclose(share, torch.full((8,), 0.125), atol=0.01)  # 6 standard errors of 20,480 pixels


def test_a_trained_oracle_needs_its_file_no_more_and_an_untrained_one_can_be_sent_elsewhere(
    oracle: Oracle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, _ = fit(oracle, tmp_path, torch.tensor([0, 1]))
    labels = torch.tensor([0, 1, 0])
    monkeypatch.chdir("/")
    there = pickle.loads(pickle.dumps(oracle))
    assert there == oracle
    there.check(SPEC)
    Path(oracle.source).unlink()
    assert torch.equal(
        there.load(SPEC, generator.state_dict()).sample(labels, seed=1), generator.sample(labels, seed=1)
    )


def test_they_are_not_among_the_backends_of_a_user() -> None:
    assert not {"oracle", "noise", "copycat"} & {info.name for info in braingan.list_backends()}


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (ImageSpec(64, 1, SPEC.classes), r"images of \(1, 64, 64\) were asked; .*others.safetensors has \(1, 32, 32\)"),
        (ImageSpec(32, 3, SPEC.classes), r"images of \(3, 32, 32\) were asked"),
        (ImageSpec(32, 1, ("tumor",)), "1 classes of size 32 were asked; .* has labels up to 1"),
    ],
)
def test_an_oracle_of_other_images_is_refused(oracle: Oracle, spec: ImageSpec, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        oracle.check(spec)


def test_an_oracle_without_a_file_of_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.safetensors").write_text("no tensors")
    save_file({"images": torch.zeros(1)}, tmp_path / "lacking.safetensors")
    save_file({"images": torch.zeros(1), "labels": torch.zeros(1)}, tmp_path / "other.safetensors")
    for name in ("", "nowhere.safetensors", "text.safetensors", "lacking.safetensors", "other.safetensors"):
        source = str(tmp_path / name) if name else ""
        with pytest.raises(SettingsError, match=r"source '.*' was given .*Oracle\.of writes one"):
            Oracle(source).check(SPEC)


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, dtype=torch.int64)),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(2)),
        (torch.zeros(2, 8, 8, dtype=torch.uint8), torch.zeros(2, dtype=torch.int64)),
        (torch.zeros(0, 1, 8, 8, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, -1])),
    ],
)
def test_no_oracle_is_made_of_what_it_could_not_read(images: Tensor, labels: Tensor, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"was given with images .* labels \(M,\) int64 works"):
        Oracle.of(images, labels, tmp_path / "others.safetensors")
    assert not list(tmp_path.iterdir())


def test_an_oracle_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        Oracle.of(some_images(torch.tensor([0])), torch.tensor([0]), tmp_path / "file" / "others.safetensors")


def test_a_benchmark_runs_with_an_oracle(
    data: Path, tmp_path: Path, tiny_model: str, oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry.BACKENDS, "registered", dict(registry.BACKENDS.registered))
    braingan.register_backend("oracle")(Oracle)
    out = tmp_path / "out"
    result = braingan.benchmark(
        data, out, backend="oracle", hyperparameters={"source": oracle.source}, model=tiny_model, size=32, seeds=1,
        classifier_steps=2, ratio=0.25, arms=["real", "synthetic", "combined"], without_images=True,
    )  # fmt: skip
    assert {run["arm"]: run["n_synthetic"] > 0 for run in result.runs} == {
        "real": False,
        "synthetic": True,
        "combined": True,
    }
    drawn = load_synthetic(out / "synthetic" / "fold0-seed0")
    pixels = torch.stack([torch.from_numpy(read_pixels(file.path, 1)) for file in drawn.files]).movedim(-1, 1)
    same = (some_images(torch.zeros(12))[None] == pixels.to(torch.uint8)[:, None]).flatten(2).all(2)
    assert same.sum(1).tolist() == [1] * len(drawn.files)
    assert same.sum(0).max() == 1
