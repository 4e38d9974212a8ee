"""Running a command and measuring it: `measure`, and `start` for those who want to wait in their own way."""

from __future__ import annotations

import copy
import os
import threading
import time
import warnings
from collections.abc import Mapping
from types import TracebackType

from concmem._cgroup.groups import Groups, make
from concmem._figures.measurement import measurement
from concmem._native.launch import launch, start_error
from concmem._native.redirect import DEVNULL, PIPE, STDOUT, Redirection, Target
from concmem._native.resources import Resources
from concmem._native.shared_memory import SharedMemory, native
from concmem.errors import CommandFailed, ConcmemError, SamplerError
from concmem.host import check_proc, describe, oom_kills, swapped_bytes
from concmem.model import Measurement
from concmem.options import Command, Leftover, Request

__all__ = ["DEVNULL", "PIPE", "STDOUT", "Running", "measure", "start"]

_POLL_S = 0.0005


class Running:
    """
    A command that is being measured. `wait` for it once, or use it as a context manager, which ends it on the way out.

    Everything about it goes through descriptors of its own: no signal handler, no other child and no other thread of
    this process is touched.
    """

    def __init__(self, request: Request, stdin: Target, stdout: Target, stderr: Target) -> None:
        # First, so that all that follows belongs to it: see there what an exception at any moment comes to.
        self._resources = resources = Resources()
        self._must_be_waited_for = False
        self._request = request
        self._waiting = threading.RLock()
        self._measurement: Measurement | None = None
        self._failure: ConcmemError | None = None
        self._root_pid: int | None = None
        self._groups: Groups | None = None
        check_proc()
        try:
            self._redirection = Redirection(resources, stdin, stdout, stderr)
            self._memory: SharedMemory | None = SharedMemory(request)
            if request.extra & {"cgroup", "rss_stat"}:
                self._groups = make(
                    "cgroup" in request.extra,
                    "rss_stat" in request.extra,
                    for_leaving=request.leftover == "leave",
                    resources=resources,
                )
            launch(request, self._memory, self._redirection.fds, resources, self._groups)
            resources.close_given()
            # All that can be done in the target's time rather than in the caller's.
            self._started_s = time.time()
            self._host = describe()
            self._swapped_before = swapped_bytes(self._host)
            self._oom_kills_before = oom_kills()
        except BaseException:
            resources.release()
            raise
        self._must_be_waited_for = True

    def fileno(self) -> int:
        """A descriptor that becomes readable when all is over, for `selectors` and asyncio."""
        return self._resources.pidfd

    @property
    def root_pid(self) -> int | None:
        """The root's number; None where it could not be started. Waits the millisecond until it is known."""
        _, lib = native()
        memory = self._memory  # which another thread may let go of: it is valid as long as it is held here
        if memory is None:
            return self._root_pid
        while lib.cm_phase(memory.head) == lib.CM_PHASE_NEW and not self._resources.has_ended():
            time.sleep(_POLL_S)
        return memory.head.root_pid or None

    @property
    def root_ended(self) -> bool:
        """Whether the root has ended, while others of its tree may live on."""
        memory = self._memory
        return memory is None or bool(memory.head.root_ended)

    def alive(self) -> int:
        """How many processes of the tree were alive at the last tick."""
        memory = self._memory
        return int(memory.head.alive) if memory is not None else 0

    def stop(self) -> None:
        """Kill the whole tree; `wait` then gives what was measured, with ``exit.reason`` ``interrupted``."""
        self._resources.stop()

    def wait(self) -> Measurement:
        """
        Wait until the last process of the tree has ended, and return what was measured.

        A KeyboardInterrupt (or any other exception that a signal handler raises) ends the whole tree before it
        goes on.

        Raises:
            CommandNotFound, CommandNotExecutable, BadInterpreter, BadWorkingDirectory, CommandError: The command
                could not be started.
            SamplerError: The sampler was killed.
        """
        # No `with`: CPython 3.11 keeps an exception, and all that its frames refer to, in a cycle where another one
        # comes at the end of such a block. Taken twice by one thread where that comes between the next two lines.
        self._waiting.acquire()
        try:
            return self._wait()
        finally:
            self._waiting.release()

    def _wait(self) -> Measurement:
        if self._measurement is not None:
            return self._measurement
        if self._failure is not None:
            raise self._failure
        try:
            self._must_be_waited_for = False
            assert self._memory is not None
            self._redirection.wait(self._resources.pidfd, self._memory.over_fd)
            self._root_pid = self._memory.head.root_pid or None
            self._measurement = self._answer()
        except BaseException as error:
            stopped = SamplerError(0, "was stopped while it was waited for", "concmem-sampler")
            # A copy: the error itself leads to this frame, and so to everything that is to be let go of.
            self._failure = copy.copy(error) if isinstance(error, ConcmemError) else stopped
            raise
        finally:
            self._close()
        return self._measurement

    def _answer(self) -> Measurement:
        _, lib = native()
        assert self._memory is not None  # and in no variable here: tracebacks keep those
        head = self._memory.head
        phase = lib.cm_phase(head)
        if phase == lib.CM_PHASE_FAILED:
            raise start_error(self._request, head.stage, head.error)
        if phase != lib.CM_PHASE_DONE and self._groups is not None:
            self._groups.kill()
        if phase == lib.CM_PHASE_NEW:
            raise SamplerError(0, "could not start: out of memory or file descriptors", "concmem-sampler")
        if phase != lib.CM_PHASE_DONE:
            raise SamplerError(0, "was killed before the command had ended", "concmem-sampler")
        collected = self._redirection.collected
        swapped = swapped_bytes(self._host)
        return measurement(
            self._request,
            self._memory,
            self._host,
            started_s=self._started_s,
            stdout=collected("stdout"),
            stderr=collected("stderr"),
            oom_kills_before=self._oom_kills_before,
            swapped_bytes=None if swapped is None else swapped - (self._swapped_before or 0),
        )

    def _close(self) -> None:
        """End the tree if it still lives, reap the sampler, and let go of everything."""
        ended = self._resources.end()
        if ended and self._memory is not None and self._measurement is not None:
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
        if self._memory is None or not self._resources.is_ours():  # a copy in a forked child has no say in it
            return
        try:
            self.stop()
            self.wait()
        except BaseException as failure:
            self._resources.release()
            if kind is None or not isinstance(failure, Exception):  # the block's own error counts for more
                raise

    def __del__(self) -> None:
        # Python drops an exception of a signal handler that comes in here: so there is as little as possible, and
        # what is held ends without it.
        if getattr(self, "_must_be_waited_for", False) and self._resources.is_ours():
            self._resources.release()
            warnings.warn(
                f"{self._request.shown!r} was started and never waited for", ResourceWarning, stacklevel=2, source=self
            )


