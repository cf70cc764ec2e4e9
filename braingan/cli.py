"""The command line: the functions of `braingan.api`, option for argument.

Commands are made from the signatures and docstrings of the functions, so the two cannot drift apart.
Results go to stdout, logs and progress to stderr. What braingan raises on purpose is one line on stderr
and exit code 2; anything else keeps its traceback.
"""

from __future__ import annotations

import errno
import functools
import inspect
import json
import logging
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Annotated, Any

import typer

from braingan import api
from braingan.entry_points import PluginInfo
from braingan.errors import BrainganError, SettingsError, StoppedError
from braingan.memory import keep_freed_memory
from braingan.progress import speaks

# What goes wrong with a user's disk or names, and is no defect of braingan.
THE_USERS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP}

app = typer.Typer(
    name="braingan",
    help="Will synthetic images help MY classifier? Research software, not a medical device.",
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

NAMES = {"compare_files": "compare"}  # commands named apart from their functions: `braingan.compare` takes arrays
FLAGS = {"class_name": "class", "format_options": "format-option"}  # options that read better than their arguments
EXAMPLES = {  # of arguments as NAME=VALUE
    "hyperparameters": "base_channels=64", "format_options": "axis=coronal", "limit": "tumor=60",
    "limit_patients": "tumor=10",
}  # fmt: skip
Shown = tuple[str, Any]  # what a person reads, what --json prints


def main() -> None:
    """Entry point of the console script."""
    keep_freed_memory()
    logging.basicConfig(level=logging.INFO if speaks() else logging.ERROR, format="%(message)s", stream=sys.stderr)
    logging.captureWarnings(capture=True)
    for chatty in ("httpx", "huggingface_hub", "timm", "PIL", "distributed", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    try:
        app()
    except StoppedError as error:
        _complain(str(error))
        raise SystemExit(128 + (error.signal or signal.SIGINT)) from None
    except BrainganError as error:
        _complain(f"error: {error}")
        raise SystemExit(2) from None
    except OSError as error:
        if error.errno not in THE_USERS:
            raise
        sys.stderr.write(f"error: {error.filename or 'a file'}: {error.strerror}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        raise SystemExit(130) from None


def _complain(line: str) -> None:
    """On stderr, by one of the processes that share a training."""
    if speaks():
        sys.stderr.write(f"{line}\n")


@app.callback(invoke_without_command=True)
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if show_version:
        _write(version("braingan"))
        raise typer.Exit


def _command(
    function: Callable[..., Any],
    show: Callable[[Any, Mapping[str, Any]], Shown],
    fails: Callable[[Any], bool] | None = None,
) -> None:
    """Register an API function as a command.

    Args:
        function: see `braingan.api`.
        show: turns its result into text and JSON.
        fails: whether a result is one for which `--strict` exits with code 1; without it, there is no `--strict`.
    """
    parameters = [_option(parameter, function) for parameter in inspect.signature(function).parameters.values()]
    as_json = inspect.Parameter(
        "as_json", inspect.Parameter.KEYWORD_ONLY, default=False,
        annotation=Annotated[bool, typer.Option("--json", help="Print the result as JSON.")],
    )  # fmt: skip

    strict = inspect.Parameter(
        "strict", inspect.Parameter.KEYWORD_ONLY, default=False,
        annotation=Annotated[bool, typer.Option("--strict", help="Exit with code 1 if something serious was found.")],
    )  # fmt: skip
    own = [as_json, strict] if fails else [as_json]

    @functools.wraps(function)
    def command(**given: Any) -> None:
        wants_json, wants_strict = given.pop("as_json"), given.pop("strict", False)
        for name in EXAMPLES.keys() & given.keys():
            if isinstance(given[name], list):
                given[name] = _pairs(given[name], name)
        result = function(**given)
        text, value = show(result, given)
        _write(json.dumps(value, indent=1) if wants_json else text)
        if fails and wants_strict and fails(result):
            raise typer.Exit(1)

    command.__signature__ = inspect.Signature([*parameters, *own])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*parameters, *own]}
    vars(command).pop("__wrapped__")  # typer would look through it to the original signature
    summary = inspect.cleandoc(function.__doc__ or "").partition("\n\nArgs:")[0]
    app.command(NAMES.get(function.__name__, function.__name__), help=summary)(command)


def _option(parameter: inspect.Parameter, function: Callable[..., Any]) -> inspect.Parameter:
    """The same parameter as typer wants it, with the help from the docstring."""
    text = _argument_help(function).get(parameter.name, "")
    kind: Any = eval(str(parameter.annotation), vars(api))
    if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        annotation = Annotated[kind, typer.Argument(help=text, show_default=False, metavar=parameter.name.upper())]
        return parameter.replace(annotation=annotation, kind=inspect.Parameter.KEYWORD_ONLY)
    if kind in {Mapping[str, Any] | None, Sequence[str] | None}:
        kind = list[str] | None
    if kind == api.Numbers | None:
        kind = str | None
    names = [f"--{FLAGS.get(parameter.name, parameter.name).replace('_', '-')}"]
    if kind is bool:
        names = [f"{names[0]}/--no-{names[0][2:]}"]
    option = typer.Option(
        *names, help=text, show_default=parameter.default is not None and parameter.default is not False
    )
    return parameter.replace(annotation=Annotated[kind, option])


def _argument_help(function: Callable[..., Any]) -> dict[str, str]:
    """Argument name -> help, from the `Args:` of a docstring."""
    documented = inspect.cleandoc(function.__doc__ or "").partition("Args:\n")[2].partition("\n\n")[0]
    entries = re.findall(r"^    (\w+): ((?:.|\n        )*)", documented, flags=re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def _pairs(given: list[str], argument: str) -> dict[str, str]:
    flag, pairs = FLAGS.get(argument, argument).replace("_", "-"), {}
    for entry in given:
        name, equals, value = entry.partition("=")
        if not equals:
            raise SettingsError(f"--{flag} {entry} was given; NAME=VALUE works, such as {EXAMPLES[argument]}")
        pairs[name.strip()] = value.strip()
    return pairs


def _write(text: str) -> None:
    if not speaks():
        return
    encoding = sys.stdout.encoding or "utf-8"  # a folder's name need not be text, nor this terminal know all letters
    sys.stdout.write(text.rstrip("\n").encode(encoding, "replace").decode(encoding) + "\n")


def _show_train(generator: Any, given: Mapping[str, Any]) -> Shown:
    spec = generator.spec
    value = {"run": str(given["run"]), "backend": given["backend"], "size": spec.size, "channels": spec.channels,
             "classes": list(spec.classes), "steps": given["steps"]}  # fmt: skip
    return f"{given['run']}: {given['backend']} for {', '.join(spec.classes)} at {spec.size} pixels", value


def _count(names: Sequence[str]) -> dict[str, int]:
    return {name: list(names).count(name) for name in dict.fromkeys(names)}


def _list_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items()) or "none"


def _show_sample(synthetic: Any, given: Mapping[str, Any]) -> Shown:
    counts = _count([file.class_name for file in synthetic.files])
    return f"{given['out']}: {_list_counts(counts)}", {"out": str(given["out"]), "images": counts}


def _show_augment(mixed: Any, given: Mapping[str, Any]) -> Shown:
    names, targets, real = mixed.classes, mixed.targets, len(mixed.real)
    counts = {
        "real": _count([names[label] for label in targets[:real]]),
        "synthetic": _count([names[label] for label in targets[real:]]),
    }
    text = "\n".join(f"{given['out'] / part}: {_list_counts(own)}" for part, own in counts.items())
    return text, {"out": str(given["out"]), **counts}


def _show_benchmark(result: Any, given: Mapping[str, Any]) -> Shown:
    from braingan.reporting.table import terminal_table

    return f"{terminal_table(result, colour=sys.stdout.isatty())}\n\n{given['out'] / 'report.html'}", result.to_json()


def _show_inspect(inspection: Any, given: Mapping[str, Any]) -> Shown:
    from braingan.reporting.inspection_text import terminal_inspection

    page = f"\n\n{given['out'] / 'inspection.html'}" if given["out"] else ""
    return f"{terminal_inspection(inspection)}{page}", inspection.to_json()


def _show_prepare(written: Any, given: Mapping[str, Any]) -> Shown:
    known = "patients unknown" if written.patients is None else f"{written.patients} patients"
    text = f"{given['out']}: {_list_counts(written.images)}; {known}, {written.masks} masks (read as {written.format})"
    bad = [{"file": bad.file, "reason": bad.reason} for bad in written.bad_files]
    value = {"out": str(given["out"]), "format": written.format, "images": written.images,
             "patients": written.patients, "masks": written.masks, "bad_files": bad}  # fmt: skip
    return text, value


def _show_datasets(found: Any, given: Mapping[str, Any]) -> Shown:
    from dataclasses import asdict

    from braingan.reporting.known_text import known_text

    as_published = f"{given['check']} is as published\n\n" if given["check"] else ""
    return as_published + "\n\n".join(map(known_text, found)), [asdict(known) for known in found]


def _show_runs(found: Any, given: Mapping[str, Any]) -> Shown:
    from dataclasses import asdict

    from braingan.reporting.runs_text import runs_text

    return runs_text(found), [asdict(run) for run in found]


def _show_phantom(summary: Any, given: Mapping[str, Any]) -> Shown:
    value = {"out": str(given["out"]), "patients": summary.patients, "images": dict(summary.images)}
    return f"{given['out']}: {summary.patients} phantom patients, {_list_counts(summary.images)}", value


def _show_compare(found: Any, given: Mapping[str, Any]) -> Shown:
    return str(found), found.to_json()


def _found_something_serious(inspection: Any) -> bool:
    return bool(inspection.serious)


_command(api.inspect, _show_inspect, _found_something_serious)
for _function, _show in (
    (api.prepare, _show_prepare),
    (api.datasets, _show_datasets),
    (api.phantom, _show_phantom),
    (api.train, _show_train),
    (api.runs, _show_runs),
    (api.sample, _show_sample),
    (api.augment, _show_augment),
    (api.benchmark, _show_benchmark),
    (api.report, _show_benchmark),
    (api.compare_files, _show_compare),
):
    _command(_function, _show)


AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


@app.command()
def backends(as_json: AsJson = False) -> None:
    """List the generator backends that are installed."""
    from braingan.generation.registry import list_backends

    _write_plugins(list_backends(), as_json=as_json)


@app.command()
def arms(as_json: AsJson = False) -> None:
    """List the arms of a benchmark: what classifiers are trained on, those of plugins too."""
    from braingan.experiment.arms import list_arms

    _write_plugins(list_arms(), as_json=as_json)


@app.command()
def formats(as_json: AsJson = False) -> None:
    """List the formats that can be read, those of plugins too."""
    from braingan.data.reading import list_readers

    _write_plugins(list_readers(), as_json=as_json)


def _write_plugins(found: Sequence[PluginInfo], *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        _write(json.dumps([asdict(info) for info in found], indent=1))
        return
    width = max((len(info.name) for info in found), default=0)
    for info in found:
        about = f"BROKEN: {info.error}" if info.error else info.description
        _write(f"{info.name:<{width}}  {about} ({info.distribution} {info.version})".rstrip())
