"""
All options of a measurement, each declared once.

`concmem.measure`, `concmem.start` and ``concmem run`` take their options from here. To add an option, add a field to
`Options` and use its value, which `Request.options` contains.
"""

# Do not add `from __future__ import annotations`: `declared` reads the annotations as objects, not as strings.

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import IO, Annotated, Any, Literal, TypedDict, cast, get_args

from concmem._classes.declaration import Option, Range, Spelling, declared, documented, parsed
from concmem.errors import InvalidRequest
from concmem.units import (
    parse_bytes,
    parse_count,
    parse_cpus,
    parse_identity,
    parse_limits,
    parse_seconds,
    parse_share,
    spell_bytes,
    spell_count,
    spell_seconds,
    spell_share,
)

__all__ = [
    "DEFAULTS",
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "TARGET_SETUP_DEFAULTS",
    "Command",
    "Leftover",
    "MeasureOptions",
    "Option",
    "Options",
    "Spelling",
    "Target",
    "TextOptions",
    "Until",
    "check_options",
    "declared",
    "documented",
    "parsed",
    "sources_of",
    "switches_of",
]

Command = str | bytes | os.PathLike[str] | Sequence[str | bytes | os.PathLike[str]]

Leftover = Literal["wait", "leave", "kill"]
"""What to do with processes that still run when the root has ended."""

Until = Literal["tree", "root"]
"""Whose end is the end of a measurement."""

PIPE, STDOUT, DEVNULL = -1, -2, -3
"""The values of the same names in `subprocess`. Importing it would take longer than a short measurement."""

Target = int | IO[Any] | None
"""What a standard stream can be redirected to."""


def _one_of(choices: Any) -> Callable[[str, Any], None]:
    """Return a check for one of the words of a Literal."""

    def check(name: str, value: Any) -> None:
        words = [repr(word) for word in get_args(choices)]
        if not isinstance(value, str) or value not in get_args(choices):
            raise InvalidRequest(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}")

    return check


def _check_codec(name: str, value: Any) -> None:
    import codecs

    what = "the name of an encoding" if name == "encoding" else "the name of an error handler such as 'replace'"
    try:
        if value is not None:
            (codecs.lookup if name == "encoding" else codecs.lookup_error)(value)
    except (LookupError, TypeError, ValueError):
        raise InvalidRequest(f"{name} must be {what}, not {value!r}") from None


