"""A command that was launched: what `Running` and its counterpart for asynchronous code have in common."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from typing import TYPE_CHECKING, Any, Generic

from concmem._cgroup.groups import Groups, make_groups
from concmem._figures.measurement import EndedTree, HostValues
from concmem._figures.outcome import find_oom, unexplained_sigkills
from concmem._files.machine import oom_kills, read_machine, swapped_bytes
from concmem._files.proc import check_proc
from concmem._native.launch import launch_sampler, start_error
from concmem._native.observed import observe
from concmem._native.pipes import Pipes
from concmem._native.redirect import open_standard_files
from concmem._native.request import Request
from concmem._native.resources import Resources
from concmem._native.shared_memory import SharedMemory, native
from concmem._native.source_table import groups_of
from concmem.errors import ConcmemError, SamplerError
from concmem.options import Command

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    import concmem
    from concmem.running.reading import Reading

    Output = TypeVar("Output", bytes, str, default=bytes)
else:
    from typing import TypeVar

    Output = TypeVar("Output", bytes, str)

__all__ = ["Launched", "Output"]


class Launched(Generic[Output]):
    """
    A command that was launched.

    Attributes:
        args: The command, as it was given.
    """

    def __init__(self, request: Request) -> None:
        # First: everything opened below belongs to these two, which release it after an exception at any moment.
        self._resources = resources = Resources()
        self._pipes = Pipes()
        self._must_be_waited_for = False
        self._request = request
        self.args: Command = request.args
        self._waiting = threading.RLock()
        self._ended: EndedTree | None = None
        self._measurement: concmem.Measurement[Output] | None = None
        self._failure: Exception | None = None
        self._root_pid: int | None = None
        self._sigkills_sent = 0
        self._groups: Groups | None = None
        check_proc()
        try:
            fds = open_standard_files(resources, self._pipes, request)
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
            launch_sampler(request, self._memory, fds, resources, self._groups)
            resources.close_target_streams()
            # After the launch: this work runs while the target runs, so that it does not delay the caller.
            self._started_s = time.time()
            self._machine = read_machine()
            self._swapped_before = swapped_bytes(self._machine)
            self._oom_kills_before = oom_kills()
        except BaseException:
            self._release()
            raise
        self._must_be_waited_for = True

    def fileno(self) -> int:
        """
        Return a file descriptor that becomes readable when the measurement ends, for `selectors` and asyncio.

        Output to a PIPE that the caller does not read is collected in a thread from now on, so that the command does
        not wait.
        """
        self._keep_collecting()
        return self._resources.pidfd

    @property
    def root_fd(self) -> int:
        """A file descriptor that becomes readable when the root has ended; -1 after the measurement. As `fileno`."""
        self._keep_collecting()
        memory = self._memory
        if memory is None or self.root_pid is None:
            return -1
        return self._resources.root_fd(memory.head)

    @property
    def root_pid(self) -> int | None:
        """The root's PID, or None if the command could not be started. Blocks until it is known (about 1 ms)."""
        memory = self._memory  # another thread may set it to None; this reference keeps the memory valid
        if memory is None:
            return self._root_pid
        while not native()[1].cm_wait_started(self._resources.c_struct, memory.head):
            continue
        return memory.head.root_pid or None

    @property
    def pid(self) -> int:
        """The root's PID, as `subprocess.Popen.pid`."""
        return self.root_pid or 0

    @property
    def root_ended(self) -> bool:
        """Whether the root has ended. Other processes of the tree may still run."""
        self._keep_collecting()
        memory = self._memory
        return memory is None or bool(native()[1].cm_root_ended(memory.head))

    @property
    def returncode(self) -> int | None:
        """
        How the root ended: its exit code, or -n if signal n ended it, as `subprocess.Popen.returncode`.

        None while it runs. It is always up to date, without a call of `poll`.
        """
        memory = self._memory
        if memory is None:
            return None if self._ended is None else self._ended.ending.returncode
        if not native()[1].cm_root_ended(memory.head):
            return None
        return os.waitstatus_to_exitcode(memory.head.wait_status)

    def alive(self) -> int:
        """Return how many processes of the tree were alive at the last tick."""
        self._keep_collecting()
        memory = self._memory
        return int(memory.head.alive) if memory is not None else 0

    def now(self) -> Reading | None:
        """
        Return the sampler's last reading of the tree. It is read from shared memory, in some microseconds.

        None before the first reading (about 1 ms after the start), and after `wait`: then the measurement has all.
        """
        self._keep_collecting()
        memory = self._memory
        if memory is None:
            return None
        from concmem.running.reading import last_reading

        return last_reading(memory)

    def send_signal(self, sig: int) -> None:
        """
        Send a signal to the root, unless it has ended. Another process that got its PID cannot receive it.

        Raises:
            OSError: The root belongs to another user, or there is no such signal.
        """
        memory = self._memory
        if memory is None or self.root_pid is None:
            return
        if sig == signal.SIGKILL:
            self._sigkills_sent = 1
        self._resources.signal_root(memory.head, sig)

    def terminate(self) -> None:
        """Send SIGTERM to the root. `stop` ends the whole tree."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to the root. `stop` ends the whole tree."""
        self.send_signal(signal.SIGKILL)

    def stop(self) -> None:
        """
        Kill the whole tree.

        ``exit.reason`` is then ``interrupted``, unless the root had ended before: then it is the root's own.
        """
        self._resources.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: returncode: {self.returncode} args: {self.args!r:.80}>"

    def _keep_collecting(self) -> None:
        """Collect the output in a thread, unless a call of `wait` does."""
        if (self._pipes.outputs or self._pipes.input) and self._memory is not None:
            if not self._waiting.acquire(blocking=False):
                return
            try:
                self._pipes.start_thread()
            finally:
                self._waiting.release()

    def _output(self, name: str) -> Any:
        """Return the collected output, as bytes or as text."""
        content = self._pipes.collected(name)
        if content is None or not self._request.is_text:
            return content
        from concmem._native.text import as_text

        options = self._request.options
        is_cut = self._pipes.dropped_bytes(name) > 0
        return as_text(content, options["encoding"], options["errors"], is_cut=is_cut)

    def _finish(self) -> None:
        """Read what was recorded, and release everything. The tree has ended."""
        assert self._memory is not None
        self._root_pid = self._memory.head.root_pid or None
        self._ended = self._read()

    def _fail(self, error: BaseException) -> None:
        """Store the error for later calls. An exception that interrupted a call has ended the tree."""
        import copy

        stopped = SamplerError(0, "was stopped: an exception interrupted wait()", "concmem-sampler")
        # A copy: the error itself refers to a frame, and through it to everything that is released.
        self._failure = copy.copy(error) if isinstance(error, (ConcmemError, UnicodeError)) else stopped

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
        sigkills = unexplained_sigkills(observed, self._request.options["leftover"]) - self._sigkills_sent
        known = HostValues(
            machine=self._machine,
            started_s=self._started_s,
            stdout=self._output("stdout"),
            stderr=self._output("stderr"),
            stdout_dropped_bytes=self._pipes.dropped_bytes("stdout"),
            stderr_dropped_bytes=self._pipes.dropped_bytes("stderr"),
            swapped_bytes=None if swapped is None else swapped - (self._swapped_before or 0),
            oom=find_oom(observed, min(sigkills, oom_kills() - self._oom_kills_before) if sigkills > 0 else 0),
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
        self._release()

    def _release(self) -> None:
        self._resources.release()
        self._pipes.close()

    def __del__(self) -> None:
        # Python discards an exception that a signal handler raises in here. So this does as little as possible, and
        # the resources are released without it.
        # A hook for warnings or for such exceptions can keep this object. Its memory may already be unmapped.
        self._memory = None
        if getattr(self, "_must_be_waited_for", False) and self._resources.is_ours():
            self._resources.release()
            warnings.warn(
                f"{self._request.shown!r} was started, but wait() was not called",
                ResourceWarning,
                stacklevel=2,
                source=self,
            )
