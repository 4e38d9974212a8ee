"""Formatting and parsing of amounts."""

from __future__ import annotations

import pytest

from concmem.errors import InvalidRequest
from concmem.units import (
    format_bytes,
    format_count,
    format_error,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_identity,
    parse_seconds,
    parse_share,
    spell_bytes,
    spell_count,
    spell_seconds,
    spell_share,
)


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (-1536, "-1.50 KiB"),
        (1 << 20, "1.00 MiB"),
        (102_350, "100 KiB"),
        (1023 << 10, "1023 KiB"),
        (1_048_560, "1.00 MiB"),
        (106_950_000, "102 MiB"),
        (3 << 30, "3.00 GiB"),
        (5 << 40, "5.00 TiB"),
        (2000 << 50, "2000 PiB"),
    ],
)
def test_format_bytes(count: int, text: str) -> None:
    """Three or four digits in a unit that keeps the number below 1024."""
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("status", "error_bytes", "over_bytes", "text"),
    [
        ("exact", 0, 0, "exact"),
        ("bounded", 744 << 10, 28 << 10, "-28.0 KiB +744 KiB"),
        ("bounded", 744 << 10, 0, "+744 KiB"),
        ("bounded", 0, 28 << 10, "-28.0 KiB"),
        ("sampled", 0, 0, "or more"),
        ("sampled", 1, 28 << 10, "or more, -28.0 KiB"),
        ("upper_bound", 0, 1, "or less"),
        ("upper_bound", 744 << 10, 0, "or less, +744 KiB"),
    ],
)
def test_format_error(status: str, error_bytes: int, over_bytes: int, text: str) -> None:
    """Both margins if there are two. An open end is named, and has no margin."""
    assert format_error(status, error_bytes, over_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 us"),
        (0.000_04, "40 us"),
        (0.012_34, "12.3 ms"),
        (1.5, "1.50 s"),
        (59.99, "59.99 s"),
        (75, "1:15"),
        (3600, "1:00:00"),
        (3725.4, "1:02:05"),
    ],
)
def test_format_seconds(seconds: float, text: str) -> None:
    """Below a minute with a unit, from a minute on as a clock shows it."""
    assert format_seconds(seconds) == text


@pytest.mark.parametrize(("count", "text"), [(0, "0"), (999, "999"), (1000, "1 000"), (1_000_000, "1 000 000")])
def test_format_count(count: int, text: str) -> None:
    """Thousands are separated by spaces."""
    assert format_count(count) == text


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("1", 1),
        ("10k", 10_000),
        ("1M", 1_000_000),
        ("1.5k", 1500),
        (" 2G ", 2 * 10**9),
        ("1_000", 1000),
        ("0", 0),
        ("9007199254740993", 9007199254740993),
    ],
)
def test_parse_count(text: str, count: int) -> None:
    """k, M and G are powers of a thousand, in either case."""
    assert parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4096", 4096),
        ("4096B", 4096),
        ("64M", 64 << 20),
        ("64MiB", 64 << 20),
        ("64 mib", 64 << 20),
        ("64MB", 64_000_000),
        ("1.5GiB", 3 << 29),
        ("2T", 2 << 40),
    ],
)
def test_parse_bytes(text: str, count: int) -> None:
    """K and KiB are 1,024 bytes, KB is 1,000."""
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1ms", 0.001), ("1", 1), ("0.5s", 0.5), (".5", 0.5), ("250us", 0.00025), ("2m", 120), ("1h", 3600)],
)
def test_parse_seconds(text: str, seconds: float) -> None:
    """Without a unit, the number is in seconds."""
    assert parse_seconds(text) == seconds


def test_a_time_is_the_nearest_number_of_seconds() -> None:
    """The shortest interval can be written in any unit: no rounding makes it shorter."""
    assert parse_seconds("100us") == parse_seconds("0.1ms") == parse_seconds("0.0001") == 0.0001
    for us in range(1, 5000):
        assert parse_seconds(f"{us}us") == us / 10**6
        assert parse_seconds(str(us / 1000)) == us / 1000
        assert parse_share(f"{us / 1000}%") == pytest.approx(us / 1e5)
    assert [parse_share(text) for text in ("0.1%", "100%", "0.02", "2 %")] == [0.001, 1, 0.02, 0.02]


def test_a_user_is_a_number_or_a_name() -> None:
    """Only digits of ASCII are a number, and no more than any number of a user has."""
    assert [parse_identity(text) for text in ("nobody", "0", "1000")] == ["nobody", 0, 1000]
    for name in ("\u0661", "-1", "1" * 5000):
        assert parse_identity(name) == name


def test_what_is_spelled_can_be_parsed() -> None:
    """In the largest unit of which it is a whole number."""
    times = {0.0001: "100us", 1e-6: "1us", 0.5: "500ms", 90: "90s", 120: "2m", 3600: "1h", 1e9: "1000000000s"}
    assert {seconds: spell_seconds(seconds) for seconds in times} == times
    assert [parse_seconds(text) for text in times.values()] == list(times)
    sizes = {1: "1", 1536: "1536", 64 << 20: "64M", 1 << 62: "4194304T"}
    assert {size: spell_bytes(size) for size in sizes} == sizes
    assert [parse_bytes(text) for text in sizes.values()] == list(sizes)
    assert [spell_count(count) for count in (0, 1, 10_000, 1 << 22)] == ["0", "1", "10k", "4194304"]
    assert [spell_share(share) for share in (0.001, 0.02, 1)] == ["0.1%", "2%", "100%"]


@pytest.mark.parametrize(
    "text",
    ["", "k", ".", "-1", "1.0005k", "1e3", "ten", "1 000", "10x", "0x10", "nan", "inf", "\u0661", "1_"],
)
def test_invalid_counts_and_bytes_are_refused(text: str) -> None:
    """Other text gives one sentence that quotes it."""
    for parse in (parse_count, parse_bytes):
        with pytest.raises(InvalidRequest, match="is not"):
            parse(text)


@pytest.mark.parametrize("text", ["", "s", ".", "-1s", "1d", "nan", "inf", "1e-3", "1_s", "1%", "9" * 5000])
def test_invalid_times_are_refused(text: str) -> None:
    """Other text is not a time."""
    with pytest.raises(InvalidRequest, match="is not a time"):
        parse_seconds(text)


@pytest.mark.parametrize("count", [0, 1, 512, 4096, 1 << 20, 3 << 29, 7 << 40])
def test_formatted_bytes_can_be_parsed(count: int) -> None:
    """An amount that fits into the digits is the same after formatting and parsing."""
    assert parse_bytes(format_bytes(count)) == count
