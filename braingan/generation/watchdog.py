"""A training that looks at its own samples: which step was best, and whether it still gets anywhere."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from braingan.generation.features import diversity, kernel_distance, random_features
from braingan.generation.protocol import TrainingData, TrainingRun

log = logging.getLogger("braingan")

MEASURE_EVERY = 100  # steps; not a share of the run, so that a longer run repeats a shorter one
FEWEST_HELD_OUT = 64  # images below which a distance to held-out ones says more of them than of the generator
MOST = 512  # images on either side
ALIKE = 0.3  # of the real images' diversity; below, samples are called nearly alike
EARLY = 200  # steps in which samples are alike because nothing has been learned yet
AWAY = 3.0  # times the best distance; beyond, training is said to move away


@dataclass
class Watch:
    """What has been seen so far; JSON-able, and part of every checkpoint.

    Attributes:
        best_step: step of the smallest distance; 0 before the first measurement.
        best_distance: the smallest distance.
        since_best: measurements after it.
        gave_up: whether patience ran out.
        told: what has been said already, and need not be said again.
    """

    best_step: int = 0
    best_distance: float = float("inf")
    since_best: int = 0
    gave_up: bool = False
    told: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Watch:
        """From what `to_json` gave."""
        known = {field.name: value[field.name] for field in fields(cls) if field.name in value}
        return cls(**(known | {"told": tuple(known.get("told", ()))}))


class Watchdog:
    """Measures samples against real images.

    Args:
        data: the training images and, where there are enough, held-out ones.
        run: its seed and patience.
        made: labels that the generator makes; images of others are not looked at. None for all.
        judges: whether the best step matters; else measurements are noted, and patience never runs out.

    Attributes:
        watch: what has been seen so far.
        regular: the same without a last measurement that was made because the run ended: what a longer run would
            have seen, and what checkpoints hold.
        against: what samples are compared with, in words.
    """

    def __init__(
        self, data: TrainingData, run: TrainingRun, made: Sequence[int] | None = None, *, judges: bool = True
    ) -> None:
        self.watch, self.regular, self.patience = Watch(), Watch(), run.patience if judges else 0
        self.judges, most = judges, MOST if judges else FEWEST_HELD_OUT
        images, labels = _of(data.reference_images, data.reference_labels, made)
        if len(images) >= FEWEST_HELD_OUT:
            self.against = f"{min(len(images), most)} held-out images of the validation part"
        else:
            few = f" (only {len(images)} images are held out)" if len(images) else ""
            images, labels = _of(data.images, data.labels, made)
            self.against = f"{min(len(images), most)} training images{few}"
        chosen = torch.linspace(0, len(images) - 1, min(len(images), most)).long()
        self._images, self._labels = images[chosen], labels[chosen]
        self._real: Tensor | None = None

    @property
    def able(self) -> bool:
        """Whether there are images enough to compare with."""
        return len(self._labels) > 1

    def take_up(self, watch: Watch) -> None:
        """Go on from what a checkpoint holds; patience may have changed since."""
        watch.gave_up = bool(self.patience) and watch.since_best >= self.patience
        if watch.gave_up:
            log.info(
                "no better samples for %d measurements: training has ended; --patience 0 goes on", watch.since_best
            )
        self.watch, self.regular = watch, replace(watch)

    @property
    def kept(self) -> int:
        """The step to keep: the best one, or 0 for the last."""
        return self.watch.best_step if self.judges else 0

    def measure(self, step: int, sample: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """Compare samples with real images, and say what is wrong with them.

        Args:
            step: updates of G so far.
            sample: labels -> (N, C, H, W) uint8.

        Returns:
            `distance` (see `features.kernel_distance`) and `diversity` (of the samples, as a share of the real
            images').
        """
        if self._real is None:
            features = random_features(self._images)
            self._mean, self._spread = features.mean(0), features.std(0).clamp_min(1e-3)
            self._real = (features - self._mean) / self._spread
            self._diversity = diversity(self._real, self._labels)
        fake = (random_features(sample(self._labels)) - self._mean) / self._spread
        distance = kernel_distance(self._real, fake)
        share = diversity(fake, self._labels) / self._diversity if self._diversity else 1.0
        self._note(step, distance, share)
        if step % MEASURE_EVERY == 0:
            self.regular = replace(self.watch)
        return {"distance": round(distance, 6), "diversity": round(share, 4)}

    def _note(self, step: int, distance: float, share: float) -> None:
        watch = self.watch
        if distance < watch.best_distance:
            watch.best_step, watch.best_distance, watch.since_best = step, distance, 0
        else:
            watch.since_best += 1
        if share < ALIKE and step > EARLY:
            self._say("collapse", f"step {step}: samples of a class are nearly alike (they differ {share:.0%} as much "
                      "as real images do): the generator has collapsed; a lower learning_rate or another backend "
                      "may help")  # fmt: skip
        if distance > AWAY * max(watch.best_distance, 0.01) and watch.since_best > 1:
            kept = ", which is kept" if self.judges else ""
            self._say("divergence", f"step {step}: samples move away from real images (distance {distance:.3g}; it was "
                      f"{watch.best_distance:.3g} at step {watch.best_step}{kept})")  # fmt: skip
        if self.patience and watch.since_best >= self.patience:
            watch.gave_up = True
            log.info("step %d: no better samples for %d measurements: training ends; step %d was best",
                     step, watch.since_best, watch.best_step)  # fmt: skip

    def _say(self, what: str, message: str) -> None:
        if what not in self.watch.told:
            self.watch.told = (*self.watch.told, what)
            log.warning("%s", message)


def _of(images: Tensor | None, labels: Tensor | None, made: Sequence[int] | None) -> tuple[Tensor, Tensor]:
    """The images of these classes; none where there are no images."""
    if images is None or labels is None:
        return torch.zeros(0, 1, 1, 1, dtype=torch.uint8), torch.zeros(0, dtype=torch.int64)
    if made is None:
        return images, labels
    own = torch.isin(labels, torch.tensor(made))
    return images[own], labels[own]