class Options(TypedDict, total=False):
    """The options of `concmem.start`."""

    interval_s: Annotated[
        float | None,
        Option(
            "The time between two readings of the tree in seconds, from 0.0001 to 3600. None: at least one "
            "millisecond, and as long as `cpu_budget` demands.",
            check=Range(0.0001, 3600, or_none=True),
            spelled=Spelling(
                "--interval",
                "Fix the time between two readings, such as 500us, 1ms, 0.1s. [default: by --cpu-budget]",
                metavar="TIME",
                parse=parse_seconds,
                spell=spell_seconds,
            ),
        ),
    ]
    cpu_budget: Annotated[
        float,
        Option(
            "The share of one CPU, from 0.001 to 1, that the sampler may use, after 20 ms of CPU time at the start. "
            "The larger the tree, the longer it pauses between two readings. Unused with a fixed `interval_s`.",
            default=0.02,
            check=Range(0.001, 1),
            spelled=Spelling(
                "--cpu-budget",
                "Limit the sampler to this share of one CPU, such as 0.5%, 2%, 0.1.",
                metavar="SHARE",
                parse=parse_share,
                spell=spell_share,
                default="2%",
            ),
        ),
    ]
    pss_budget: Annotated[
        float,
        Option(
            "The share of wall time, from 0 to 1, for reading smaps_rollup, and at most half of `cpu_budget`. A "
            "reading can delay a target that maps memory. With 0 it is not read, and `Measurement.tree_peak_pss` is "
            "unavailable.",
            default=0.01,
            check=Range(0, 1),
        ),
    ]
    timeout_s: Annotated[
        float | None,
        Option(
            "Kill the whole tree after this many seconds.",
            check=Range(1e-6, 1e9, or_none=True),
            spelled=Spelling(
                "--timeout",
                "Kill CMD and its descendants after this time, such as 500ms, 60s, 2m. [default: none]",
                metavar="TIME",
                parse=parse_seconds,
                spell=spell_seconds,
            ),
        ),
    ]
    timeout_grace_s: Annotated[
        float | None,
        Option(
            "At the timeout send SIGTERM to every process of the tree, and kill the tree this many seconds later. "
            "Without it, the tree is killed at the timeout.",
            check=Range(0, 1e9, or_none=True),
            spelled=Spelling(
                "--timeout-grace",
                "Send SIGTERM at the timeout, and SIGKILL this time later. [default: SIGKILL at once]",
                metavar="TIME",
                parse=parse_seconds,
                spell=spell_seconds,
            ),
        ),
    ]
    cpu_limit_s: Annotated[
        float | None,
        Option(
            "Kill the whole tree when it has used more CPU time than this many seconds: user and system time of all "
            "its processes, living or waited for. It is read more often the closer the limit is. A command that ends "
            "first keeps its own exit; compare `Measurement.user_s` + `Measurement.system_s` as well.",
            check=Range(1e-6, 1e9, or_none=True),
            spelled=Spelling(
                "--cpu-limit",
                "Kill CMD and its descendants after this CPU time, such as 500ms, 60s, 2m. [default: none]",
                metavar="TIME",
                parse=parse_seconds,
                spell=spell_seconds,
            ),
        ),
    ]
    processes_limit: Annotated[
        int | None,
        Option(
            "Kill the whole tree when a reading finds more processes alive than this. Threads do not count. "
            "``resource.RLIMIT_NPROC`` in `rlimits` counts all processes and threads of a user, and makes a fork fail.",
            check=Range(1, 1 << 22, or_none=True),
            spelled=Spelling(
                "--processes-limit",
                "Kill CMD and its descendants above this number of processes. [default: none]",
                metavar="N",
                parse=parse_count,
                spell=spell_count,
            ),
        ),
    ]
    memory_limit_bytes: Annotated[
        int | None,
        Option(
            "Kill the whole tree when a reading of its footprint is above this: pages in RAM, swapped-out memory, huge "
            "pages, and files in memory. Of several processes shared pages count once, unless PSS cannot be read or "
            "has no budget. A spike between two readings is seen if it raises a VmHWM.",
            check=Range(1, 1 << 62, or_none=True),
            spelled=Spelling(
                "--memory-limit",
                "Kill CMD and its descendants above this memory, such as 512M, 2G. [default: none]",
                metavar="BYTES",
                parse=parse_bytes,
                spell=spell_bytes,
            ),
        ),
    ]
    cgroup_limit_bytes: Annotated[
        int | None,
        Option(
            "The limit of the command's own control group (``memory.max``, in version 1 ``memory.limit_in_bytes``; "
            "swap is not limited). Runtimes such as the JVM see it and adapt. Above it, page cache and kernel memory "
            "included, the kernel reclaims and swaps, and then its OOM killer ends a process. Implies `cgroup`. If "
            "the group cannot be made, the command is not started.",
            check=Range(1, 1 << 62, or_none=True),
            source="cgroup",
            spelled=Spelling(
                "--cgroup-limit",
                "Let the kernel limit CMD's control group to this memory; implies --cgroup. [default: none]",
                metavar="BYTES",
                parse=parse_bytes,
                spell=spell_bytes,
            ),
        ),
    ]
    until: Annotated[
        Until,
        Option(
            "``tree``: measure until the last process of the tree has ended, or as `leftover` says. ``root``: until "
            "the root has ended. Processes that still run are then left running, as with ``leftover='leave'``, unless "
            "`leftover` is ``kill``.",
            default="tree",
            check=_one_of(Until),
        ),
    ]
    leftover: Annotated[
        Leftover,
        Option(
            "What to do with processes that still run when the root has ended. ``wait``: measure them until they end. "
            "``leave``: read once more, end the measurement, and let them run; `Measurement.left_running` lists them, "
            "and later writes to a PIPE raise SIGPIPE in them. ``kill``: read once more, then kill them; "
            "`Measurement.exit` is still that of the root.",
            default="wait",
            check=_one_of(Leftover),
            spelled=Spelling("--leftover", "Wait for, leave or kill the processes that outlive CMD."),
        ),
    ]
    windows: Annotated[
        bool,
        Option(
            "Read and reset the VmHWM of every process at every reading, so that each window of the timeline holds its "
            "exact maximum. This resets the command's own ``ru_maxrss`` and VmHWM.",
            default=False,
            source="windows",
            spelled=Spelling("--windows", "Record the exact maximum between two readings; resets CMD's own ru_maxrss."),
        ),
    ]
    exact: Annotated[
        bool,
        Option(
            "Let the kernel keep the sum of RSS, with an eBPF program: `Measurement.tree_peak_rss_sum` is then exact. "
            "Needs root. During the measurement, page faults on the whole machine cost more.",
            default=False,
            source="rss_stat",
            spelled=Spelling("--exact", "Record the exact sum of RSS by eBPF (root); slows all page faults."),
        ),
    ]
    cgroup: Annotated[
        bool,
        Option(
            "Run the command in its own control group, for `Measurement.cgroup_peak`. Needs a delegated subtree, a "
            "systemd user manager, or root.",
            default=False,
            source="cgroup",
            spelled=Spelling("--cgroup/--no-cgroup", "Run CMD in its own control group, if permitted.", default=True),
        ),
    ]
    taskstats: Annotated[
        bool,
        Option(
            "Receive the kernel's exit record of every process, even of very short ones. Needs CAP_NET_ADMIN.",
            default=False,
            source="taskstats",
            spelled=Spelling(
                "--taskstats/--no-taskstats",
                "Read the kernel's exit record of each process, if permitted.",
                default=True,
            ),
        ),
    ]
    cwd: Annotated[
        str | os.PathLike[str] | None,
        Option(
            "The working directory of the command.",
            spelled=Spelling("--cwd", "Run CMD in this folder. [default: the current one]", metavar="DIR"),
        ),
    ]
    env: Annotated[
        Mapping[str, str] | None,
        Option("The complete environment of the command; by default that of this process."),
    ]
    rlimits: Annotated[
        Mapping[int, int | tuple[int, int]] | None,
        Option(
            "Resource limits of the command: ``resource.RLIMIT_...`` to a soft and a hard limit, or one number for "
            "both. Its children inherit them; each counts for itself, so RLIMIT_CPU and RLIMIT_AS limit no tree.",
            is_set_up=True,
            spelled=Spelling(
                "--rlimits",
                "Set CMD's resource limits, such as nofile=64,core=0,stack=8M:unlimited (soft:hard).",
                metavar="LIMITS",
                parse=parse_limits,
            ),
        ),
    ]
    cpus: Annotated[
        Collection[int] | None,
        Option(
            "The CPUs that the command may run on, as in `os.sched_setaffinity`. The sampler is not bound to them.",
            is_set_up=True,
            spelled=Spelling(
                "--cpus", "Run CMD on these CPUs only, such as 0-3,6. [default: all]", metavar="CPUS", parse=parse_cpus
            ),
        ),
    ]
    user: Annotated[
        str | int | None,
        Option(
            "The user that runs the command, by name or number, as in `subprocess`. Its supplementary groups stay "
            "those of this process, unless `extra_groups` is given.",
            is_set_up=True,
            spelled=Spelling(
                "--user", "Run CMD as this user. [default: the caller's]", metavar="USER", parse=parse_identity
            ),
        ),
    ]
    group: Annotated[
        str | int | None,
        Option(
            "The group that runs the command, by name or number, as in `subprocess`.",
            is_set_up=True,
            spelled=Spelling(
                "--group", "Run CMD as this group. [default: the caller's]", metavar="GROUP", parse=parse_identity
            ),
        ),
    ]
    extra_groups: Annotated[
        Iterable[str | int] | None,
        Option(
            "All supplementary groups of the command, by name or number, as in `subprocess`; at most 1,024.",
            is_set_up=True,
        ),
    ]
    umask: Annotated[
        int,
        Option(
            "The command's mask of permissions for new files; -1 for that of this process, as in `subprocess`.",
            default=-1,
            is_set_up=True,
        ),
    ]
    start_new_session: Annotated[
        bool,
        Option(
            "Make the command the leader of a new session, as in `subprocess`. Ctrl-C in the terminal does not reach "
            "it then.",
            default=False,
            is_set_up=True,
        ),
    ]
    process_group: Annotated[
        int | None,
        Option(
            "The process group of the command: 0 for a new one, else one of the same session, as in `subprocess`.",
            is_set_up=True,
        ),
    ]
    pass_fds: Annotated[
        Collection[int],
        Option(
            "Descriptors of this process that the command gets under the same numbers, as in `subprocess`; at most 64. "
            "All others are closed.",
            default=(),
            is_set_up=True,
        ),
    ]
    stdin: Annotated[Target, Option("As in `subprocess`: None, a file descriptor, a file, DEVNULL or PIPE.")]
    stdout: Annotated[
        Target,
        Option("The same. With PIPE the output is in the measurement, unless it was read from `Running.stdout`."),
    ]
    stderr: Annotated[Target, Option("The same, or STDOUT.")]
    max_output_bytes: Annotated[
        int | None,
        Option(
            "Keep at most this many bytes of what each of ``stdout`` and ``stderr`` writes to a PIPE. The rest is read "
            "and dropped, and `Measurement.stdout_dropped_bytes` and `stderr_dropped_bytes` count it.",
            check=Range(0, 1 << 62, or_none=True),
        ),
    ]


