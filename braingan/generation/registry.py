"""Backends by name: entry points of installed distributions, and those registered by hand."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

from braingan.entry_points import PluginInfo, Plugins
from braingan.errors import BackendError
from braingan.generation.protocol import GeneratorBackend

BackendInfo = PluginInfo
BackendFactory = Callable[..., GeneratorBackend]
F = TypeVar("F", bound=BackendFactory)

BACKENDS: Plugins[GeneratorBackend] = Plugins("braingan.generators", "backend", BackendError, "hyper-parameter")


def register_backend(name: str) -> Callable[[F], F]:
    """Class decorator that makes a backend known in this process, without an installed entry point.

    Raises:
        BackendError: the name is taken; the message names both.
    """

    def register(factory: F) -> F:
        BACKENDS.register(name, factory)
        return factory

    return register


def list_backends() -> list[BackendInfo]:
    """All backends by name. One that cannot be loaded is listed with its error and harms no other."""
    return [BACKENDS.info(name) for name in BACKENDS.names()]


def create_backend(name: str, **hyperparameters: Any) -> GeneratorBackend:
    """Make an untrained backend.

    Args:
        name: see `list_backends`.
        **hyperparameters: fields of the backend; strings are read as the type of the field's default.

    Raises:
        BackendError: the name is unknown or declared twice, or the plugin cannot be loaded.
        SettingsError: a hyper-parameter that the backend has not, or a value of another type.
    """
    return BACKENDS.create(name, hyperparameters)


def hyperparameters_of(backend: GeneratorBackend) -> dict[str, Any]:
    """The fields of a backend, with which `create_backend` makes it again."""
    if not dataclasses.is_dataclass(backend) or isinstance(backend, type):
        raise BackendError(f"{type(backend).__name__} is no dataclass; a backend's fields are its hyper-parameters")
    return {field.name: getattr(backend, field.name) for field in dataclasses.fields(backend) if field.init}