def start(
    cmd: Command,
    *,
    interval_s: float = 0.001,
    pss_budget: float = 0.01,
    windows: bool = False,
    cgroup: bool = False,
    taskstats: bool = False,
    exact: bool = False,
    timeout_s: float | None = None,
    memory_limit_bytes: int | None = None,
    leftover: Leftover = "wait",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
) -> Running:
    """
    Start a command and its measurement, and come back at once.

    Args: as for `measure`.

    Raises:
        InvalidRequest: An argument cannot be meant.
        UnsupportedPlatform: /proc is missing, or shows another PID namespace.
        CommandTooLong, BadWorkingDirectory, SamplerError: The sampler could not be started. What is wrong with the
            command itself is said by `Running.wait`.
    """
    request = Request.of(
        cmd,
        interval_s=interval_s,
        pss_budget=pss_budget,
        timeout_s=timeout_s,
        memory_limit_bytes=memory_limit_bytes,
        leftover=leftover,
        cwd=cwd,
        env=env,
        extra={"windows": windows, "cgroup": cgroup, "taskstats": taskstats, "rss_stat": exact},
    )
    return Running(request, stdin, stdout, stderr)


def measure(
    cmd: Command,
    *,
    interval_s: float = 0.001,
    pss_budget: float = 0.01,
    windows: bool = False,
    cgroup: bool = False,
    taskstats: bool = False,
    exact: bool = False,
    timeout_s: float | None = None,
    memory_limit_bytes: int | None = None,
    leftover: Leftover = "wait",
    cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Target = None,
    stdout: Target = None,
    stderr: Target = None,
    check: bool = False,
) -> Measurement:
    """
    Run a command to its end, and that of everything that it started, and say how much memory they needed.

    Safe in any number of threads at once; in asyncio code use ``await asyncio.to_thread(concmem.measure, ...)``.

    Args:
        cmd: A list is executed as it is; a string goes to ``/bin/sh -c``, whose own megabyte is then in the figures.
        interval_s: Between two readings of the tree, in seconds, from 0.0001 to 3600.
        pss_budget: The share of wall time, from 0 to 1, that reading smaps_rollup may take: it can hold up a target
            that maps memory. 0 reads none, and `Measurement.tree_peak_pss` is then unavailable.
        windows: Read every process's VmHWM and set it back at every reading, so that each window of the timeline holds
            its exact maximum. It falsifies the command's own ``ru_maxrss`` and VmHWM.
        cgroup: Put the command into a control group of its own, for `Measurement.cgroup_peak`. Needs a delegated
            subtree, a user manager, or root.
        taskstats: Have the kernel tell of every process that ends, however short it lived. Needs CAP_NET_ADMIN.
        exact: Have the kernel itself keep the sum of RSS, by an eBPF program: `Measurement.tree_peak_rss_sum` is then
            exact. Needs root; page faults of the whole machine become dearer meanwhile.
        timeout_s: After so many seconds the whole tree is killed.
        memory_limit_bytes: When the tree's footprint is seen above it, the whole tree is killed: the RSS of one
            process, or of several the sum of PSS (of RSS, where PSS is refused or has no budget). A spike between
            two readings is seen where it makes a new VmHWM.
        leftover: What happens to the rest of the tree when the root has ended. ``wait``: it is measured to its end.
            ``leave``: the measurement ends with a last reading, the rest goes on, and `Measurement.left_running` names
            it; what it writes to a PIPE from then on raises SIGPIPE in it. ``kill``: the same reading, then the rest is
            killed; `Measurement.exit` stays the root's own.
        cwd: The folder to run in.
        env: The whole environment, instead of this process's.
        stdin: As in `subprocess`: None, a descriptor, a file or DEVNULL.
        stdout: The same, or PIPE: then it is in the result.
        stderr: The same, or STDOUT.
        check: Raise `CommandFailed` unless the command exits by itself with 0.

    Raises:
        InvalidRequest: An argument cannot be meant.
        CommandNotFound, CommandNotExecutable, BadInterpreter, CommandTooLong, BadWorkingDirectory, CommandError: The
            command could not be started; nothing of it runs.
        CommandFailed: With ``check=True``; it carries the measurement.
        SamplerError: The sampler could not be started, or was killed.
        UnsupportedPlatform: This is not Linux.
    """
    running = start(
        cmd,
        interval_s=interval_s,
        pss_budget=pss_budget,
        windows=windows,
        cgroup=cgroup,
        taskstats=taskstats,
        exact=exact,
        timeout_s=timeout_s,
        memory_limit_bytes=memory_limit_bytes,
        leftover=leftover,
        cwd=cwd,
        env=env,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
    )
    result = running.wait()
    if check and not result.exit.ok:
        raise CommandFailed(result)
    return result