class TextOptions(Options, total=False):
    """The options of `concmem.start`: those that decide between text and bytes come last."""

    text: Annotated[
        bool | None,
        Option(
            "As in `subprocess`: pipes have text instead of bytes, with ``\\n`` at the end of each line. Output that "
            "is not in `encoding` raises a UnicodeDecodeError when it is read."
        ),
    ]
    encoding: Annotated[
        str | None,
        Option("The encoding of text, by default that of the locale. Implies `text`.", check=_check_codec),
    ]
    errors: Annotated[
        str | None,
        Option("What to do with output that is not in `encoding`. Implies `text`.", check=_check_codec),
    ]


class MeasureOptions(TextOptions, total=False):
    """The options of `concmem.measure`."""

    check: Annotated[
        bool,
        Option(
            "Raise `CommandFailed` unless the command exits by itself with 0, and `TimeoutExpired` at `timeout_s`.",
            default=False,
        ),
    ]
    input: Annotated[
        Any,
        Option("What the command reads from its standard input: bytes, or a str with `text`. `stdin` is then a PIPE."),
    ]


_DECLARED = {name: option for name, (_, option) in declared(TextOptions).items()}

DEFAULTS = cast(TextOptions, {name: option.default for name, option in _DECLARED.items()})
"""The value of each option that is not given."""

TARGET_SETUP_DEFAULTS = MappingProxyType({name: each.default for name, each in _DECLARED.items() if each.is_set_up})
"""The same of those that the command's process sets before its exec."""


def check_options(options: TextOptions, function: str) -> None:
    """
    Check the options that a function was called with.

    Raises:
        TypeError: There is no such option.
        InvalidRequest: A value is invalid.
    """
    for name, value in options.items():
        if name not in _DECLARED:
            raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")
        check = _DECLARED[name].check
        if check is not None:
            check(name, value)


def sources_of(options: TextOptions) -> frozenset[str]:
    """Return the names of the optional sources that these options request."""
    return frozenset([_DECLARED[name].source for name, value in options.items() if value and _DECLARED[name].source])


def switches_of(sources: frozenset[str]) -> Options:
    """Return the options that request these sources and need no value; sources that are always read have none."""
    switches = {name: option for name, (kind, option) in declared(Options).items() if kind is bool}
    return cast(Options, {name: True for name, option in switches.items() if option.source in sources})
