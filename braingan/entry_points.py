"""Plugins by name: entry points of installed distributions, and those registered by hand."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points, packages_distributions, version
from pathlib import Path
from typing import Any, Generic, TypeVar

from braingan.errors import BrainganError, SettingsError

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class PluginInfo:
    """What is known of a plugin.

    Attributes:
        name: what the option takes.
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


class Plugins(Generic[T]):
    """The factories of one entry-point group.

    Args:
        group: of the entry points.
        kind: what one is called in messages.
        error: what is raised for a name that is unknown, declared twice or broken.
        option: what one of its fields is called in messages.
    """

    def __init__(self, group: str, kind: str, error: type[BrainganError], option: str) -> None:
        self.group, self.kind, self.error, self.option = group, kind, error, option
        self.registered: dict[str, Callable[..., T]] = {}

    def names(self) -> list[str]:
        """All names, broken ones too."""
        return sorted({*self._points(), *self.registered})

    def register(self, name: str, factory: Callable[..., T]) -> None:
        """Make a factory known in this process.

        Raises:
            BrainganError: of this group's kind: the name is taken; the message names both.
        """
        others = [_distribution(point) for point in self._points().get(name, [])]
        if name in self.registered:
            others.append(self.registered[name].__module__)
        if others:
            raise self.error(f"{self.kind} {name!r} of {factory.__module__} is declared by {others[0]} already")
        self.registered[name] = factory

    def create(self, name: str, options: Mapping[str, Any]) -> T:
        """Make one; options that are strings are read as the type of the field's default.

        Raises:
            BrainganError: of this group's kind: the name is unknown or declared twice, or cannot be loaded.
            SettingsError: an option that it has not, or a value of another type.
        """
        factory = self._load(name)
        return factory(**self._typed(name, factory, options))

    def create_all(self) -> dict[str, T]:
        """One of each that can be loaded, with its default options; broken ones are left out."""
        points, made = self._points(), {}
        for name in sorted({*points, *self.registered}):
            with contextlib.suppress(Exception):  # a plugin may fail in any way, and must harm nobody else
                made[name] = self._load(name, points)()
        return made

    def info(self, name: str) -> PluginInfo:
        """What is known of one; it may be broken."""
        points = self._points().get(name, [])
        dist = points[0].dist if points else None
        distribution, dist_version = (dist.name, dist.version) if dist else _home(self.registered.get(name))
        try:
            description = (inspect.getdoc(self._load(name)) or "").partition("\n")[0]
        except BrainganError as error:
            return PluginInfo(name, "", distribution, dist_version, str(error))
        return PluginInfo(name, description, distribution, dist_version)

    def _points(self) -> dict[str, list[EntryPoint]]:
        """Entry points by name; an editable install and its build folder count once."""
        found: dict[str, dict[tuple[str, str], EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, {})[_distribution(point), point.value] = point
        return {name: list(points.values()) for name, points in found.items()}

    def _load(self, name: str, known: Mapping[str, list[EntryPoint]] | None = None) -> Callable[..., T]:
        if name in self.registered:
            return self.registered[name]
        points = (self._points() if known is None else known).get(name, [])
        if not points:
            near = difflib.get_close_matches(name, self.names(), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(self.names()) or 'none'}"
            raise self.error(f"{self.kind} {name!r} is unknown; {hint}")
        if len(points) > 1:
            names = " and ".join(sorted(_distribution(point) for point in points))
            raise self.error(f"{self.kind} {name!r} is declared by {names}; uninstall one")
        try:
            factory: Callable[..., T] = points[0].load()
        except (Exception, SystemExit) as error:  # a plugin may fail in any way, and must harm nobody else
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            origin = _distribution(points[0])
            raise self.error(f"{self.kind} {name!r} of {origin} cannot be loaded: {reason}") from error
        return factory

    def _typed(self, name: str, factory: Callable[..., T], given: Mapping[str, Any]) -> dict[str, Any]:
        if not dataclasses.is_dataclass(factory):
            return dict(given)
        defaults = {field.name: _default_of(field) for field in dataclasses.fields(factory) if field.init}
        for key in given:
            if key not in defaults:
                have = ", ".join(defaults) or "none"
                raise SettingsError(f"{self.kind} {name!r} has no {self.option} {key!r}; it has {have}")
        return {key: _convert(name, key, value, defaults[key]) for key, value in given.items()}


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else "an unknown distribution"


def _home(factory: Callable[..., Any] | None) -> tuple[str, str]:
    """The distribution of a class registered by hand; its module where it belongs to none."""
    module = getattr(factory, "__module__", "unknown")
    distributions = packages_distributions().get(module.partition(".")[0], [])
    return (distributions[0], version(distributions[0])) if distributions else (module, "")


def _default_of(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _convert(name: str, key: str, value: Any, default: Any) -> Any:
    if type(value) is type(default) and value == default:  # of whatever type, such as None
        return value
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
        return tuple((type(default[0]) if default else str)(item) for item in items)
    if kind is int and float(value) != int(float(value)):
        raise ValueError(value)
    return kind(float(value)) if kind is int else kind(value)


def import_function(name: str, what: str) -> Callable[..., Any]:
    """A function of the user's own, named `package.module:function`; the current folder is looked in, too.

    Raises:
        SettingsError: it cannot be imported; `what` says what it was asked for.
    """
    module, _, function = name.partition(":")
    here = str(Path.cwd())  # as `python -m` does; a console script leaves it out
    added = here not in sys.path
    if added:
        sys.path.insert(0, here)
    try:
        own: Callable[..., Any] = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise SettingsError(f"{what} {name} cannot be imported: {error}; give package.module:function") from error
    finally:
        if added:
            sys.path.remove(here)
    if not callable(own):
        raise SettingsError(f"{what} {name} is {type(own).__name__}, no function; give package.module:function")
    return own


def source_of(function: Callable[..., Any], *, whole_file: bool = False) -> str:
    """The text of a function, or of its file, to see whether it has changed; "" where there is none."""
    try:
        if whole_file:
            return Path(inspect.getsourcefile(function) or "").read_text(encoding="utf-8", errors="replace")
        return inspect.getsource(function)
    except (OSError, TypeError):  # compiled, or typed at a prompt
        code = getattr(function, "__code__", None)
        return "" if code is None else code.co_code.hex()
