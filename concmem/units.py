"""Format and parse bytes, seconds, counts and signals."""

from __future__ import annotations

import re
from collections.abc import Container

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
    "spell_bytes",
    "spell_count",
    "spell_seconds",
    "spell_share",
]

_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_BYTES = {"": 1, "b": 1} | {f"{p}{s}": 1024 ** (i + 1) for i, p in enumerate("kmgt") for s in ("", "ib")}
_BYTES |= {f"{p}b": 1000 ** (i + 1) for i, p in enumerate("kmgt")}
_US = {"us": 1, "ms": 10**3, "": 10**6, "s": 10**6, "m": 60 * 10**6, "h": 3600 * 10**6}
"""The units of time in microseconds."""
_NUMBER = re.compile(r"([0-9]+(?:_[0-9]+)*)?(?:\.([0-9]+))?\s*([a-z%]*)")
_MOST_CHARACTERS = 100


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


def _split(text: str, units: Container[str], what: str) -> tuple[int, int, str]:
    """Return a number as a fraction of two whole numbers, whose quotient is the nearest float, and its unit."""
    match = _NUMBER.fullmatch(text.strip()) if len(text) <= _MOST_CHARACTERS else None
    whole, places, unit = match.groups("") if match is not None else ("", "", "")
    if not whole + places or unit not in units:
        raise InvalidRequest(f"{text[:_MOST_CHARACTERS]!r} is not {what}")
    return int(whole + places), 10 ** len(places), unit


def _parse(text: str, units: dict[str, int], what: str) -> int:
    digits, divisor, unit = _split(text.lower(), units, what)
    if digits * units[unit] % divisor:
        raise InvalidRequest(f"{text!r} is not {what}: it must be a whole number")
    return digits * units[unit] // divisor


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
    digits, divisor, unit = _split(text.lower(), _US, "a time such as 1ms, 0.5s or 2m")
    return digits * _US[unit] / (divisor * 10**6)


def parse_share(text: str) -> float:
    """
    ``"2%"`` -> ``0.02``; without a percent sign the number itself.

    Raises:
        InvalidRequest: The text is not a share.
    """
    digits, divisor, unit = _split(text, ("", "%"), "a share such as 2% or 0.02")
    return digits / (divisor * (100 if unit else 1))


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
    return int(text) if re.fullmatch("[0-9]{1,20}", text) else text


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


def _spell(value: int, units: dict[str, int]) -> str:
    """Return a number in the largest unit of which it is a whole multiple."""
    if value == 0:
        return "0"
    return next(f"{value // size}{unit}" for unit, size in reversed(units.items()) if value % size == 0)


def spell_count(count: int) -> str:
    """``10_000`` -> ``"10k"``: the text from which `parse_count` reads the same number."""
    return _spell(count, _COUNTS)


def spell_bytes(count: int) -> str:
    """``67_108_864`` -> ``"64M"``: the text from which `parse_bytes` reads the same number."""
    return _spell(count, {"": 1} | {unit.upper(): _BYTES[unit] for unit in "kmgt"})


def spell_seconds(seconds: float) -> str:
    """``0.0001`` -> ``"100us"``: the text from which `parse_seconds` reads the same number, in whole microseconds."""
    return _spell(round(seconds * 10**6), {unit: _US[unit] for unit in ("us", "ms", "s", "m", "h")})


def spell_share(share: float) -> str:
    """``0.02`` -> ``"2%"``: the text from which `parse_share` reads the same number."""
    return f"{share * 100:g}%"
