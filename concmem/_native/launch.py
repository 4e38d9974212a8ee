"""Start the sampler, which starts the command, and convert failures to errors of concmem."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from concmem._cgroup.groups import Groups, limit_error
from concmem._files.paths import SAMPLER
from concmem._native.request import Request
from concmem._native.resources import Resources
from concmem._native.shared_memory import SharedMemory, native, track_of
from concmem._native.source_table import source_entries
from concmem.errors import (
    BadInterpreter,
    BadWorkingDirectory,
    CommandError,
    CommandNotExecutable,
    CommandNotFound,
    CommandTooLong,
    ConcmemError,
    NotPermitted,
    SamplerError,
)
from concmem.units import format_bytes

__all__ = ["launch_sampler", "start_error"]

_MEMORY_FD = 3  # the sampler's descriptor of the shared memory, right after the three standard files
_EXEC_BYTES = 1 << 20  # more than the kernel charges for an exec besides arguments and environment


def _texts(words: Iterable[bytes]) -> list[Any]:
    """Return a ``char[]`` of each word. The caller must keep them as long as C has pointers to them."""
    ffi, _ = native()
    return [ffi.new("char[]", word) for word in words]


@lru_cache(maxsize=1)
def _sampler() -> list[Any]:
    return _texts((os.fsencode(SAMPLER), b"%d" % _MEMORY_FD))


def _give_groups(head: Any, groups: Groups, first_fd: int) -> tuple[int, ...]:
    """Write the control groups into the head; return the descriptors that the sampler gets, from `first_fd` on."""
    for entry in source_entries().values():
        track = track_of(head, entry.name)
        if entry.group is not None and track.wanted and groups.fd(entry.group) < 0:
            track.error = errno.ENOENT
            track.why_not = groups.reason(entry.group).encode()[: len(track.why_not) - 1]
    head.memory_group_version = groups.memory_version
    head.is_delegated = groups.is_delegated
    passed_fds = list(dict.fromkeys(fd for fd in (groups.memory_fd, groups.selector_fd) if fd >= 0))
    numbers = {fd: first_fd + i for i, fd in enumerate(passed_fds)}
    head.memory_group_fd = numbers.get(groups.memory_fd, -1)
    head.selector_group_fd = numbers.get(groups.selector_fd, -1)
    return tuple(passed_fds)


def launch_sampler(
    request: Request,
    memory: SharedMemory,
    fds: tuple[int, int, int],
    resources: Resources,
    groups: Groups | None = None,
) -> None:
    """
    Start the sampler, which starts the command. `resources` owns it from its first moment on.

    Raises:
        CommandTooLong, BadWorkingDirectory, SamplerError: The sampler could not be started.
    """
    ffi, lib = native()
    placed = [*fds, memory.fd, memory.done_fd]
    memory.head.debug_fd = 0
    if os.environ.get("CONCMEM_DEBUG", "0") not in ("", "0"):
        memory.head.debug_fd = len(placed)
        placed.append(2)
    if groups is not None:
        placed += _give_groups(memory.head, groups, len(placed))
    if request.setup is not None:
        memory.head.first_passed_fd = len(placed)
        request.setup.write(memory.target_setup(), lib)
        placed += request.setup.pass_fds
    words = [*_texts(groups.prefix if groups is not None else ()), *_sampler(), *_texts(request.argv)]
    argv = ffi.new("char *[]", [*words, ffi.NULL])
    pairs = _texts(request.envp or ())
    envp = ffi.NULL if request.envp is None else ffi.new("char *[]", [*pairs, ffi.NULL])
    cwd = ffi.new("char[]", request.cwd) if request.cwd is not None else ffi.NULL
    spawn = ffi.new("struct cm_spawn *", {"argv": argv, "envp": envp, "cwd": cwd, "fds": placed, "nfds": len(placed)})
    code = lib.cm_launch(memory.head, spawn, resources.c_struct)
    if code == 0:
        return
    if spawn.stage == lib.CM_STAGE_CHDIR or code == -errno.E2BIG:
        raise start_error(request, spawn.stage, -code)
    what = "could not be started" if SAMPLER.exists() else "does not exist"
    raise SamplerError(-code, f"the sampler {what}: {os.strerror(-code)}", os.fspath(SAMPLER))


def _find_program(program: str, request: Request) -> str | None:
    """Return the first existing file for a program's name, even if it cannot be executed."""
    folder = os.fsdecode(request.cwd) if request.cwd is not None else ""
    if "/" in program:
        candidates = [program]
    else:
        paths = [entry[5:] for entry in request.environment if entry.startswith(b"PATH=")]
        candidates = [os.path.join(part, program) for part in os.fsdecode(paths[0] if paths else b"").split(":")]
    return next((path for c in candidates if os.path.lexists(path := os.path.join(folder, c))), None)


