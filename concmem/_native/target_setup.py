"""What the command's process sets before its exec: user, groups, limits, CPUs, session, descriptors."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from concmem._classes.record import Record
from concmem.errors import CommandError, InvalidRequest, InvalidType, UnknownName
from concmem.options import Options

__all__ = ["TargetSetup"]

_MOST = {"pass_fds": 64, "extra_groups": 1024, "rlimits": 16, "cpus": 64 * 128}
"""The sizes of the arrays in ``struct cm_target_setup``."""

_INFINITY = (1 << 64) - 1
_INT_MAX = (1 << 31) - 1
_NO_ID = (1 << 32) - 1
"""For the kernel, this user or group means "keep it"."""


def _whole(name: str, value: Any, least: int, most: int) -> int:
    """Return an int in a range. Types that have ``__index__`` are accepted, as by `subprocess`."""
    try:
        number = value.__index__()
    except AttributeError:
        raise InvalidType(f"{name} must be a whole number, not {value!r}") from None
    if not least <= number <= most:
        raise InvalidRequest(f"{name} must be from {least} to {most}, not {number}")
    return int(number)


def _listed(name: str, value: Any) -> list[Any]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        raise InvalidType(f"{name} must be a list, not {value!r}")
    listed = list(value)
    if len(listed) > _MOST[name]:
        raise InvalidRequest(f"{name} must have at most {_MOST[name]} elements, not {len(listed)}")
    return listed


def _identity(name: str, value: Any, find: Callable[[str], int]) -> int:
    """Return the number of a user or a group, which may be given by name."""
    if isinstance(value, str):
        try:
            return find(value)
        except KeyError:
            raise UnknownName(f"{name}: there is no {name.removeprefix('extra_').rstrip('s')} {value!r}") from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidType(f"{name} must be a name or a whole number, not {value!r}")
    return _whole(name, value, 0, _NO_ID - 1)


def _find_user(name: str) -> int:
    import pwd

    return pwd.getpwnam(name).pw_uid


def _find_group(name: str) -> int:
    import grp

    return grp.getgrnam(name).gr_gid


def _rlimits(value: Any) -> dict[int, tuple[int, int]]:
    if not isinstance(value, Mapping):
        raise InvalidType(f"rlimits must be a mapping of resource.RLIMIT_... to a limit, not {value!r}")
    limits = {}
    for resource, given in value.items():
        number = _whole("a resource of rlimits", resource, 0, _MOST["rlimits"] - 1)
        pair = tuple(given) if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) else (given, given)
        if len(pair) != 2:
            raise InvalidRequest(f"rlimits[{number}] must be a limit, or a soft and a hard limit, not {given!r}")
        # RLIM_INFINITY is -1 in Python, and the largest number for the kernel.
        soft, hard = (_whole(f"rlimits[{number}]", limit, -1, _INFINITY) & _INFINITY for limit in pair)
        if soft > hard:
            raise InvalidRequest(f"rlimits[{number}]: the soft limit {pair[0]} exceeds the hard limit {pair[1]}")
        limits[number] = (soft, hard)
    return limits


def _cpus(value: Any) -> tuple[int, ...]:
    cpus = {_whole("a CPU of cpus", cpu, 0, _MOST["cpus"] - 1) for cpu in _listed("cpus", value)}
    if not cpus:
        raise InvalidRequest("cpus must name at least one CPU")
    return tuple(sorted(cpus))


def _pass_fds(value: Any, program: str) -> tuple[int, ...]:
    fds = {_whole("a descriptor of pass_fds", fd, 0, _INT_MAX) for fd in _listed("pass_fds", value)}
    for fd in fds:  # now: a file that is opened for the measurement could get the number
        try:
            os.get_inheritable(fd)
        except OSError as error:
            raise CommandError(errno.EBADF, f"pass_fds: descriptor {fd} is not open", program) from error
    return tuple(sorted(fd for fd in fds if fd > 2))  # the first three are stdin, stdout and stderr


class TargetSetup(Record):
    """
    What the command's process sets before its exec. A field is None if the option is not given.

    Attributes:
        umask, process_group, uid, gid: The numbers.
        session: Whether it makes a session of its own.
        extra_groups: All supplementary groups.
        cpus: The numbers of the CPUs that it may run on.
        rlimits: By the number of its resource each soft and hard limit, as the kernel has them.
        pass_fds: Descriptors of this process that it gets under the same numbers.
    """

    umask: int | None
    process_group: int | None
    uid: int | None
    gid: int | None
    session: bool
    extra_groups: tuple[int, ...] | None
    cpus: tuple[int, ...] | None
    rlimits: Mapping[int, tuple[int, int]]
    pass_fds: tuple[int, ...]

    @classmethod
    def of(cls, options: Options, program: str) -> TargetSetup:
        """
        Check the options.

        Args:
            options: All options.
            program: The program, for errors.

        Raises:
            InvalidRequest: A value is invalid: an InvalidType for another type, an UnknownName for a user or a group.
            CommandError: EBADF, a descriptor of ``pass_fds`` is not open.
        """
        group, groups, user = options["group"], options["extra_groups"], options["user"]
        leader, cpus = options["process_group"], options["cpus"]
        umask = _whole("umask", options["umask"], -1, 0o777)
        return cls(
            umask=None if umask < 0 else umask,
            process_group=None if leader is None else _whole("process_group", leader, 0, _INT_MAX),
            uid=None if user is None else _identity("user", user, _find_user),
            gid=None if group is None else _identity("group", group, _find_group),
            session=bool(options["start_new_session"]),
            extra_groups=None
            if groups is None
            else tuple(_identity("extra_groups", each, _find_group) for each in _listed("extra_groups", groups)),
            cpus=None if cpus is None else _cpus(cpus),
            rlimits=_rlimits(options["rlimits"] or {}),
            pass_fds=_pass_fds(options["pass_fds"], program),
        )

    def write(self, setup: Any, lib: Any) -> None:
        """Write it into a ``struct cm_target_setup`` that is all zero. `lib` is the extension."""
        numbers = (
            ("umask", self.umask, lib.CM_SET_UMASK),
            ("process_group", self.process_group, lib.CM_SET_PROCESS_GROUP),
            ("gid", self.gid, lib.CM_SET_GID),
            ("uid", self.uid, lib.CM_SET_UID),
        )
        for field, value, flag in numbers:
            if value is not None:
                setattr(setup, field, value)
                setup.flags |= flag
        setup.flags |= lib.CM_SET_SESSION if self.session else 0
        if self.extra_groups is not None:
            setup.flags |= lib.CM_SET_EXTRA_GROUPS
            setup.nextra_groups = len(self.extra_groups)
            setup.extra_groups[0 : len(self.extra_groups)] = self.extra_groups
        if self.cpus is not None:
            setup.flags |= lib.CM_SET_CPUS
            for cpu in self.cpus:
                setup.cpus[cpu // 64] |= 1 << cpu % 64
        for resource, (soft, hard) in self.rlimits.items():
            setup.rlimits |= 1 << resource
            setup.soft_limits[resource], setup.hard_limits[resource] = soft, hard
        setup.npassed_fds = len(self.pass_fds)
        setup.passed_fds[0 : len(self.pass_fds)] = self.pass_fds

    def refusal(self, stage: int, lib: Any) -> str:
        """Return which option could not be set, for a stage (``CM_STAGE_...``); "" for another stage."""
        if lib.CM_STAGE_RLIMIT <= stage < lib.CM_STAGE_RLIMIT + _MOST["rlimits"]:
            return f"rlimits: {_resource_name(stage - lib.CM_STAGE_RLIMIT)} cannot be set"
        return {
            lib.CM_STAGE_SESSION: "start_new_session is not possible",
            lib.CM_STAGE_PROCESS_GROUP: f"process_group={self.process_group} cannot be set",
            lib.CM_STAGE_CPUS: f"cpus={list(self.cpus or ())} cannot be set",
            lib.CM_STAGE_EXTRA_GROUPS: "extra_groups cannot be set",
            lib.CM_STAGE_GID: f"group={self.gid} cannot be set",
            lib.CM_STAGE_UID: f"user={self.uid} cannot be set",
        }.get(stage, "")


def _resource_name(number: int) -> str:
    import resource

    names = (name for name in dir(resource) if name.startswith("RLIMIT_") and getattr(resource, name) == number)
    return next(names, f"resource {number}")
