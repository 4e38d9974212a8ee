"""Run a command and measure it: `measure` waits for the result, `start` returns at once."""

from __future__ import annotations

import threading
import time
import warnings
from types import TracebackType
from typing import TYPE_CHECKING

import concmem
from concmem._cgroup.groups import Groups, make_groups
from concmem._figures.measurement import EndedTree, HostValues
from concmem._figures.outcome import find_oom, unexplained_sigkills
from concmem._files.machine import oom_kills, read_machine, swapped_bytes
from concmem._files.proc import check_proc
from concmem._native.launch import launch_sampler, start_error
from concmem._native.observed import observe
from concmem._native.redirect import Redirection
from concmem._native.request import Request
from concmem._native.resources import Resources
from concmem._native.shared_memory import SharedMemory, native
from concmem._native.source_table import groups_of
from concmem.errors import CommandFailed, ConcmemError, SamplerError
from concmem.options import DEVNULL, PIPE, STDOUT, Command, MeasureOptions, Options, documented

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Running", "measure", "start"]

_POLL_S = 0.0005


class Running:
    """
    A command that is being measured.

    Call `wait` once, or use the object as a context manager, which kills the tree on exit. It does not change signal
    handlers, and it reaps no other child of this process.
    """

    def __init__(self, request: Request) -> None:
        # First: everything opened below belongs to this object, which releases it after an exception at any moment.
        self._resources = resources = Resources()
        self._must_be_waited_for = False
        self._request = request
        self._waiting = threading.RLock()
        self._ended: EndedTree | None = None
        self._measurement: concmem.Measurement | None = None
        self._failure: ConcmemError | None = None
        self._root_pid: int | None = None
        self._groups: Groups | None = None
        check_proc()
        try:
            self._redirection = Redirection(resources, request.options)
            self._memory: SharedMemory | None = SharedMemory(request)
            needed = groups_of(request.extra)
            if needed:
                limit_bytes = request.options["cgroup_limit_bytes"]
                self._groups = make_groups(
                    "memory" in needed,
                    "selector" in needed,
                    for_leaving=request.options["leftover"] == "leave",
                    resources=resources,
                    limit_bytes=None if limit_bytes is None else int(limit_bytes),
                )
            launch_sampler(request, self._memory, self._redirection.fds, resources, self._groups)
            resources.close_target_streams()
            # After the launch: this work runs while the target runs, so that it does not delay the caller.
            self._started_s = time.time()
            self._machine = read_machine()
            self._swapped_before = swapped_bytes(self._machine)
            self._oom_kills_before = oom_kills()
        except BaseException:
            resources.release()
            raise
        self._must_be_waited_for = True

    def fileno(self) -> int:
        """Return a file descriptor that becomes readable when the measurement ends, for `selectors` and asyncio."""
        return self._resources.pidfd

    @property
    def root_pid(self) -> int | None:
        """The root's PID, or None if the command could not be started. Blocks until it is known (about 1 ms)."""
        _, lib = native()
        memory = self._memory  # another thread may set it to None; this reference keeps the memory valid
        if memory is None:
            return self._root_pid
        while lib.cm_phase(memory.head) == lib.CM_PHASE_NEW and not self._resources.has_ended():
            time.sleep(_POLL_S)
        return memory.head.root_pid or None

    @property
    def root_ended(self) -> bool:
        """Whether the root has ended. Other processes of the tree may still run."""
        memory = self._memory
        return memory is None or bool(memory.head.root_ended)

    def alive(self) -> int:
        """Return how many processes of the tree were alive at the last tick."""
        memory = self._memory
        return int(memory.head.alive) if memory is not None else 0

    def stop(self) -> None:
        """Kill the whole tree. `wait` then returns what was measured, with ``exit.reason`` ``interrupted``."""
        self._resources.stop()

    def wait(self) -> concmem.Measurement:
        """
        Wait until the last process of the tree has ended, and return the measurement.

        A KeyboardInterrupt (or any other exception that a signal handler raises) kills the whole tree before it
        propagates.

        Raises:
            CommandNotFound, CommandNotExecutable, BadInterpreter, BadWorkingDirectory, CommandError: The command
                could not be started.
            SamplerError: The sampler was killed.
        """
        # No `with`: when a second exception arrives at the end of such a block, CPython 3.11 keeps the first one and
        # its frames in a reference cycle. An RLock: after an exception between the next two lines, this thread still
        # holds it, and must be able to acquire it again.
        self._waiting.acquire()
        try:
            ended = self._wait()
            if self._measurement is None:
                self._measurement = ended.measurement()
            return self._measurement
        finally:
            self._waiting.release()

    def _wait_until_ended(self) -> EndedTree:
        """Do what `wait` does, without importing the classes of a measurement, for ``concmem run --quiet``."""
        self._waiting.acquire()
        try:
            return self._wait()
        finally:
            self._waiting.release()

    def _wait(self) -> EndedTree:
        if self._ended is not None:
            return self._ended
        if self._failure is not None:
            raise self._failure
        try:
            self._must_be_waited_for = False
            assert self._memory is not None
            self._redirection.wait(self._resources.pidfd, self._memory.done_fd)
            self._root_pid = self._memory.head.root_pid or None
            self._ended = self._read()
        except BaseException as error:
            import copy

            stopped = SamplerError(0, "was stopped: an exception interrupted wait()", "concmem-sampler")
            # A copy: the error itself refers to this frame, and through it to everything that is released below.
            self._failure = copy.copy(error) if isinstance(error, ConcmemError) else stopped
            raise
        finally:
            self._close()
        return self._ended

    def _read(self) -> EndedTree:
        _, lib = native()
        assert self._memory is not None  # not in a local variable: a traceback would keep the memory alive
        head = self._memory.head
        phase = lib.cm_phase(head)
        if phase == lib.CM_PHASE_FAILED:
            raise start_error(self._request, head.stage, head.error)
        if phase != lib.CM_PHASE_DONE and self._groups is not None:
            self._groups.kill()
        if phase == lib.CM_PHASE_NEW:
            raise SamplerError(0, "could not start: out of memory or file descriptors", "concmem-sampler")
        if phase != lib.CM_PHASE_DONE:
            raise SamplerError(0, "was killed before the command ended", "concmem-sampler")
        observed = observe(self._memory)
        swapped = swapped_bytes(self._machine)
        sigkills = unexplained_sigkills(observed, self._request.options["leftover"])
        known = HostValues(
            machine=self._machine,
            started_s=self._started_s,
            stdout=self._redirection.collected("stdout"),
            stderr=self._redirection.collected("stderr"),
            swapped_bytes=None if swapped is None else swapped - (self._swapped_before or 0),
            oom=find_oom(observed, min(sigkills, oom_kills() - self._oom_kills_before) if sigkills else 0),
        )
        return EndedTree(self._request, observed, known)

    def _close(self) -> None:
        """Kill the tree if it is still alive, reap the sampler, and release all resources."""
        ended = self._resources.end()
        if ended and self._memory is not None and self._ended is not None:
            self._memory.allow_reuse()
        self._memory = None
        if self._groups is not None:
            self._groups.close()
        self._resources.release()

    def __enter__(self) -> Running:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._memory is None or not self._resources.is_ours():  # a copy in a forked child must not kill the tree
            return
        try:
            self.stop()
            self.wait()
        except BaseException as failure:
            self._resources.release()
            if kind is None or not isinstance(failure, Exception):  # an error raised in the block takes precedence
                raise

    def __del__(self) -> None:
        # Python discards an exception that a signal handler raises in here. So this does as little as possible, and
        # the resources are released without it.
        if getattr(self, "_must_be_waited_for", False) and self._resources.is_ours():
            self._resources.release()
            warnings.warn(
                f"{self._request.shown!r} was started, but wait() was not called",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )


