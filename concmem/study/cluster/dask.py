"""The workers of a Dask scheduler as the backend of a study."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from urllib.parse import urlsplit

from distributed import Client

from concmem.study.cluster.dispatch import Dispatch
from concmem.study.plan import StudyError
from concmem.study.running.backend import Backend, ClusterError, StudyContext

__all__ = ["on_cluster"]

_CONNECT_S = 10.0


def on_cluster(scheduler: str) -> Callable[[StudyContext], AbstractContextManager[Backend]]:
    """
    Return a backend of all workers of a scheduler, which makes one run at a time on each machine.

    Args:
        scheduler: Its address, like ``tcp://host:8786``.

    Returns:
        A function that connects to the scheduler and returns the backend. It raises ClusterError if the scheduler
        cannot be reached. The backend raises it when the scheduler is gone or no worker can be used.

    Raises:
        StudyError: The address is invalid.
    """
    try:
        parts = urlsplit(scheduler)
        is_valid = bool(parts.scheme in ("tcp", "tls") and parts.hostname and parts.port)
    except ValueError:
        is_valid = False
    if not is_valid:
        raise StudyError(f"the scheduler's address must be like tcp://host:8786 or tls://host:8786, not {scheduler!r}")
    return partial(_on_cluster, scheduler)


@contextmanager
def _on_cluster(scheduler: str, context: StudyContext) -> Iterator[Backend]:
    with _quiet():
        try:
            client = Client(scheduler, timeout=_CONNECT_S, set_as_default=False, name="concmem")
        except OSError as error:
            raise ClusterError(f"no scheduler answered at {scheduler} within {_CONNECT_S:g} s") from error
        # When the client has ended in any way, the workers end the runs that they make for it.
        with client:
            yield Dispatch(client, scheduler, context)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Dask's log messages off the terminal; concmem prints one sentence instead."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
