"""What a generator that edits slices makes: nothing changes but the tumour, there is no seam, and draws differ."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import braingan
from braingan import SettingsError, TrainingData, TrainingRun, create_backend
from braingan.data.pictures import to_float, to_uint8
from braingan.generation.latents import draw_latents
from braingan.generation.samples import EditingGenerator, Samples, draw_samples, with_tumor_size
from braingan.generation.storage import load_run
from braingan_insert import Insert, Paste
from braingan_insert.blending import soften
from braingan_insert.placing import NORMALS

TUMORS = torch.ones(40, dtype=torch.int64)
BOTH = pytest.mark.parametrize("backend", ["insert", "paste"])
PIECES = ("images", "masks", "canvases", "mask_sources")


@pytest.fixture(scope="session")
def made(inserting: Path, pasting: Path) -> dict[str, EditingGenerator]:
    """A generator of each kind."""
    found = {"insert": braingan.load_generator(inserting), "paste": braingan.load_generator(pasting)}
    return {name: generator for name, generator in found.items() if isinstance(generator, EditingGenerator)}


def opacity_of(masks: Tensor) -> Tensor:
    return soften(masks[:, None].float(), masks.shape[-1])


def same(one: Samples, other: Samples, part: slice = slice(None)) -> bool:
    return all(torch.equal(getattr(one, name), getattr(other, name)[part]) for name in PIECES)


@BOTH
@pytest.mark.parametrize("tumor_size", [1.0, 2.0])
def test_pixels_outside_of_the_tumours_soft_edge_are_the_canvas_bit_for_bit(
    made: dict[str, EditingGenerator], training: TrainingData, backend: str, tumor_size: float
) -> None:
    drawn = with_tumor_size(made[backend], tumor_size).draw(TUMORS, seed=1)  # type: ignore[attr-defined]
    assert drawn.masks is not None
    assert drawn.canvases is not None
    canvases, images, clear = training.images[drawn.canvases], to_uint8(drawn.images), opacity_of(drawn.masks) == 0
    assert clear.flatten(1).any(1).all()
    assert torch.equal(images[clear], canvases[clear])
    assert torch.equal(drawn.images[clear], to_float(canvases)[clear])
    changed = (images != canvases) & drawn.masks[:, None]
    assert (changed.flatten(1).sum(1) > 0.5 * drawn.masks.flatten(1).sum(1)).all()


@BOTH
def test_canvases_are_healthy_training_images_and_outlines_are_of_tumours(
    made: dict[str, EditingGenerator], training: TrainingData, backend: str
) -> None:
    drawn = made[backend].draw(TUMORS, seed=1)
    assert (training.labels[drawn.canvases] == 0).all()
    assert (training.labels[drawn.mask_sources] == 1).all()
    assert len(drawn.canvases.unique()) > 5  # type: ignore[union-attr]


@BOTH
def test_image_i_is_bit_equal_whatever_the_count_and_the_start(made: dict[str, EditingGenerator], backend: str) -> None:
    whole = made[backend].draw(TUMORS, seed=5)
    for part in (slice(0, 1), slice(1, 3), slice(31, 34), slice(39, 40)):
        assert same(made[backend].draw(TUMORS[part], seed=5, first=part.start), whole, part)
    assert torch.equal(made[backend].sample(TUMORS, seed=5), whole.images)
    other = made[backend].draw(TUMORS, seed=6)
    assert not any(torch.equal(image, another) for image, another in zip(whole.images, other.images, strict=True))


@BOTH
def test_a_label_that_is_no_tumours_is_refused(made: dict[str, EditingGenerator], backend: str) -> None:
    assert made[backend].makes == (1,)
    with pytest.raises(SettingsError, match="class 'no_tumor' was asked; this generator makes 'tumor'"):
        made[backend].sample(torch.tensor([1, 0]), seed=0)


@BOTH
def test_larger_tumours_are_larger_and_the_generator_stays_as_it_is(
    made: dict[str, EditingGenerator], backend: str
) -> None:
    def area(size: float) -> float:
        masks = draw_samples(with_tumor_size(made[backend], size), TUMORS, seed=2).masks
        assert masks is not None
        return float(masks.flatten(1).sum(1).float().median())

    before = made[backend].draw(TUMORS, seed=2)
    assert area(0.5) * 1.5 < area(1.0) < area(2.0) / 1.5
    assert same(made[backend].draw(TUMORS, seed=2), before)


def test_windows_grow_with_the_tumours_so_that_none_is_cut(both: dict[str, EditingGenerator]) -> None:
    generator = with_tumor_size(both["insert"], 2.0)
    drawn = draw_samples(generator, TUMORS, seed=0)
    normals = draw_latents([1] * 40, NORMALS + generator.latents, seed=0)  # type: ignore[attr-defined]
    places = generator.placer.draw(TUMORS, normals[:, :NORMALS])  # type: ignore[attr-defined]
    assert drawn.masks is not None
    kept = drawn.masks.sum((1, 2)) / places.masks.sum((1, 2, 3))
    assert (kept == 1).float().mean() > 0.9


def test_a_size_is_that_of_the_training_times_the_number_whatever_was_asked_before(
    both: dict[str, EditingGenerator],
) -> None:
    generator = both["insert"]
    assert torch.equal(generator.sized(2.0).sized(1.0).sample(TUMORS, seed=0), generator.sample(TUMORS, seed=0))


@pytest.mark.parametrize("size", [0.1, 5.0, float("nan"), -1.0])
def test_sizes_beyond_all_measure_are_refused(made: dict[str, EditingGenerator], size: float) -> None:
    with pytest.raises(SettingsError, match=r"tumour size .* was asked; 0.25 to 4 times"):
        with_tumor_size(made["insert"], size)


def test_a_whole_image_generator_refuses_a_tumour_size(slices: Path, tmp_path: Path, quick: dict[str, object]) -> None:
    braingan.train(slices, tmp_path / "run", **(quick | {"backend": "dcgan"}))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match=r"tumour size 2.* `insert` and `paste` can"):
        braingan.sample(tmp_path / "run", tmp_path / "out", tumor_size=2.0)
    assert not (tmp_path / "out").exists()
    out = tmp_path / "augmented"
    with pytest.raises(SettingsError, match=r"tumour size 2.* `insert` and `paste` can"):
        braingan.augment(slices, out, tumor_size=2.0, **(quick | {"backend": "dcgan"}))  # type: ignore[arg-type]
    assert not (out / "generator").exists()


def test_two_draws_in_one_place_differ_where_the_tumour_is(made: dict[str, EditingGenerator]) -> None:
    generator = made["insert"]
    places = generator.placer.draw(TUMORS[:8], torch.randn(8, NORMALS))  # type: ignore[attr-defined]
    latents = torch.randn(2, 8, generator.latents)  # type: ignore[attr-defined]
    with torch.inference_mode():
        (one, masks), (other, same_masks) = (generator.edit(places, TUMORS[:8], z) for z in latents)  # type: ignore[attr-defined]
    assert torch.equal(masks, same_masks)
    clear = soften(masks, 32) == 0
    assert torch.equal(one[clear], other[clear])
    inside = masks > 0
    assert all((a - b)[mask].abs().mean() > 0.004 for a, b, mask in zip(one, other, inside, strict=True))
    only_z = latents[0].clone()
    only_z[:, :8] = latents[1, :, :8]
    with torch.inference_mode():
        third, _ = generator.edit(places, TUMORS[:8], only_z)  # type: ignore[attr-defined]
    assert not torch.equal(third, one)


def across(values: Tensor, weights: Tensor) -> Tensor:
    """(N,) mean absolute difference of neighbours, weighted by how much the weights differ between them."""
    steps, total = torch.zeros(len(values)), torch.zeros(len(values))
    for axis in (2, 3):
        length = values.shape[axis] - 1
        step, weight = ((each.narrow(axis, 1, length) - each.narrow(axis, 0, length)).abs()
                        for each in (values, weights))  # fmt: skip
        steps += (step * weight).sum((1, 2, 3))
        total += weight.sum((1, 2, 3))
    return steps / total


@pytest.fixture(scope="module")
def both(fine: TrainingData, tmp_path_factory: pytest.TempPathFactory) -> dict[str, EditingGenerator]:
    """Both backends at 64 pixels, the one after a moment of training."""
    run = TrainingRun(tmp_path_factory.mktemp("both"), steps=10, batch_size=4)
    insert = Insert(base_channels=8, latent_size=8).fit(fine, run)
    return {"insert": insert, "paste": Paste().fit(fine, run)}


@BOTH
def test_there_is_no_seam_around_the_tumour(
    both: dict[str, EditingGenerator], fine: TrainingData, backend: str
) -> None:
    """Neither at the mask's edge nor across the soft one are steps larger than in real tumour slices."""
    drawn = both[backend].draw(TUMORS, seed=0)
    assert fine.masks is not None
    assert drawn.masks is not None
    marked = fine.masks.flatten(1).any(1)
    real, real_masks = fine.images[marked].float(), fine.masks[marked]
    made = to_uint8(drawn.images).float()
    for edge in (lambda masks: masks[:, None].float(), opacity_of):
        assert across(made, edge(drawn.masks)).mean() < 1.1 * across(real, edge(real_masks)).mean()


