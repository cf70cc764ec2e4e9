"""Backends by name: entry points of installed distributions, and those registered by hand."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from typing import Any, TypeVar

from braingan.errors import BackendError, SettingsError
from braingan.generation.protocol import GeneratorBackend

GROUP = "braingan.generators"
BackendFactory = Callable[..., GeneratorBackend]
F = TypeVar("F", bound=BackendFactory)

_registered: dict[str, BackendFactory] = {}


@dataclass(frozen=True)
class BackendInfo:
    """What is known of a backend.

    Attributes:
        name: what `--backend` takes.
        description: the first line of its docstring.
        distribution: who ships it.
        version: of the distribution.
        error: why it cannot be used; None where it can.
    """

    name: str
    description: str
    distribution: str
    version: str
    error: str | None = None


def register_backend(name: str) -> Callable[[F], F]:
    """Class decorator that makes a backend known in this process, without an installed entry point.

    Raises:
        BackendError: the name is taken; the message names both.
    """

    def register(factory: F) -> F:
        others = [_distribution(point) for point in _points().get(name, [])]
        if name in _registered:
            others.append(_registered[name].__module__)
        if others:
            raise BackendError(f"backend {name!r} of {factory.__module__} is declared by {others[0]} already")
        _registered[name] = factory
        return factory

    return register


def list_backends() -> list[BackendInfo]:
    """All backends by name. One that cannot be loaded is listed with its error and harms no other."""
    return [_info(name) for name in sorted({*_points(), *_registered})]


def create_backend(name: str, **hyperparameters: Any) -> GeneratorBackend:
    """Make an untrained backend.

    Args:
        name: see `list_backends`.
        **hyperparameters: fields of the backend; strings are read as the type of the field's default.

    Raises:
        BackendError: the name is unknown or declared twice, or the plugin cannot be loaded.
        SettingsError: a hyper-parameter that the backend has not, or a value of another type.
    """
    factory = _load(name)
    return factory(**_typed(name, factory, hyperparameters))


def hyperparameters_of(backend: GeneratorBackend) -> dict[str, Any]:
    """The fields of a backend, with which `create_backend` makes it again."""
    if not dataclasses.is_dataclass(backend) or isinstance(backend, type):
        raise BackendError(f"{type(backend).__name__} is no dataclass; a backend's fields are its hyper-parameters")
    return {field.name: getattr(backend, field.name) for field in dataclasses.fields(backend) if field.init}


def _points() -> dict[str, list[EntryPoint]]:
    """Entry points by name; an editable install and its build folder count once."""
    found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
    for point in entry_points(group=GROUP):
        found.setdefault(point.name, {})[_distribution(point), point.value] = point
    return {name: list(points.values()) for name, points in found.items()}


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"


def _load(name: str) -> BackendFactory:
    if name in _registered:
        return _registered[name]
    points = _points().get(name, [])
    if not points:
        known = sorted({*_points(), *_registered})
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
        raise BackendError(f"backend {name!r} is unknown; {hint}")
    if len(points) > 1:
        names = " and ".join(sorted(_distribution(point) for point in points))
        raise BackendError(f"backend {name!r} is declared by {names}; uninstall one")
    try:
        factory: BackendFactory = points[0].load()
    except (Exception, SystemExit) as error:  # a plugin may fail in any way, and must harm nobody else
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise BackendError(f"backend {name!r} of {_distribution(points[0])} cannot be loaded: {reason}") from error
    return factory


def _info(name: str) -> BackendInfo:
    points = _points().get(name, [])
    dist = points[0].dist if points else None
    distribution, dist_version = (dist.name, dist.version) if dist else _home(_registered.get(name))
    try:
        description = (inspect.getdoc(_load(name)) or "").partition("\n")[0]
    except BackendError as error:
        return BackendInfo(name, "", distribution, dist_version, str(error))
    return BackendInfo(name, description, distribution, dist_version)


def _home(factory: BackendFactory | None) -> tuple[str, str]:
    """The distribution of a class registered by hand; its module where it belongs to none."""
    module = getattr(factory, "__module__", "unknown")
    distributions = packages_distributions().get(module.partition(".")[0], [])
    return (distributions[0], version(distributions[0])) if distributions else (module, "")


def _typed(name: str, factory: BackendFactory, given: dict[str, Any]) -> dict[str, Any]:
    if not dataclasses.is_dataclass(factory):
        return given
    defaults = {field.name: field.default for field in dataclasses.fields(factory) if field.init}
    for key in given:
        if key not in defaults:
            raise SettingsError(f"backend {name!r} has no hyper-parameter {key!r}; it has {', '.join(defaults)}")
    return {key: _convert(name, key, value, defaults[key]) for key, value in given.items()}


def _convert(name: str, key: str, value: Any, default: Any) -> Any:
    try:
        return _as_type_of(default, value)
    except (ValueError, KeyError, TypeError, OverflowError, AttributeError) as error:
        kind = type(default).__name__
        raise SettingsError(f"{name}: {key}={value!r} was given; {kind} values like {default!r} work") from error


def _as_type_of(default: Any, value: Any) -> Any:
    """A value of the default's type, from a string (the command line) or a list (JSON)."""
    kind = type(default)
    if kind is bool:
        return value if isinstance(value, bool) else {"true": True, "false": False}[value.lower()]
    if kind is tuple:
        items = value.split(",") if isinstance(value, str) else value
        return tuple(type(default[0])(item) for item in items)
    if kind is int and float(value) != int(float(value)):
        raise ValueError(value)
    return kind(float(value)) if kind is int else kind(value)
