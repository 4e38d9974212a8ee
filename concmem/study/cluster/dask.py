"""The workers of a Dask scheduler as the place where the runs of a study are made."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from urllib.parse import urlsplit

from distributed import Client

from concmem.study.cluster.dispatch import Dispatch
from concmem.study.plan import StudyError
from concmem.study.running.backend import ClusterError, Order, Place

__all__ = ["on_cluster"]

_CONNECT_S = 10.0


def on_cluster(scheduler: str) -> Callable[[Order], AbstractContextManager[Place]]:
    """
    The workers of a scheduler, as many as come, one run at a time on each machine.

    Args:
        scheduler: Its address, like ``tcp://host:8786``.

    Returns:
        What makes a place of them; it raises ClusterError where the scheduler cannot be reached, and so does the place
        once it is gone, or no worker can be used.

    Raises:
        StudyError: That is no address.
    """
    try:
        parts = urlsplit(scheduler)
        whole = parts.scheme in ("tcp", "tls") and parts.hostname and parts.port
    except ValueError:
        whole = None
    if not whole:
        raise StudyError(f"{scheduler!r} is no address of a scheduler: one is tcp://host:8786, or tls://host:8786")
    return partial(_on_cluster, scheduler)


@contextmanager
def _on_cluster(scheduler: str, order: Order) -> Iterator[Place]:
    with _quiet():
        try:
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False, name="concmem")
        except OSError as error:
            raise ClusterError(f"no scheduler has answered at {scheduler} in {_CONNECT_S:g} s") from error
        # When the client has gone, by whatever death, its workers end what they run for it.
        with client:
            yield Dispatch(client, scheduler, order)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask from writing on the user's terminal what is said there in one sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
