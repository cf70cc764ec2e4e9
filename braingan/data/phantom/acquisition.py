"""From tissues to an 8-bit image: contrast of the sequence, coil, blur, noise and gain."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .anatomy import Head
from .fields import OVERSAMPLING, Field, Lattice, shrink, stream
from .tumor import Kind, Lesion

# Signal of each tissue between 0 (air) and 1 (the brightest).
SIGNALS: dict[str, dict[str, float]] = {
    "t1c": {
        "skin": 0.50, "fat": 0.92, "muscle": 0.38, "bone": 0.06, "marrow": 0.42, "csf": 0.14, "grey": 0.46,
        "white": 0.60, "deep": 0.52, "spot": 0.50, "vessel": 0.90, "plexus": 0.80, "edema": 0.46,
    },
    "t2": {
        "skin": 0.30, "fat": 0.62, "muscle": 0.25, "bone": 0.05, "marrow": 0.32, "csf": 0.80, "grey": 0.50,
        "white": 0.37, "deep": 0.43, "spot": 0.62, "vessel": 0.15, "plexus": 0.60, "edema": 0.72,
    },
    "flair": {
        "skin": 0.40, "fat": 0.80, "muscle": 0.30, "bone": 0.06, "marrow": 0.35, "csf": 0.12, "grey": 0.52,
        "white": 0.40, "deep": 0.48, "spot": 0.66, "vessel": 0.25, "plexus": 0.50, "edema": 0.66,
    },
}  # fmt: skip

SEQUENCES = {"flair": 0.7, "t1c": 0.15, "t2": 0.15}  # share of the patients

# Signal of the core and of the rim of each kind of tumour.
LESIONS: dict[str, dict[Kind, tuple[float, float]]] = {
    "t1c": {"solid": (0.86, 0.90), "ring": (0.22, 0.95), "diffuse": (0.80, 0.82)},
    "t2": {"solid": (0.80, 0.76), "ring": (0.90, 0.52), "diffuse": (0.78, 0.76)},
    "flair": {"solid": (0.80, 0.82), "ring": (0.58, 0.86), "diffuse": (0.78, 0.76)},
}


@dataclass(frozen=True)
class Scanner:
    """How one patient was imaged.

    Attributes:
        sequence: A key of SIGNALS.
        gain: Overall brightness, up to 1.
        contrast: Exponent of the signals.
        bias: Noise of the coil's sensitivity.
        bias_strength: Its standard deviation, in natural logarithms.
        texture: Fine noise of the tissues themselves.
        blur: Standard deviation as a share of the image's side.
        noise: Standard deviation in both channels, where the brightest signal is 1.
    """

    sequence: str
    gain: float
    contrast: float
    bias: Lattice
    bias_strength: float
    texture: Lattice
    blur: float
    noise: float

    @classmethod
    def draw(cls, seed: int, patient: int) -> Scanner:
        """Draw the settings of a patient's scan: the same for the same seed and patient."""
        random = stream(seed, patient, 2)
        even = random.uniform
        return cls(
            sequence=str(random.choice(list(SEQUENCES), p=list(SEQUENCES.values()))),
            gain=float(np.exp(even(np.log(0.45), np.log(1.0)))),
            contrast=even(0.85, 1.2),
            bias=Lattice.draw(random, 5, 5, heights=5),
            bias_strength=even(0.03, 0.12),
            texture=Lattice.draw(random, 48, 48, heights=24),
            blur=even(0.0025, 0.0050),
            noise=even(0.008, 0.024),
        )

    def paint(self, head: Head, lesion: Lesion | None = None) -> Field:
        """Give every tissue its signal: (N, N) in [0, 1]."""
        signals = SIGNALS[self.sequence]
        layers = [(signals[tissue], cover) for tissue, cover in head.layers]
        if lesion is not None:
            core, rim = LESIONS[self.sequence][lesion.kind]
            layers += [(signals["edema"], lesion.edema), (core, lesion.core), (rim, lesion.rim)]
        image = np.zeros_like(head.brain)
        for signal, cover in layers:
            image += cover * (np.float32(signal**self.contrast) - image)
        return image

    def expose(self, image: Field, height: float, size: int, random: np.random.Generator) -> NDArray[np.uint8]:
        """Turn signals into what the scanner stores: (size, size) in 0-255."""
        image = image * (1 + 0.035 * self.texture.on_frame(height, size))
        image = image * np.exp(self.bias_strength * self.bias.on_frame(height, size))
        image = shrink(ndimage.gaussian_filter(image, self.blur * size * OVERSAMPLING))
        real, imaginary = self.noise * random.standard_normal((2, size, size))
        stored: Field = (
            255 * 0.95 * self.gain * np.hypot(image + real, imaginary)
        )  # magnitude of a complex signal: Rician
        image8: NDArray[np.uint8] = np.clip(np.rint(stored), 0, 255).astype(np.uint8)
        return image8