@BOTH
def test_what_was_changed_fades_out_over_the_masks_edge(
    both: dict[str, EditingGenerator], fine: TrainingData, backend: str
) -> None:
    drawn = both[backend].draw(TUMORS, seed=0)
    assert drawn.masks is not None
    masks = drawn.masks[:, None].float()
    changed = to_uint8(drawn.images).float() - fine.images[drawn.canvases].float()
    inside = (changed.abs() * masks).sum((1, 2, 3)) / masks.sum((1, 2, 3))
    assert (across(changed, masks) / inside).mean() < 0.65  # 0.5 where half of it fades; 0.8 to 1 with a hard edge


@pytest.mark.parametrize("backend", [Insert(base_channels=4, latent_size=8), Paste()])
def test_canvases_and_sources_are_named_by_their_numbers_in_the_training_set(
    training: TrainingData, tmp_path: Path, backend: Insert | Paste
) -> None:
    order = torch.randperm(len(training.labels), generator=torch.Generator().manual_seed(0))
    assert training.masks is not None
    mixed = replace(training, images=training.images[order], labels=training.labels[order], masks=training.masks[order])
    drawn = backend.fit(mixed, TrainingRun(tmp_path, steps=1, batch_size=4)).draw(TUMORS, seed=0)
    assert drawn.masks is not None
    assert drawn.canvases is not None
    assert (mixed.labels[drawn.canvases] == 0).all()
    assert (mixed.labels[drawn.mask_sources] == 1).all()
    clear = opacity_of(drawn.masks) == 0
    assert torch.equal(to_uint8(drawn.images)[clear], mixed.images[drawn.canvases][clear])