@documented(Options)
def start(cmd: Command, **options: Unpack[Options]) -> Running:
    """
    Start a command and its measurement, and return at once.

    Args: as for `measure`.

    Raises:
        InvalidRequest: An argument is invalid.
        UnsupportedPlatform: /proc is missing, or shows another PID namespace; or no control group can be made for
            `cgroup_limit_bytes`.
        CommandTooLong, BadWorkingDirectory, SamplerError: The sampler could not be started. `Running.wait` raises
            the errors of the command itself.
    """
    return Running(Request.of(cmd, options, "start"))


@documented(MeasureOptions)
def measure(cmd: Command, **options: Unpack[MeasureOptions]) -> concmem.Measurement:
    """
    Run a command, wait until it and all processes that it started have ended, and return how much memory they needed.

    Safe in any number of threads at once. In asyncio code use ``await asyncio.to_thread(concmem.measure, ...)``.

    Args:
        cmd: A list is executed as it is. A string is run by ``/bin/sh -c``; the figures then include the shell, about
            1 MB.
        {options}

    Raises:
        InvalidRequest: An argument is invalid.
        CommandNotFound, CommandNotExecutable, BadInterpreter, CommandTooLong, BadWorkingDirectory, NotPermitted,
            CommandError: The command could not be started, and does not run.
        CommandFailed: With ``check=True``; it carries the measurement.
        SamplerError: The sampler could not be started, or was killed.
        UnsupportedPlatform: This is not Linux; or no control group can be made for `cgroup_limit_bytes`.
    """
    check = options.pop("check", False)
    result = Running(Request.of(cmd, options, "measure")).wait()
    if check and not result.exit.ok:
        raise CommandFailed(result)
    return result
