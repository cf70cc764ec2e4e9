"""The classifier whose gain or loss is the question: any timm model, or the user's own."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.models import adapt_input_conv
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - the name that everybody uses

from braingan.data.records import ImageSpec
from braingan.engine.convolutions import take_quick_ways
from braingan.engine.images import fits
from braingan.engine.precision import Arithmetic, choose_precision
from braingan.entry_points import import_function
from braingan.errors import SettingsError
from braingan.evaluation.augmentation import Mixing, augment_batch, augment_strongly, normalise
from braingan.evaluation.recipes import PLAIN, Recipe, RecipeSampler
from braingan.progress import Progress

log = logging.getLogger("braingan")

LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.05
LOOK_EVERY = 10  # steps: reading a loss waits for the GPU


@dataclass(frozen=True)
class ClassifierSettings:
    """How every classifier of a benchmark is made and trained, the same for all arms.

    Attributes:
        model: a timm name, or `package.module:function`, called with `num_classes` and `in_chans`.
        weights: a safetensors file to start from, or None.
        pretrained: whether to start from the weights that timm knows of (needs a network).
        steps: optimiser steps; equal steps, not epochs, or a larger training set would also train longer.
        batch_size: images in a step.
        learning_rate: AdamW's, at the height of its schedule (a short rise, then a cosine).
    """

    model: str = "resnet10t"
    weights: str | None = None
    pretrained: bool = False
    steps: int = 300
    batch_size: int = 32
    learning_rate: float = LEARNING_RATE

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise SettingsError(f"{self.steps} classifier steps of {self.batch_size} images were asked; 1 or more work")
        if not 0 < self.learning_rate < math.inf:
            asked = f"a classifier learning rate of {self.learning_rate:g} was asked"
            raise SettingsError(f"{asked}; above 0 works, such as {LEARNING_RATE:g}")
        if self.weights and self.pretrained:
            raise SettingsError("--weights and --pretrained were both asked; give one of them")
        if self.weights and not self.weights.endswith(".safetensors"):
            raise SettingsError(f"weights {self.weights} were given; only .safetensors files are read (no pickles)")


def build_classifier(settings: ClassifierSettings, spec: ImageSpec) -> nn.Module:
    """An untrained, or pretrained, classifier for these images: (N, C, H, W) float32 -> logits (N, classes).

    Raises:
        SettingsError: the model or its weights cannot be had.
    """
    classes, channels = len(spec.classes), spec.channels
    if ":" in settings.model:
        model = import_function(settings.model, "model")(num_classes=classes, in_chans=channels)
        if not isinstance(model, nn.Module):
            raise SettingsError(f"{settings.model} gave a {type(model).__name__}; it must give a torch.nn.Module")
        if settings.pretrained:
            raise SettingsError(f"--pretrained is timm's; {settings.model} is your own: give --weights FILE")
        return _with_weights(model, settings.weights) if settings.weights else model
    if not timm.is_model(settings.model.partition(".")[0]):
        near = timm.list_models(f"*{settings.model[:6]}*")[:3]
        hint = f"did you mean {', '.join(near)}?" if near else "`timm.list_models()` lists the names"
        raise SettingsError(f"timm has no model {settings.model!r}; {hint}")
    return _timm_model(settings, spec)


def check_classifier(settings: ClassifierSettings, spec: ImageSpec) -> None:
    """Build a classifier and show it an image: what it would refuse after hours is refused now.

    Raises:
        SettingsError: it cannot be had, cannot read images of this size, or does not give a logit for each class.
    """
    size, classes = spec.size, len(spec.classes)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        model = build_classifier(settings, spec).eval()
        try:
            given = tuple(model(torch.zeros(2, spec.channels, size, size)).shape)
        except Exception as error:  # models refuse sizes in many ways
            raise SettingsError(
                f"--model {settings.model} cannot read images of {size}x{size} pixels ({_one_line(error)}); another "
                "--size or --model may work"
            ) from error
    if given != (2, classes):
        raise SettingsError(
            f"--model {settings.model} gave {given} for 2 images of {classes} classes; (2, {classes}), logits, works"
        )


def _timm_model(settings: ClassifierSettings, spec: ImageSpec) -> nn.Module:
    kind: dict[str, Any] = {"num_classes": len(spec.classes), "in_chans": spec.channels}
    try:
        known = timm.models.get_pretrained_cfg(settings.model)
        if known and known.fixed_input_size:  # transformers, made for one size
            kind["img_size"] = spec.size
        model: nn.Module = timm.create_model(settings.model, **kind)
    except Exception as error:  # its many models refuse sizes and channels in as many ways
        made = f"{spec.channels} channel(s) of {spec.size}x{spec.size} pixels"
        raise SettingsError(f"timm cannot make {settings.model} for {made}: {_one_line(error)}") from error
    weights = _download(model, settings.model) if settings.pretrained else settings.weights
    return _with_weights(model, weights) if weights else model


def _download(model: nn.Module, name: str) -> str:
    """The safetensors file that timm names for a model; timm itself would also take a pickle."""
    config = getattr(model, "pretrained_cfg", {})
    try:
        return str(hf_hub_download(config["hf_hub_id"], "model.safetensors"))
    except Exception as error:  # no such file, no network, no permission
        raise SettingsError(
            f"pretrained weights of {name} cannot be had ({_one_line(error)}); "
            "without a network, give a file with --weights, or leave --pretrained out"
        ) from error


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


def _with_weights(model: nn.Module, weights: str) -> nn.Module:
    """Load a whole state dict; only a first layer of other channels, and a head of other classes, are adapted."""
    try:
        state = load_file(weights)
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"weights {weights} cannot be read: {' '.join(str(error).split())}") from error
    config: dict[str, Any] = getattr(model, "pretrained_cfg", {})  # of timm's models
    own = model.state_dict()
    first = f"{config.get('first_conv')}.weight"
    if first in state and first in own and state[first].shape[1] == 3:
        state[first] = adapt_input_conv(own[first].shape[1], state[first])
    head = tuple(f"{name}." for name in _as_tuple(config.get("classifier")))
    wrong = [
        name
        for name in {**own, **state}
        if name not in state or name not in own or state[name].shape != own[name].shape
        if not (head and name.startswith(head))
    ]
    if wrong:
        others = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise SettingsError(f"weights {weights} do not fit {type(model).__name__}: {wrong[0]}{others}")
    fitting = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    model.load_state_dict(own | fitting)
    return model


def _as_tuple(names: str | tuple[str, ...] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


def train_classifier(
    images: Tensor, labels: Tensor, spec: ImageSpec, settings: ClassifierSettings, *, seed: int, device: torch.device,
    title: str = "classifier", precision: str = "float32", synthetic: Tensor | None = None, share: float | None = None,
    recipe: Recipe = PLAIN,
) -> nn.Module:  # fmt: skip
    """Train one classifier.

    Draws from random state of its own and leaves the caller's alone. How often it sees what: `recipes.seen`.

    Args:
        images: (N, C, H, W) uint8.
        labels: (N,) int64.
        spec: of the images.
        settings: the same for every arm.
        seed: of initial weights, order and augmentation.
        device: where to compute.
        title: of the progress bar.
        precision: "float32", "bfloat16" or "float16", the same for every arm; see `choose_classifier_precision`.
        synthetic: (N,) bool, which of the images are synthetic; only a share or `pretrain` needs to know.
        share: 0 to 1, how much of what is seen of each class is synthetic; None draws all images of a class alike.
        recipe: how the images are seen; by default all classes equally often, mildly augmented.

    Returns:
        The classifier in evaluation mode, on `device`; its weights are float32.

    Raises:
        SettingsError: the model, its weights, the precision, the share or the recipe cannot be had.
    """
    if recipe.mixing and settings.batch_size < 2:
        raise SettingsError("mixing was asked of batches of 1 image; a batch size of 2 or more works")
    shown: dict[str, float] = {}
    with _own_random_state(seed, device):
        sampler = RecipeSampler(labels, recipe, settings.steps, seed=seed, synthetic=synthetic, share=share)
        learner = _Learner(images, labels, spec, settings, sampler, device, precision, recipe, seed)
        with Progress(title, settings.steps, "steps") as progress:
            for step in range(settings.steps):
                loss = learner.step(step)
                if step % LOOK_EVERY == 0 or step == settings.steps - 1:
                    shown = {"loss": float(loss)}
                progress.advance(1, shown)
    return learner.model.eval()


def choose_classifier_precision(
    images: Tensor, labels: Tensor, spec: ImageSpec, settings: ClassifierSettings, device: torch.device
) -> str:
    """The quickest precision for a classifier on a device, from a few timed steps.

    Depthwise convolutions are slower in bfloat16 on many CPUs, plain ones faster: it depends on model and machine. To
    be asked once for a whole benchmark, so that all arms are trained alike. Leaves the caller's random state alone.

    Args:
        images: (N, C, H, W) uint8, some to try with.
        labels: (N,) int64.
        spec: of the images.
        settings: of the classifiers.
        device: where they will be trained.

    Returns:
        "float32", "bfloat16" or "float16".
    """

    def trial(precision: str) -> Callable[[], Tensor]:
        torch.manual_seed(0)
        sampler = RecipeSampler(labels, PLAIN, settings.steps, seed=0)
        learner, steps = _Learner(images, labels, spec, settings, sampler, device, precision), count()
        return lambda: learner.step(next(steps))

    with _own_random_state(0, device):
        best, milliseconds = choose_precision(device, trial)
    log.info("classifiers are trained in %s (milliseconds a step: %s)", best, milliseconds)
    return best


@contextmanager
def _own_random_state(seed: int, device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


class _Learner:
    """A classifier in training, on images that are where it is."""

    def __init__(
        self, images: Tensor, labels: Tensor, spec: ImageSpec, settings: ClassifierSettings, sampler: RecipeSampler,
        device: torch.device, precision: str, recipe: Recipe = PLAIN, seed: int = 0,
    ) -> None:  # fmt: skip
        self.settings, self.sampler, self.device, self.recipe = settings, sampler, device, recipe
        self.mixing = Mixing(len(spec.classes), seed=seed) if recipe.mixing else None
        self.arithmetic = Arithmetic(precision, device)
        self.images = images.to(device) if fits(images, device) else images
        self.labels = labels.to(device)
        model = take_quick_ways(build_classifier(settings, spec)).to(device).train()
        self.model: nn.Module = model.to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), settings.learning_rate, weight_decay=WEIGHT_DECAY, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, partial(_rate, steps=settings.steps))

    def step(self, number: int) -> Tensor:
        """One update; the loss stays on the device, as reading it would wait for it."""
        chosen = self.sampler.batch(number, self.settings.batch_size)
        there = chosen.to(self.device, non_blocking=True)
        pixels = self.images[chosen.to(self.images.device, non_blocking=True)].to(self.device)
        if self.recipe.augmentation == "strong":
            pixels = augment_strongly(pixels)
        batch, targets = augment_batch(normalise(pixels)), self.labels[there]
        if self.mixing:
            batch, targets = self.mixing(batch, targets)
        with self.arithmetic.autocast():
            logits: Tensor = self.model(batch.contiguous(memory_format=torch.channels_last))
        loss = F.cross_entropy(logits.float(), targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.arithmetic.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.arithmetic.scaler.step(self.optimizer)
        self.arithmetic.scaler.update()
        self.schedule.step()
        return loss.detach()


def _rate(step: int, steps: int) -> float:
    """Share of the learning rate: up in a straight line for a fifth of the steps, then down in a cosine."""
    rise = max(1, steps // 5)
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def predict(model: nn.Module, images: Tensor, *, device: torch.device, batch_size: int = 128) -> Tensor:
    """Class probabilities.

    Args:
        model: gives logits.
        images: (N, C, H, W) uint8.
        device: where the model is.
        batch_size: images at a time.

    Returns:
        (N, classes) float64 on the CPU; rows sum to 1. In float32, images that it is sure of would have no order.
    """
    with torch.inference_mode():
        batches = [
            model(normalise(part.to(device)).contiguous(memory_format=torch.channels_last)).cpu()
            for part in torch.split(images, batch_size)
        ]
    return torch.cat(batches).double().softmax(dim=1)
