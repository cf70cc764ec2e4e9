"""Writing that leaves nothing half-written, and the names of contents."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from braingan.errors import OutputError


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(value: Any) -> str:
    """Hexadecimal SHA-256 of a JSON-able value, the same whatever the order of its keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path beside `path`; what was written there takes its place when the block ends well.

    Args:
        path: the file.
        durable: wait until the content is on the disk before it takes its place, and the place too, so that not even
            a power cut leaves half of it.

    Raises:
        OutputError: the file cannot be written (a read-only folder, a full disk).
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")  # other machines may write here, too
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
        mode = beside.stat().st_mode
        yield beside
        beside.chmod(mode)  # safetensors writes for its owner alone; here the user's umask decides
        if durable:
            _sync(beside)
        os.replace(beside, path)
        if durable:
            _sync(path.parent)
    except (OSError, SafetensorError) as error:  # safetensors has a name of its own for a full disk
        raise OutputError(f"cannot write {path}: {getattr(error, 'strerror', None) or error}") from error
    finally:
        with suppress(OSError):
            beside.unlink()


def _sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    folder = path.is_dir()
    try:
        descriptor = os.open(path, os.O_RDONLY if folder else os.O_RDWR)  # Windows syncs only what may be written
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        if not folder:  # Windows opens no folders, and some shared disks sync none; the file is in its place
            raise


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield a new folder beside `path`; it becomes `path` when the block ends well.

    Raises:
        OutputError: `path` exists and is not empty, or cannot be written.
    """
    refuse_unless_empty(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        beside.chmod(0o755)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    try:
        yield beside
        os.replace(beside, path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def refuse_unless_empty(path: Path) -> None:
    """Raise `OutputError` where something would be overwritten."""
    if path.exists() and not path.is_dir():
        raise OutputError(f"{path} is a file; give a new or empty folder")
    if path.is_dir() and any(path.iterdir()):
        raise OutputError(f"{path} is not empty; give a new or empty folder")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, whole or not at all."""
    with replacing(path) as beside:
        beside.write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        OutputError: the file is missing or is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise OutputError(f"{path} does not exist") from error
    except (ValueError, OSError) as error:
        raise OutputError(f"{path} cannot be read as JSON: {error}") from error
