"""Format and parse bytes, seconds, counts and signals."""

from __future__ import annotations

import re

from concmem.errors import InvalidRequest

__all__ = [
    "exit_status",
    "format_bytes",
    "format_count",
    "format_error",
    "format_rough_time",
    "format_seconds",
    "parse_bytes",
    "parse_count",
    "parse_cpus",
    "parse_identity",
    "parse_limits",
    "parse_seconds",
    "parse_share",
    "signal_name",
]

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BYTES = {"": 1, "b": 1} | {f"{p}{s}": 1024 ** (i + 1) for i, p in enumerate("kmgt") for s in ("", "ib")}
_BYTES |= {f"{p}b": 1000 ** (i + 1) for i, p in enumerate("kmgt")}
_SECONDS = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def format_bytes(count: float) -> str:
    """``1_572_864`` -> ``"1.50 MiB"``: three significant digits, binary units."""
    sign, count = ("-", -count) if count < 0 else ("", count)
    for unit in _BINARY:
        if count < 1023.5 or unit == _BINARY[-1]:
            break
        count /= 1024
    digits = 0 if unit == "B" or count >= 99.95 else 1 if count >= 9.995 else 2
    return f"{sign}{count:.{digits}f} {unit}"


def format_error(status: str, error_bytes: int, over_bytes: int) -> str:
    """
    Return the error of a figure as text: ``"-28.0 KiB +744 KiB"``, ``"or more"``, ``"exact"``.

    Args:
        status: The status of the figure, see `concmem.model.Figure`.
        error_bytes: By how much the true amount can exceed the figure.
        over_bytes: By how much the figure can exceed the true amount.
    """
    if status == "exact":
        return status
    open_end = {"sampled": "or more", "upper_bound": "or less"}.get(status, "")
    signed = (("-", 0 if status == "upper_bound" else over_bytes), ("+", 0 if status == "sampled" else error_bytes))
    margins = " ".join(f"{sign}{format_bytes(size)}" for sign, size in signed if size)
    return ", ".join(filter(None, (open_end, margins))) or "exact"


def format_seconds(seconds: float) -> str:
    """``0.0123`` -> ``"12.3 ms"``, ``75`` -> ``"1:15"``."""
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.1f} ms"
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def format_rough_time(seconds: float) -> str:
    """``75`` -> ``"1 min"``: rounded, for estimates."""
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "a second"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def format_count(count: int) -> str:
    """``1_000_000`` -> ``"1 000 000"``."""
    return f"{count:,}".replace(",", " ")


def signal_name(number: int) -> str:
    """``9`` -> ``"SIGKILL"``, ``35`` -> ``"signal 35"``: most real-time signals have no name."""
    import signal

    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def exit_status(code: int | None, signal: int | None) -> int:
    """
    Return the exit status of a process, as a shell's ``$?``.

    Args:
        code: Its exit code, or None.
        signal: The number of the signal that ended it, or None. If both are None it still runs: the status is 125.
    """
    if signal is not None:
        return 128 + signal
    return 125 if code is None else code


def _parse(text: str, units: dict[str, int], what: str) -> int:
    match = re.fullmatch(r"([0-9][0-9_]*(?:\.[0-9]+)?)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in units:
        raise InvalidRequest(f"{text!r} is not {what}")
    value = float(match[1]) * units[match[2]]
    if value != int(value):
        raise InvalidRequest(f"{text!r} is not {what}: it must be a whole number")
    return int(value)


def parse_count(text: str) -> int:
    """
    ``"10k"`` -> ``10_000``; k, M and G are powers of 1,000.

    Raises:
        InvalidRequest: The text is not a whole number.
    """
    return _parse(text, _COUNTS, "a number such as 1, 10k or 1M")


def parse_bytes(text: str) -> int:
    """
    ``"64M"`` -> ``67_108_864``; K and KiB are 1,024 bytes, KB is 1,000.

    Raises:
        InvalidRequest: The text is not a whole number of bytes.
    """
    return _parse(text, _BYTES, "an amount such as 4096, 64M or 1.5GiB")


def parse_seconds(text: str) -> float:
    """
    ``"1ms"`` -> ``0.001``; the units are us, ms, s, m (minutes) and h, by default seconds.

    Raises:
        InvalidRequest: The text is not a time.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*([a-z]*)", text.strip().lower())
    if match is None or match[2] not in _SECONDS:
        raise InvalidRequest(f"{text!r} is not a time such as 1ms, 0.5s or 2m")
    return float(match[1]) * _SECONDS[match[2]]


def parse_share(text: str) -> float:
    """
    ``"2%"`` -> ``0.02``; without a percent sign the number itself.

    Raises:
        InvalidRequest: The text is not a share.
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*(%?)", text.strip())
    if match is None:
        raise InvalidRequest(f"{text!r} is not a share such as 2% or 0.02")
    return float(match[1]) / (100 if match[2] else 1)


def parse_cpus(text: str) -> tuple[int, ...]:
    """
    ``"0-2,6"`` -> ``(0, 1, 2, 6)``: the list of taskset(1).

    Raises:
        InvalidRequest: The text is not a list of CPUs.
    """
    cpus: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part.strip())
        if match is None or int(match[1]) > int(match[2] or match[1]):
            raise InvalidRequest(f"{text!r} is not a list of CPUs such as 0-3,6")
        cpus.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(cpus))


def parse_identity(text: str) -> str | int:
    """``"nobody"`` -> ``"nobody"``, ``"1000"`` -> ``1000``: the name or the number of a user or a group."""
    return int(text) if text.isdecimal() else text


def parse_limits(text: str) -> dict[int, tuple[int, int]]:
    """
    ``"nofile=64:128,core=0"`` -> ``{RLIMIT_NOFILE: (64, 128), RLIMIT_CORE: (0, 0)}``: soft and hard resource limits.

    Amounts may have a unit as in `parse_bytes`. ``unlimited`` is -1, as ``resource.RLIM_INFINITY``.

    Raises:
        InvalidRequest: The text is not a list of limits.
    """
    import resource

    limits = {}
    for part in text.split(","):
        name, _, amounts = part.strip().partition("=")
        number = getattr(resource, f"RLIMIT_{name.upper()}", None)
        if number is None:
            known = sorted(each[7:].lower() for each in dir(resource) if each.startswith("RLIMIT_"))
            raise InvalidRequest(f"{name!r} is not a resource; known are {', '.join(known)}")
        soft, _, hard = amounts.partition(":")
        pair = [-1 if each == "unlimited" else parse_bytes(each) for each in (soft, hard or soft)]
        limits[number] = (pair[0], pair[1])
    return limits
