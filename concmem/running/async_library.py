"""The asynchronous library of the running task, as far as a measurement needs it: asyncio, or anyio for trio."""

from __future__ import annotations

import select
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from concmem.errors import UnsupportedPlatform

__all__ = ["AsyncLibrary", "running_library"]


class AsyncLibrary(Protocol):
    """What a measurement needs of an asynchronous library."""

    def make_lock(self) -> Any:
        """Return a lock for ``async with``."""

    async def sleep(self, seconds: float) -> None:
        """Let other tasks run."""

    async def wait_for_any(self, wanted: Mapping[int, int]) -> None:
        """Wait until one of these descriptors has one of its events of poll(2). It may return early."""

    async def shielded(self, act: Callable[[], Awaitable[object]]) -> None:
        """Call a function in a task that has been cancelled, and wait for it."""


class _Asyncio:
    """asyncio, with any event loop that watches descriptors, such as uvloop."""

    def __init__(self) -> None:
        # A loop has one callback for each descriptor and direction, and several tasks can wait for the same one.
        self._waiting: dict[tuple[int, bool], set[Any]] = {}

    def make_lock(self) -> Any:
        import asyncio

        return asyncio.Lock()

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    async def wait_for_any(self, wanted: Mapping[int, int]) -> None:
        import asyncio

        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        keys = [(fd, bool(events & select.POLLOUT)) for fd, events in wanted.items()]
        try:
            for fd, is_output in keys:
                waiting = self._waiting.setdefault((fd, is_output), set())
                if not waiting:
                    (loop.add_writer if is_output else loop.add_reader)(fd, self._notice, fd, is_output)
                waiting.add(ready)
            await ready
        finally:
            for fd, is_output in keys:
                waiting = self._waiting.get((fd, is_output), set())
                waiting.discard(ready)
                if not waiting and self._waiting.pop((fd, is_output), None) is not None:
                    (loop.remove_writer if is_output else loop.remove_reader)(fd)

    def _notice(self, fd: int, is_output: bool) -> None:
        for ready in self._waiting.get((fd, is_output), ()):
            if not ready.done():
                ready.set_result(None)

    async def shielded(self, act: Callable[[], Awaitable[object]]) -> None:
        await act()  # a task is cancelled once; at a second time the caller ends the tree without waiting


class _Anyio:
    """anyio, which runs on trio, too."""

    def make_lock(self) -> Any:
        import anyio

        return anyio.Lock()

    async def sleep(self, seconds: float) -> None:
        import anyio

        await anyio.sleep(seconds)

    async def wait_for_any(self, wanted: Mapping[int, int]) -> None:
        import anyio

        # Its own descriptor becomes readable when one of the others has its event. Events have poll(2)'s numbers.
        with select.epoll(len(wanted)) as epoll:
            for fd, events in wanted.items():
                epoll.register(fd, events)
            await anyio.wait_readable(epoll)

    async def shielded(self, act: Callable[[], Awaitable[object]]) -> None:
        import anyio

        with anyio.CancelScope(shield=True):
            await act()


def running_library() -> AsyncLibrary:
    """
    Return the library of the running task.

    Raises:
        UnsupportedPlatform: No library runs, or it is not asyncio and anyio is not installed.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            return _Asyncio()
    try:
        import anyio

        anyio.wait_readable  # noqa: B018
        anyio.get_current_task()
    except (ImportError, AttributeError):
        raise UnsupportedPlatform("no asyncio loop runs here, and trio needs anyio 4.7: pip install anyio") from None
    except RuntimeError:
        raise UnsupportedPlatform("neither asyncio nor trio runs here: use measure or start") from None
    return _Anyio()
