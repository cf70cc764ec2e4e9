"""A path in any known format -> `ImageSet`."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from braingan.data.findings import Findings
from braingan.data.records import ImageSet
from braingan.data.walking import names_below, printable
from braingan.entry_points import PluginInfo, Plugins
from braingan.errors import DataError

log = logging.getLogger("braingan")

AUTO, FALLBACK = "auto", "folders"


class Reader(Protocol):
    """A format: a frozen dataclass whose fields, each with a default, are its options.

    Third parties add theirs through the entry-point group `braingan.readers`.
    """

    def recognises(self, files: Sequence[str]) -> bool:
        """Whether a folder is in this format.

        Args:
            files: names of all files below it that are not hidden, relative, with forward slashes, sorted.
        """

    def read(self, data: Path, findings: Findings) -> ImageSet:
        """Read the structure; pixels only as far as classes depend on them.

        Args:
            data: an existing folder.
            findings: receives files that cannot be used; `findings.refuse(data)` raises unless they are skipped.

        Raises:
            DataError: nothing in it can be used, or a package is missing that the format needs.
        """


READERS: Plugins[Reader] = Plugins("braingan.readers", "format", DataError, "option")


def list_readers() -> list[PluginInfo]:
    """All readers by name. One that cannot be loaded is listed with its error."""
    return [READERS.info(name) for name in READERS.names()]


def read_data(
    data: Path, findings: Findings, *, format: str = AUTO, options: Mapping[str, Any] | None = None
) -> ImageSet:
    """Read the structure of a data folder.

    Args:
        data: the folder.
        findings: receives the files that cannot be used.
        format: name of a reader, or `auto`: the one that recognises the folder, else class folders.
        options: fields of the reader.

    Raises:
        DataError: the folder cannot be used.
        SettingsError: an option that the reader has not.
    """
    data = Path(data)
    name = recognise(data) if format == AUTO else format
    reader = READERS.create(name, options or {})
    _check_folder(data)
    return reader.read(data, findings)


def recognise(data: Path) -> str:
    """Name of the format of a folder.

    Raises:
        DataError: two readers claim it.
    """
    _check_folder(data)
    files = _names_below(data)
    claimed = [name for name, reader in READERS.create_all().items() if _recognises(name, reader, files)]
    if len(claimed) > 1:
        raise DataError(
            f"{data} looks like {' and like '.join(claimed)}; say which with --format (inspect, prepare), "
            "or keep them in two folders"
        )
    return claimed[0] if claimed else FALLBACK


def _recognises(name: str, reader: Reader, files: Sequence[str]) -> bool:
    try:
        return reader.recognises(files)
    except Exception as error:  # a plugin may fail in any way, and must harm nobody else
        log.warning("format %s is left out, it fails: %s: %s", name, type(error).__name__, error)
        return False


def _check_folder(data: Path) -> None:
    if not os.path.isdir(data):  # and not Path.is_dir, which raises where a name is too long
        raise DataError(f"{data} is not a folder; give a folder that holds a subfolder of images for each class")


def _names_below(data: Path) -> list[str]:
    try:
        return names_below(data)
    except OSError as error:
        raise DataError(f"{data} cannot be read: {printable(str(error))}") from error


def read_images(
    data: str | Path,
    *,
    transform: Callable[[Any], Any] | None = None,
    skip_bad: bool = False,
    format: str = AUTO,
    options: Mapping[str, Any] | None = None,
) -> ImageSet:
    """A data folder as a dataset of (PIL image, label).

    Args:
        data: the folder.
        transform: applied to each image.
        skip_bad: leave out files that are no images, and rows without their file, instead of refusing.
        format: see `braingan inspect --format`.
        options: of the format.

    Raises:
        DataError: the folder cannot be used.
    """
    found = read_data(Path(data), Findings(skip_bad), format=format, options=options)
    return ImageSet(found.records, found.classes, has_patients=found.has_patients, transform=transform)
