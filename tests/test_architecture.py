"""Nothing flows back: a module imports only from rooms to its left, and plugins are imported by nobody."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    "data",
    "duplicates",
    "engine",
    "generation",
    "augmentation",
    "evaluation",
    "experiment",
    "inspection",
    "reporting",
    "api",
    "cli",
]
LEAVES = {"entry_points", "errors", "memory", "progress", "threads", "versions"}  # everybody may use these
ROOF = {"__init__", "testing"}  # these may use every room


def imports_of(source: str) -> list[str]:
    """Names of modules that are imported anywhere in a file, also inside functions."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found += [
                f"{node.module}.{alias.name}" if node.module == "braingan" else node.module for alias in node.names
            ]
    return found


def violations(room: str, source: str) -> list[str]:
    """Imports that a module of a room may not make."""
    wrong = []
    for name in imports_of(source):
        package, _, rest = name.partition(".")
        other = rest.partition(".")[0]
        if package.startswith("braingan_"):
            wrong.append(name)
        if package != "braingan" or other in LEAVES | {room, ""}:
            continue
        if room in LEAVES or other not in ROOMS or ROOMS.index(other) > ROOMS.index(room):
            wrong.append(name)
    return wrong


def modules() -> list[tuple[str, Path]]:
    package = ROOT / "braingan"
    rooms = ((path.relative_to(package).parts[0].removesuffix(".py"), path) for path in package.rglob("*.py"))
    return [(room, path) for room, path in rooms if room not in ROOF]


@pytest.mark.parametrize(("room", "path"), modules(), ids=lambda value: getattr(value, "name", value))
def test_a_module_imports_only_from_rooms_to_its_left(room: str, path: Path) -> None:
    assert violations(room, path.read_text()) == []


def test_a_planted_upward_import_is_found() -> None:
    assert violations("data", "from braingan.generation.train import train_generator")
    assert violations("data", "def f():\n    import braingan.cli")
    assert violations("generation", "import braingan_dcgan")
    assert violations("generation", "from braingan.data.split import Split") == []


def test_library_code_never_prints_and_never_loads_a_pickle() -> None:
    for folder in ("braingan", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            called = {
                ast.unparse(node.func) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)
            }
            assert not called & {"print", "torch.load", "pickle.load", "pickle.loads", "np.load"}, path