@BOTH
def test_what_is_made_and_where_does_not_depend_on_the_callers_random_state(
    made: dict[str, EditingGenerator], backend: str
) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    one = made[backend].draw(TUMORS[:3], seed=1)
    assert torch.equal(before, torch.random.get_rng_state())
    torch.manual_seed(4)
    assert same(made[backend].draw(TUMORS[:3], seed=1), one)


@BOTH
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_generator_that_is_stored_and_loaded_gives_the_same(
    slices: Path, training: TrainingData, tmp_path: Path, quick: dict[str, object], backend: str, precision: str
) -> None:
    options = quick | {"backend": backend, "precision": precision}
    if backend == "paste":
        options["hyperparameters"] = {}
    braingan.train(slices, tmp_path / "run", **options)  # type: ignore[arg-type]
    (tmp_path / "again").mkdir()
    settings = load_run(tmp_path / "run").settings
    run = TrainingRun(tmp_path / "again", steps=settings.steps, batch_size=settings.batch_size, precision=precision)
    generator = create_backend(backend, **settings.hyperparameters).fit(training, run)
    for loaded in (braingan.load_generator(tmp_path / "run"), load_run(tmp_path / "run").generator):
        assert same(draw_samples(loaded, TUMORS[:6], seed=1), draw_samples(generator, TUMORS[:6], seed=1))
        assert getattr(loaded, "precision", precision) == precision


def test_in_bfloat16_only_the_tumour_is_a_little_coarser(inserting: Path, training: TrainingData) -> None:
    exact = load_run(inserting).generator
    coarse = exact.in_precision("bfloat16")  # type: ignore[attr-defined]
    one, other = (generator.draw(TUMORS, seed=1) for generator in (exact, coarse))  # type: ignore[attr-defined]
    assert torch.equal(one.masks, other.masks)
    clear = opacity_of(one.masks) == 0
    assert torch.equal(to_uint8(other.images)[clear], training.images[other.canvases][clear])
    assert not torch.equal(one.images, other.images)
    assert (one.images - other.images).abs().max() < 0.05


@pytest.mark.parametrize("size", [32, 64, 128, 256])
def test_insert_makes_every_size_that_it_promises(size: int) -> None:
    spec = braingan.ImageSpec(size, 1, ("healthy", "tumor"))
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4, 1, size, size), dtype=torch.uint8, generator=random)
    masks = torch.zeros(4, size, size, dtype=torch.bool)
    masks[2:, size // 2 : size // 2 + size // 8, size // 2 : size // 2 + size // 8] = True
    data = TrainingData(images, torch.tensor([0, 0, 1, 1]), spec, masks=masks)
    G, _ = Insert(base_channels=2, latent_size=4).networks(spec)
    generator = Insert(base_channels=2, latent_size=4).generator(G, data, "float32")
    assert generator.sample(torch.ones(2, dtype=torch.int64), seed=0).shape == (2, 1, size, size)


@pytest.mark.parametrize("size", [16, 48, 512])
def test_other_sizes_are_refused(size: int) -> None:
    for backend in (Insert(), Paste()):
        with pytest.raises(SettingsError, match=f"was asked for size {size}; 32, 64, 128, 256 work"):
            backend.check(braingan.ImageSpec(size, 1, ("healthy", "tumor")))


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_variation_that_is_no_measure_is_refused(value: float) -> None:
    for backend in (Insert(variation=value), Paste(variation=value)):
        with pytest.raises(SettingsError, match=f"variation {value}"):
            backend.check(braingan.ImageSpec(32, 1, ("healthy", "tumor")))
