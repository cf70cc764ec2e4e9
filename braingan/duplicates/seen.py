"""What a generator has seen, in a form that can travel with its images: content hashes and fingerprints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from braingan.data.files import replacing
from braingan.duplicates.fingerprints import BITS, fingerprints, matches
from braingan.duplicates.twins import Looks, find_twins_across
from braingan.errors import OutputError

SEEN = "seen.safetensors"
BYTES = 32  # of a SHA-256


@dataclass(frozen=True)
class Seen:
    """The images that something has learned from. No picture and no name can be had from it.

    Attributes:
        hashes: SHA-256 of each file's content, hexadecimal.
        fingerprints: (N, 64) uint8, see `braingan.duplicates.fingerprints`.
    """

    hashes: tuple[str, ...]
    fingerprints: np.ndarray

    @classmethod
    def of(cls, looks: Looks) -> Seen:
        """What is kept of images."""
        return cls(tuple(looks.hashes), fingerprints(looks.views))

    def among(self, looks: Looks) -> np.ndarray:
        """(N,) bool: which of some images are among these, by content or by picture."""
        found = self.contents_among(looks)
        if len(self.hashes) and len(looks):
            found[matches(looks.views, self.fingerprints)[:, 0]] = True
        return found

    def contents_among(self, looks: Looks) -> np.ndarray:
        """(N,) bool: which of some images are among these byte for byte; one that shows nothing says nothing."""
        known = set(self.hashes) - {""}
        return np.array([name in known for name in looks.hashes], bool) & looks.views.any(axis=(1, 2))

    def without(self, looks: Looks) -> Seen:
        """What is left when some images, and what shows the same picture, are taken away."""
        left = self.without_contents(looks)
        if not len(left.hashes) or not len(looks):
            return left
        known = np.zeros(len(left.hashes), bool)
        known[matches(looks.views, left.fingerprints)[:, 1]] = True
        return left._at(np.flatnonzero(~known))

    def without_contents(self, looks: Looks) -> Seen:
        """What is left when the very same files are taken away."""
        taken = set(looks.hashes)
        return self._at(np.array([number for number, name in enumerate(self.hashes) if name not in taken], np.int64))

    def _at(self, kept: np.ndarray) -> Seen:
        return Seen(tuple(self.hashes[number] for number in kept), self.fingerprints[kept])

    def save(self, folder: Path) -> None:
        """Write `seen.safetensors`."""
        contents = b"".join(bytes.fromhex(name) for name in self.hashes)
        arrays = {
            "sha256": np.frombuffer(contents, np.uint8).reshape(len(self.hashes), BYTES),
            "fingerprints": np.ascontiguousarray(self.fingerprints),
        }
        with replacing(folder / SEEN) as beside:
            save_file(arrays, beside)

    @classmethod
    def load(cls, folder: Path) -> Seen:
        """Read what `save` wrote.

        Raises:
            OutputError: the file is missing or damaged.
        """
        path = folder / SEEN
        if not path.exists():
            raise OutputError(
                f"{folder} does not say what its generator has seen ({SEEN} is missing), so a leak could not be "
                "noticed; make it again with this version"
            )
        try:
            arrays = load_file(path)
            hashes = tuple(row.tobytes().hex() for row in arrays["sha256"])
            kept = arrays["fingerprints"]
            if kept.dtype != np.uint8 or kept.shape != (len(hashes), BITS // 8):
                raise ValueError(f"fingerprints are {kept.shape} {kept.dtype}")
            return cls(hashes, kept)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise OutputError(f"{path} is damaged: {type(error).__name__}: {error}") from error


@dataclass(frozen=True)
class Leak:
    """Held-out images that something has seen.

    Attributes:
        leaked: (N,) bool: seen, and in no training image of the user's: the fault of whoever trained it.
        shared: (N,) bool: seen, but the user's own training images show the same picture: the data's fault.
    """

    leaked: np.ndarray
    shared: np.ndarray


def find_leak(seen: Seen, held_out: Looks, train: Looks) -> Leak:
    """Which held-out images were seen. What was trained on `train` alone never leaks: its images are no fault."""
    foreign = seen.without_contents(train)  # nothing is left of what was trained on `train` alone
    exact = foreign.contents_among(held_out)
    alike = foreign.without(train).among(held_out) & ~exact
    if alike.any():  # pixels are at hand here, and tell more than fingerprints
        numbers = np.flatnonzero(alike)
        suspects = Looks(held_out.views[numbers], [held_out.hashes[int(number)] for number in numbers])
        alike[numbers[sorted({twin.first for twin in find_twins_across(suspects, train)})]] = False
    leaked = exact | alike
    return Leak(leaked, seen.among(held_out) & ~leaked)


def some_names(names: Sequence[str]) -> str:
    """The first three of some names, as a message has them.

    >>> some_names(["a", "b", "c", "d"])
    'a, b, c, ...'
    """
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
