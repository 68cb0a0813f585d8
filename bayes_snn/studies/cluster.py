"""Where a study runs: a Dask cluster of its own on this computer, or one that stands elsewhere."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import signal
import warnings
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Any

from bayes_snn.errors import InputError, in_one_sentence, text_of
from bayes_snn.version import package_versions

CONNECT_TIMEOUT = 10  # s, for a scheduler to answer
WORKERS_TIMEOUT = 60  # s, for the first worker to come
# by this Dask has workers give freed memory back to the system at once, which makes backprop's cells thrice as slow
_TRIM = "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_"


@contextlib.contextmanager
def connect(scheduler: str | None, workers: int) -> Iterator[Any]:
    """A Dask client: of the scheduler at an address, or of a cluster on this computer with one thread a process."""
    from distributed import Client  # before what follows: its loggers are there once it is imported

    # what Dask logs of dying workers is in the progress bar and in the rows, as far as it matters
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] == "distributed":  # Dask gives some of them a level of their own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # the current client, for Dask's functions look for one, but not Dask's default: see `_client_of`
    if scheduler is not None:
        with _client_of(scheduler) as client, client.as_current():
            yield client
        return
    with _local_cluster(workers) as cluster, Client(cluster, set_as_default=False) as client, client.as_current():
        yield client


def _local_cluster(workers: int) -> Any:
    """A cluster on this computer, whose processes leave Ctrl-C to this one.

    A terminal sends SIGINT to all processes. Threads and processes inherit the signals that are blocked, so that the
    cluster's threads, and every worker that they start, or start again, never see it; here it waits meanwhile.
    """
    import dask
    from distributed import LocalCluster

    resource_tracker.ensure_running()  # when the first process is started it would unblock the signal again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        with warnings.catch_warnings(), dask.config.set({_TRIM: None}):
            # the dashboard takes another port when its own is in use, which need not be said
            warnings.filterwarnings("ignore", "Port .* is already in use", UserWarning)
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                dashboard_address="127.0.0.1:8787" if importlib.util.find_spec("bokeh") is not None else None,
            )
    finally:
        if before is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def _client_of(address: str) -> Iterator[Any]:
    """A client of a cluster that stands, once a worker of this version is there."""
    from distributed import Client

    _check_address(address)
    try:
        # one that is Dask's default leaves Dask's configuration changed when it finds no scheduler
        client = Client(address, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # TimeoutError is an OSError
        raise _no_scheduler(address, error) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKERS_TIMEOUT)
        except TimeoutError:
            raise InputError(
                f"The scheduler at {address} has no worker: start some with 'dask worker {address} --nthreads 1'."
            ) from None
        mine = package_versions()["bayes_snn"]
        for worker, found in client.run(package_versions, on_error="return").items():
            theirs = found.get("bayes_snn") if isinstance(found, dict) else in_one_sentence(found)
            if theirs != mine:
                raise InputError(
                    f"The worker {worker} does not have bayes_snn {mine} ({theirs}): install the same version there."
                )
        yield client


def _check_address(address: str) -> None:
    """Refuse an address that no scheduler has: Dask makes half a client of it, waits, and fails in several threads."""
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    try:
        scheme, location = parse_address(address)
        if scheme in ("http", "https"):
            raise ValueError("that is the address of a dashboard or of a web page")
        if scheme != "inproc":
            parse_host_port(location)
        with warnings.catch_warnings(action="error"):  # of a protocol that Dask has given up
            get_backend(scheme).get_address_host(location)
    except (ValueError, RuntimeError, ImportError, Warning) as error:
        raise _no_scheduler(address, error) from None


def _no_scheduler(address: str, error: BaseException) -> InputError:
    return InputError(
        f"No Dask scheduler answers at {address} ({text_of(error)}): start one with 'dask scheduler' and give the "
        "address that it prints, or leave --scheduler out."
    )


def dashboard_link(client: Any) -> str | None:
    """Address of the dashboard, None where there is none."""
    link = client.dashboard_link
    return str(link) if link and importlib.util.find_spec("bokeh") is not None else None


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def need_distributed() -> None:
    """Raise an `InputError` when Dask is not installed."""
    if importlib.util.find_spec("distributed") is None:
        raise InputError("A study needs dask and distributed, which are not installed: install bayes_snn[sweep].")