def _read_interpreter(path: str) -> str | None:
    try:
        with open(path, "rb") as file:
            first = file.readline(256)
    except OSError:
        return None
    return os.fsdecode(first[2:].split()[0]) if first.startswith(b"#!") and first[2:].split() else None


def start_error(request: Request, stage: int, code: int) -> ConcmemError:
    """Return the error for a command that could not be started. `stage` and `code` (an errno) come from C."""
    _, lib = native()
    program = os.fsdecode(request.argv[0])
    if stage == lib.CM_STAGE_CHDIR:
        folder = os.fsdecode(request.cwd or b"")
        return BadWorkingDirectory(code, f"cannot be the working directory: {os.strerror(code)}", folder)
    limit_bytes = int(request.options["cgroup_limit_bytes"] or 0)
    if stage == lib.CM_STAGE_GROUP:
        return limit_error(limit_bytes, f"its control group could not be set up: {os.strerror(code)}")
    size = sum(map(len, (*request.argv, *request.environment)))
    if code in (errno.ENOMEM, errno.E2BIG) and 0 < limit_bytes < size + _EXEC_BYTES:
        small = f"the limit of its control group ({format_bytes(limit_bytes)}) is too small"
        return CommandError(code, f"cannot be executed: {small}", program)
    if code == errno.E2BIG:
        return CommandTooLong(code, f"arguments and environment of {size:,} bytes are more than Linux accepts", program)
    if request.setup is not None and (refusal := request.setup.refusal(stage, lib)):
        refused = NotPermitted if code in (errno.EPERM, errno.EACCES) else CommandError
        return refused(code, f"{refusal}: {os.strerror(code)}", program)
    if stage != lib.CM_STAGE_EXEC:
        return SamplerError(code, f"the sampler could not start: {os.strerror(code)}", os.fspath(SAMPLER))
    path = _find_program(program, request)
    if code in (errno.ENOENT, errno.ENOTDIR) and path is None:
        where = "no such file" if "/" in program else "not found in any folder of PATH"
        return CommandNotFound(code, where, program)
    if code in (errno.ENOENT, errno.ELIBBAD) and path is not None and os.path.exists(path):
        named = _read_interpreter(path)
        missing = f"its interpreter {named}" if named else "the loader that it names"
        return BadInterpreter(code, f"cannot be executed: {missing} does not exist", program)
    if code == errno.EACCES and path is not None and os.path.isdir(path):
        return CommandNotExecutable(code, "cannot be executed: it is a folder", program)
    if code == errno.EACCES:
        return CommandNotExecutable(code, "cannot be executed: permission denied", program)
    if code == errno.ENOEXEC:
        return CommandNotExecutable(
            code, "cannot be executed: neither a program for this machine nor a script", program
        )
    kind = CommandNotFound if code in (errno.ENOENT, errno.ENOTDIR) else CommandError
    return kind(code, f"cannot be executed: {os.strerror(code)}", program)
