"""Where cells run: in this process, in processes of this machine, or on the machines of a Dask or Ray cluster."""

from __future__ import annotations

import importlib.util
import logging
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

import joblib
import torch
from joblib.externals.loky import get_reusable_executor

from braingan.errors import BrainganError, SettingsError
from braingan.memory import keep_freed_memory

log = logging.getLogger("braingan")

EngineName = Literal["local", "dask", "ray"]
PACKAGES = {"dask": "distributed", "ray": "ray"}
PATIENCE = 10.0  # seconds for a scheduler to answer, and to have workers
TRIES = 2  # of cells whose worker was lost, before each is tried alone

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Engine:
    """What runs cells.

    Attributes:
        name: see `EngineName`.
        at_once: cells at the same time on one machine; they share its cores.
    """

    name: EngineName = "local"
    at_once: int = 1

    @property
    def in_process(self) -> bool:
        """Whether cells run in this very process, one after the other."""
        return self.name == "local" and self.at_once == 1

    def threads(self) -> int:
        """How many threads of torch and BLAS a cell on this machine has."""
        given = torch.get_num_threads()
        return given if self.in_process else min(given, share_of_cores(self.at_once))

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], lost: Callable[[Item, Exception], Result]
    ) -> Iterator[Result]:
        """Results as they come.

        A worker that dies takes no result with it: what it had is given again, and at last each item alone, so that
        one that kills whoever takes it is found out and the others are done.

        Args:
            function: can be pickled; raises nothing for an item that fails.
            items: can be pickled.
            lost: makes the result of an item whose worker died every time.
        """
        if self.in_process:
            yield from map(function, items)
            return
        left = dict(enumerate(items))
        for _ in range(TRIES if left else 0):
            try:
                for number, result in self._parallel(function, left):
                    del left[number]
                    yield result
            except BrainganError:
                raise
            except Exception as error:  # every backend has its own for a worker that died
                log.warning("a worker was lost (%s); %d cells are given again", one_line(error), len(left))
            if not left:
                return
        for number, item in left.items():
            try:
                yield from (result for _, result in self._parallel(function, {number: item}))
            except BrainganError:
                raise
            except Exception as error:
                yield lost(item, error)

    def _parallel(self, function: Callable[[Item], Result], items: dict[int, Item]) -> Iterator[tuple[int, Result]]:
        backend = "loky" if self.name == "local" else self.name
        called = _in_own_process if self.name == "local" else _numbered
        with joblib.parallel_config(backend=backend, n_jobs=self.at_once if self.name == "local" else -1):
            as_they_come = "list" if self.name == "ray" else "generator_unordered"  # Ray's backend has no other way
            parallel = joblib.Parallel(batch_size=1, pre_dispatch="all", return_as=as_they_come)
            yield from parallel(joblib.delayed(called)(function, number, item) for number, item in items.items())


def _numbered(function: Callable[[Item], Result], number: int, item: Item) -> tuple[int, Result]:
    return number, function(item)


def _in_own_process(function: Callable[[Item], Result], number: int, item: Item) -> tuple[int, Result]:
    keep_freed_memory()  # a cluster's workers may be there for others, too
    return _numbered(function, number, item)


def share_of_cores(at_once: int) -> int:
    """Threads for each of some cells on this machine, so that they do not fight over its cores."""
    cores: int = joblib.cpu_count()
    return max(1, cores // at_once)


def one_line(error: BaseException) -> str:
    """An exception as people name it."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


@contextmanager
def open_engine(name: str, jobs: int, address: str | None) -> Iterator[Engine]:
    """Connect to what runs cells, for as long as the block lasts.

    Args:
        name: "local", "dask" or "ray".
        jobs: processes of this machine; with "local" only.
        address: of the scheduler (`tcp://HOST:8786`, or its scheduler file, *.json) or of Ray's head (`HOST:6379`,
            or "auto" on its own machine); not with "local".

    Raises:
        SettingsError: options that exclude each other, a package that is not installed, nobody at the address, or
            workers in which cells would meet in one process.
    """
    if name not in get_args(EngineName):
        raise SettingsError(f"engine {name!r} was asked; {', '.join(get_args(EngineName))} work")
    if jobs < 1:
        raise SettingsError(f"{jobs} jobs were asked; 1 or more work")
    if name == "local":
        with _local(jobs, address) as engine:
            yield engine
        return
    if jobs > 1:
        raise SettingsError(
            f"--jobs {jobs} and --engine {name} were both asked; the cluster's workers say how many cells run at once: "
            "leave --jobs out"
        )
    if address is None:
        raise SettingsError(f"--engine {name} was asked without --address; give the address of its scheduler")
    if importlib.util.find_spec(PACKAGES[name]) is None:
        raise SettingsError(
            f"--engine {name} was asked, and {PACKAGES[name]} is not installed; pip install 'braingan[{name}]' works"
        )
    _refuse_unreachable(name, address)
    with (_dask if name == "dask" else _ray)(address) as engine:
        yield engine


@contextmanager
def _local(jobs: int, address: str | None) -> Iterator[Engine]:
    if address is not None:
        raise SettingsError(f"--address {address} was asked without --engine; --engine dask or --engine ray go there")
    try:
        yield Engine("local", jobs)
    finally:
        if jobs > 1:
            get_reusable_executor().shutdown(wait=True)  # or they would wait for more, and hold memory, for minutes


def _refuse_unreachable(name: str, address: str) -> None:
    """Ask whether anybody listens: the clients' own attempts take long and end in many lines."""
    where = address.rpartition("/")[2]
    host, _, port = where.rpartition(":")
    if address.endswith(".json"):
        if not Path(address).is_file():
            raise SettingsError(f"--address {address} was asked, and there is no such scheduler file")
    elif address != "auto":
        try:
            with socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE) as line:
                # A scheduler greets whoever comes; Dask's client would wait for ever for a web server to do so.
                if name == "dask" and not address.startswith("tls") and not line.recv(1):
                    raise ConnectionError("what listens there is something else")
        except (OSError, ValueError, OverflowError) as error:
            raise SettingsError(
                f"nobody answers as {name} at {address} ({error}); is the scheduler up, and reachable from here?"
            ) from error


@contextmanager
def _dask(address: str) -> Iterator[Engine]:
    from distributed import Client

    where: dict[str, Any] = {"scheduler_file": address} if address.endswith(".json") else {"address": address}
    try:
        client = Client(**where, timeout=PATIENCE)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, TimeoutError) as error:
        raise SettingsError(f"no Dask scheduler answers at {address} ({one_line(error)})") from error
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            raise SettingsError(
                f"the Dask scheduler at {address} has no workers; `dask worker {address} --nthreads 1` starts one"
            ) from error
        workers: dict[str, Any] = client.scheduler_info(n_workers=-1)["workers"]
        for worker, told in workers.items():
            if told["nthreads"] > 1:
                raise SettingsError(
                    f"the Dask worker {worker} runs {told['nthreads']} tasks in one process, and trainings there would "
                    "share random state; start workers with --nthreads 1, and more of them"
                )
        log.info("%d Dask workers at %s", len(workers), address)
        yield Engine("dask", max(Counter(told["host"] for told in workers.values()).values()))


@contextmanager
def _ray(address: str) -> Iterator[Engine]:
    import ray
    from ray.util.joblib import register_ray

    try:
        ray.init(address=address, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise SettingsError(f"no Ray cluster answers at {address} ({one_line(error)})") from error
    try:
        register_ray()
        cpus = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
        log.info("Ray with %d CPUs at %s", sum(cpus), address)
        yield Engine("ray", max(1, *cpus))
    finally:
        ray.shutdown()
