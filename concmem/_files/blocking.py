"""Count the system calls that can wait for another process without end: writing to a pipe, and opening one."""

from __future__ import annotations

from types import TracebackType

__all__ = ["waiting_call"]


class _WaitingCall:
    """
    A context manager for each such call. Only the main thread of the ``concmem`` command uses its count.

    Attributes:
        count: How often a call has begun or ended: odd while one is going on.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> None:
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.count += 1

    @property
    def is_going_on(self) -> bool:
        """Whether a call is going on."""
        return self.count % 2 == 1


waiting_call = _WaitingCall()
