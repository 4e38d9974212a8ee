"""Which pages of files a tree maps, from made-up lists of mappings (/proc/PID/maps)."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest
from c_programs import compile_c

ROOT = Path(__file__).resolve().parent.parent
PAGE = 4096
LIBRARY = ("fd:01", 4711, "/lib/lib.so")
MOST_OF_PROCESS, MOST_OF_TREE = 4096, 8192
"""Ranges that have room in the sampler."""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile tests/c/file_ranges.c with the file of the sampler."""
    csrc = ROOT / "csrc"
    made = tmp_path_factory.mktemp("ranges") / "file_ranges"
    return compile_c(made, "file_ranges", csrc / "sampler/file_ranges.c", csrc / "shared/lines.c")


@attrs.frozen
class Found:
    """What the sampler knows after it has read a process."""

    duplicate_pages: int
    pages: int
    ranges: int
    is_full: bool


@attrs.frozen
class Ranges:
    """Run the program for made-up processes."""

    program: Path
    folder: Path

    def __call__(self, *processes: Sequence[str]) -> list[Found]:
        """Return what is known after each process, from the lines of its maps."""
        paths = [self.folder / str(number) for number in range(len(processes))]
        for path, lines in zip(paths, processes, strict=True):
            path.write_text("".join(f"{line}\n" for line in lines))
        done = subprocess.run([self.program, *paths], capture_output=True, text=True, check=True)
        rows = [list(map(int, line.split())) for line in done.stdout.splitlines()]
        return [Found(duplicates, pages, ranges, bool(full)) for duplicates, pages, ranges, full in rows]


@pytest.fixture
def ranges(program: Path, tmp_path: Path) -> Ranges:
    return Ranges(program, tmp_path)


def line(first: int, pages: int, of: tuple[str, int, str] = LIBRARY, at: int = 0x7F0000000) -> str:
    """Return the line of a mapping of `pages` pages of a file, from its page `first`."""
    device, inode, path = of
    begin, end = at * PAGE, (at + pages) * PAGE
    return f"{begin:08x}-{end:08x} rw-s {first * PAGE:08x} {device} {inode:<26} {path}"


def test_memory_that_belongs_to_no_file(ranges: Ranges) -> None:
    """Heap, stack and anonymous memory have no inode, and a process that ends has no line."""
    lines = [
        "00400000-00452000 r-xp 00000000 fd:01 173521                             /usr/bin/dbus-daemon",
        "00e03000-00e24000 rw-p 00000000 00:00 0                                  [heap]",
        "7f0f1c000000-7f0f1c021000 rw-p 00000000 00:00 0 ",
        "7ffe1a5f4000-7ffe1a615000 rw-p 00000000 00:00 0                          [stack]",
        "ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]",
    ]
    assert ranges(lines) == [Found(0, 0x52, 1, False)]
    assert ranges([], lines[1:]) == [Found(0, 0, 0, False)] * 2


@pytest.mark.parametrize(
    ("mapped", "pages", "count", "duplicates"),
    [
        ([(0, 10)], 10, 1, 0),
        ([(0, 10), (10, 5)], 15, 1, 0),  # they touch
        ([(0, 10), (11, 5)], 15, 2, 0),
        ([(0, 10), (0, 10)], 10, 1, 10),
        ([(0, 10), (5, 10)], 15, 1, 5),
        ([(5, 10), (0, 10)], 15, 1, 5),
        ([(0, 100), (10, 5), (20, 5)], 100, 1, 10),
        ([(20, 5), (0, 4), (2, 20)], 25, 1, 4),
        ([(0, 3)] * 50, 3, 1, 147),
        ([(0xABCDEF, 0x1F)], 0x1F, 1, 0),
        ([(0xABCDEF, 0x1F), (0xABCDFF, 0x20)], 0x30, 1, 0xF),
    ],
)
def test_one_process(ranges: Ranges, mapped: list[tuple[int, int]], pages: int, count: int, duplicates: int) -> None:
    """Ranges of one file that overlap or touch are joined. What they have in common is mapped more than once."""
    assert ranges([line(*part) for part in mapped]) == [Found(duplicates, pages, count, False)]


def test_files_are_told_apart_by_device_and_inode(ranges: Ranges) -> None:
    """The path does not matter: a file that was deleted or renamed is the same, and two can have one name."""
    device, inode, path = LIBRARY
    same = (device, inode, f"{path} (deleted)")
    others = [("fd:02", inode, path), ("fc:01", inode, path), ("103:01", inode, path), (device, 1 << 40, path)]
    assert ranges([line(0, 8), line(0, 8, same)]) == [Found(8, 8, 1, False)]
    for other in others:
        assert ranges([line(0, 8), line(0, 8, other)]) == [Found(0, 16, 2, False)]


def test_several_processes(ranges: Ranges) -> None:
    """The union has each page of a file once, whichever process maps it. It never shrinks."""
    found = ranges([line(0, 10)], [line(5, 10)], [line(0, 2), line(14, 2), line(0, 1)], [])
    assert found == [Found(0, 10, 1, False), Found(0, 15, 1, False), Found(1, 16, 1, False), Found(0, 16, 1, False)]


def test_random_mappings(ranges: Ranges) -> None:
    """The numbers are those of sets of pages."""
    draw = random.Random(13)
    files = [(f"{device}:01", inode, "/x") for device in ("fd", "00") for inode in (1, 2, 999_999_999_999)]
    union: set[tuple[object, int]] = set()
    processes, expected = [], []
    for _ in range(30):
        mapped = [(draw.choice(files), draw.randrange(3000), draw.randrange(1, 40)) for _ in range(draw.randrange(200))]
        own = [{(of, page) for page in range(first, first + pages)} for of, first, pages in mapped]
        union |= set().union(*own)
        processes.append([line(first, pages, of) for of, first, pages in mapped])
        expected.append((sum(map(len, own)) - len(set().union(*own)), len(union)))
    assert [(found.duplicate_pages, found.pages) for found in ranges(*processes)] == expected


def test_long_paths(ranges: Ranges) -> None:
    """A path of 4,095 bytes, each shown as four characters, does not fit in a line. The next line is read as usual."""
    long = ("fd:01", 12, "\\012" * 4095)
    assert ranges([line(0, 3, long), line(3, 4, long), line(0, 5)]) == [Found(0, 12, 2, False)]


def test_a_process_with_too_many_ranges(ranges: Ranges) -> None:
    """What did not fit can be a second mapping of any page, and is missing in the union."""
    fits = [line(3 * i, 2) for i in range(MOST_OF_PROCESS - 1)]
    assert ranges(fits) == [Found(0, 2 * len(fits), len(fits), False)]
    (found,) = ranges([*fits, line(0, 1), line(0, 1)])
    assert found.is_full and found.duplicate_pages == (1 << 32) - 1


def test_a_tree_with_too_many_ranges(ranges: Ranges) -> None:
    """The union of many processes can have more ranges than there is room for. It then says that it lacks some."""
    each = 4000
    parts = [[line(3 * i, 2, ("fd:01", inode, "/x")) for i in range(each)] for inode in (1, 2, 3, 4)]
    found = ranges(*parts)
    assert [(of.duplicate_pages, of.is_full) for of in found] == [(0, False), (0, False), (0, True), (0, True)]
    assert found[1].pages == 2 * 2 * each
    # The same files again need no more room.
    assert not any(of.is_full for of in ranges(*parts[:2], *parts[:2]))
