"""
The programs of known size, each with its true amounts.

`ground_truth` says what the amounts are, and checks a measurement against them.
"""

from __future__ import annotations

import attrs

from concmem._figures.ground_truth import Truth

__all__ = ["TRUTHS"]

_KIB, _MIB = 1 << 10, 1 << 20
_PAGE_BYTES = 4 * _KIB
_HOLD_S = 0.13
_BRIEF_S, _LONG_S = 0.12, 0.6
"""How long copies are held, which no RSS shows. PSS can be missed in the shorter time, but not in the longer one."""

_SHM = "32 MiB in /dev/shm"
_FILE = "32 MiB in $TMPDIR or /var/tmp"
_PINNED = "io_uring, and a limit of locked memory (ulimit -l) of 4 MiB"


def _base(args: tuple[object, ...]) -> tuple[object, ...]:
    """Return arguments for 0 bytes: an integer of a page or more is bytes, a float the seconds for which it holds."""
    return tuple(
        0 if isinstance(arg, int) and arg >= _PAGE_BYTES else min(arg, _HOLD_S) if isinstance(arg, float) else arg
        for arg in args
    )


def _tree(
    name: str, what: str, program: str, args: tuple[object, ...], *, root: int, largest: int, footprint: int,
    rss_sum: int | None, pss: int | None = None, charged: int | None = None, held_s: float = 0.1, needs: str = "",
) -> Truth:  # fmt: skip
    """Return a truth. PSS and charge are the footprint if not given."""
    pss, charged = (footprint if size is None else size for size in (pss, charged))
    return Truth(name, what, program, args, _base(args), root, largest, footprint, pss, rss_sum, charged, held_s, needs)


def _one(
    name: str, what: str, size: int, program: str, args: tuple[object, ...], held_s: float = 0.1, needs: str = ""
) -> Truth:
    """Return the truth of a program in which only the root has bytes: all amounts are the same."""
    return _tree(
        name, what, program, args, root=size, largest=size, footprint=size, rss_sum=size, held_s=held_s, needs=needs
    )


def _child(name: str, what: str, size: int, program: str, *more: object, needs: str = "") -> Truth:
    """Return the truth of a program in which only one descendant of the root has bytes."""
    args = (size, *more, _HOLD_S)
    return _tree(name, what, program, args, root=0, largest=size, footprint=size, rss_sum=size, needs=needs)


def _unmapped(name: str, what: str, *more: object, needs: str = "") -> Truth:
    """Return the truth of a file in memory that no process maps: it is in no RSS and no PSS."""
    size, args = 32 * _MIB, (32 * _MIB, 0, _HOLD_S, *more)
    return _tree(name, what, "memfd", args, root=0, largest=0, footprint=size, rss_sum=0, pss=0, needs=needs)


def _copied(name: str, what: str, size: int, children: int, footprint: int, held_s: float, writer: str) -> Truth:
    """Return the truth of a parent and children that share bytes after a fork, some of which `writer` copies."""
    args, rss_sum = (size, children, held_s, writer), size * (children + 1)
    return _tree(
        name, what, "fork-share", args,
        root=size, largest=size, footprint=footprint, rss_sum=rss_sum, held_s=_LONG_S if held_s == _LONG_S else 0.1,
    )  # fmt: skip


def _shared(name: str, what: str, part: int, *more: object, needs: str = "") -> Truth:
    """Return the truth of 32 MiB that four processes share, each of which touches a `part` of this size."""
    args = (32 * _MIB, 3, _HOLD_S, *more)
    return _tree(
        name, what, "shared", args, root=part, largest=part, footprint=32 * _MIB, rss_sum=4 * part, needs=needs
    )


_ONE_PROCESS = (
    _one("hold", "64 MiB touched by one thread", 64 * _MIB, "hold", (64 * _MIB, 1, _HOLD_S)),
    _one("threads", "64 MiB touched by 8 threads", 64 * _MIB, "hold", (64 * _MIB, 8, _HOLD_S)),
    # Ends as soon as all pages are touched, and changes the CPU every 7 pages. So only high-water marks show it, and
    # their error is large.
    attrs.evolve(
        _one("migrate", "32 MiB touched by 4 threads from CPU to CPU", 32 * _MIB, "hold", (32 * _MIB, 4, 0, 7), 0),
        base=(0, 4, 0.05, 7),
    ),
    _one("ramp", "0 to 32 MiB in 20 steps", 32 * _MIB, "ramp", (32 * _MIB, 0.2, 20), held_s=0.01),
    _one("spike", "16 MiB, and a spike of 32 MiB", 48 * _MIB, "spike", (16 * _MIB, 32 * _MIB, 0.05), held_s=0),
    # No page fault, and the spike ends at once: the kernel fills the mapping while it holds the lock of the address
    # space.
    _one("populate", "the same, populated by the kernel", 48 * _MIB, "spike", (16 * _MIB, 32 * _MIB, 0.05, 0, 1), 0),
    _one(
        "spikes", "16 MiB, and 10 spikes of 16 MiB for 2 ms", 32 * _MIB,
        "spikes", (10, 16 * _MIB, 2, 16 * _MIB), held_s=0.002,
    ),
    _one("huge", "64 MiB of huge pages, if available", 64 * _MIB, "huge", (64 * _MIB, _HOLD_S)),
    _one(
        "collapse", "32 MiB of small pages made huge", 32 * _MIB, "huge", (32 * _MIB, _HOLD_S, 1),
        needs="MADV_COLLAPSE (Linux 6.1 or later)",
    ),
    _one(
        "locked", "4 MiB locked into memory", 4 * _MIB, "locked", (4 * _MIB, _HOLD_S),
        needs="a limit of locked memory (ulimit -l) of 4 MiB",
    ),
    _one("dontneed", "32 MiB freed, then 32 MiB more", 32 * _MIB, "give-back", (32 * _MIB, 0, _HOLD_S)),
    # After MADV_FREE, pages stay resident until the kernel reclaims them.
    _one("free", "32 MiB free to reclaim, 32 MiB more", 64 * _MIB, "give-back", (32 * _MIB, 1, _HOLD_S)),
    _one(
        "mapped-file", "a file of 32 MiB, mapped and read", 32 * _MIB, "mapped-file", (32 * _MIB, _HOLD_S),
        needs=_FILE,
    ),
    _one("exec-small", "32 MiB, then a small program", 32 * _MIB, "exec-small", (32 * _MIB, _HOLD_S)),
    _one("leader-exit", "32 MiB without a main thread", 32 * _MIB, "leader-exit", (32 * _MIB, _HOLD_S)),
    _one("fill-populate", "32 MiB by MAP_POPULATE, held", 32 * _MIB, "fill", (32 * _MIB, "populate", _HOLD_S)),
    _one("fill-read", "32 MiB filled by read(2)", 32 * _MIB, "fill", (32 * _MIB, "read", _HOLD_S)),
    _one(
        "userfaultfd", "32 MiB copied by userfaultfd", 32 * _MIB, "fill", (32 * _MIB, "userfaultfd", _HOLD_S),
        needs="userfaultfd",
    ),
)  # fmt: skip

_OUTSIDE_RSS = (
    _unmapped("memfd", "a file of 32 MiB in memory"),
    _unmapped("memfd-allocated", "the same, by fallocate", "memfd", "allocate"),
    _unmapped("memfd-sent", "the same, its descriptor in a socket", "sent"),
    _unmapped("shm", "a file of 32 MiB in /dev/shm", "shm", needs=_SHM),
    _one("memfd-mapped", "a file of 32 MiB in memory, mapped", 32 * _MIB, "memfd", (32 * _MIB, 1, _HOLD_S)),
    _one("shm-mapped", "the same in /dev/shm", 32 * _MIB, "memfd", (32 * _MIB, 1, _HOLD_S, "shm"), needs=_SHM),
    _tree(
        "dupmap", "16 MiB mapped 4 times by one process", "memfd", (16 * _MIB, 4, _HOLD_S),
        root=64 * _MIB, largest=64 * _MIB, footprint=16 * _MIB, rss_sum=64 * _MIB,
    ),
    # Whether the charge includes hugetlbfs is an option of the mount (memory_hugetlb_accounting).
    attrs.evolve(
        _tree(
            "hugetlb", "32 MiB in pages of hugetlbfs", "hugetlb", (16 * _MIB, 16 * _MIB, _HOLD_S),
            root=0, largest=0, footprint=32 * _MIB, rss_sum=0, pss=0,
            needs="16 pages of hugetlbfs of 2 MiB (sysctl vm.nr_hugepages)",
        ),
        charged_bytes=None,
    ),
    _tree(
        "pinned", "4 MiB pinned and unmapped, 4 MiB more", "pinned", (4 * _MIB, _HOLD_S),
        root=4 * _MIB, largest=4 * _MIB, footprint=8 * _MIB, rss_sum=4 * _MIB, pss=4 * _MIB, needs=_PINNED,
    ),
    _tree(
        "pinned-fork", "4 MiB pinned, copied by a fork", "pinned", (4 * _MIB, _HOLD_S, "fork"),
        root=4 * _MIB, largest=4 * _MIB, footprint=8 * _MIB, rss_sum=8 * _MIB, needs=_PINNED,
    ),
)  # fmt: skip

_LONE_CHILD = (
    _child("daemonize", "32 MiB held by a daemon", 32 * _MIB, "daemonize"),
    _child("sigchld-ignored", "32 MiB, the parent ignores SIGCHLD", 32 * _MIB, "sigchld-ignored"),
    _child("thread-fork", "32 MiB held by the child of a thread", 32 * _MIB, "thread-fork"),
    _child("zombie-keeper", "32 MiB held by a child, never reaped", 32 * _MIB, "zombie-keeper"),
    _child("other-user", "32 MiB held by a child of another user", 32 * _MIB, "other-user", needs="root"),
    _child(
        "remote", "32 MiB of a child, written by its parent", 32 * _MIB, "fill", "remote",
        needs="process_vm_writev",
    ),
)  # fmt: skip

_SHARING = (
    _copied("fork-share", "32 MiB shared by 5 processes (fork)", 32 * _MIB, 4, 32 * _MIB, _HOLD_S, "none"),
    _copied("parent-copies", "32 MiB, copied by the parent", 32 * _MIB, 1, 64 * _MIB, _BRIEF_S, "parent"),
    _copied("parent-holds", "the same, held longer", 32 * _MIB, 1, 64 * _MIB, _LONG_S, "parent"),
    _copied("child-copies", "32 MiB, copied by one child", 32 * _MIB, 1, 64 * _MIB, _BRIEF_S, "child"),
    _copied("child-holds", "the same, held longer", 32 * _MIB, 1, 64 * _MIB, _LONG_S, "child"),
    _copied("children-copy", "12 MiB, copied by 4 children at once", 12 * _MIB, 4, 60 * _MIB, _BRIEF_S, "children"),
    _copied("children-hold", "the same, held longer", 12 * _MIB, 4, 60 * _MIB, _LONG_S, "children"),
    _copied("part-copied", "16 MiB, 1/4 to 4/4 copied by 4 children", 16 * _MIB, 4, 56 * _MIB, _HOLD_S, "part"),
    _tree(
        "fork-chain", "7 generations, each with 4 MiB more", "fork-tree", (6, 1, 4 * _MIB, _HOLD_S),
        root=4 * _MIB, largest=28 * _MIB, footprint=28 * _MIB, rss_sum=112 * _MIB,
    ),
    _tree(
        "fork-copies", "7 generations, each copies 8 MiB", "fork-tree", (6, 1, 8 * _MIB, _HOLD_S, 1),
        root=8 * _MIB, largest=8 * _MIB, footprint=56 * _MIB, rss_sum=56 * _MIB,
    ),
    # 2 to the power of n processes in generation n, which have n + 1 times the size: 769 times in all.
    _tree(
        "fork-tree", "127 processes in 7 generations, 512 KiB each", "fork-tree", (6, 2, 512 * _KIB, _HOLD_S),
        root=512 * _KIB, largest=3584 * _KIB, footprint=127 * 512 * _KIB, rss_sum=769 * 512 * _KIB,
    ),
    _tree(
        "clonevm", "32 MiB in the address space of 5 processes", "clonevm", (32 * _MIB, 5, _HOLD_S),
        root=32 * _MIB, largest=32 * _MIB, footprint=32 * _MIB, rss_sum=32 * _MIB,
    ),
    _shared("shared", "32 MiB that 4 processes share and write", 32 * _MIB),
    _shared("shared-halves", "the same, each writes one half", 16 * _MIB, "half"),
    _shared("shared-parts", "the same, each writes a quarter of its own", 8 * _MIB, "own"),
    _shared("memfd-parts", "the same in a memfd", 8 * _MIB, "own", "memfd"),
    _shared("shm-halves", "halves of a file in /dev/shm, which exists", 16 * _MIB, "half", "shm", "read", needs=_SHM),
    _shared("file-parts", "quarters of a file, written", 8 * _MIB, "own", "file", needs=_FILE),
)  # fmt: skip

_IN_TURN = (
    _tree(
        "chain", "16, 24, 32 MiB: parent, child, grandchild", "chain", (_HOLD_S, 16 * _MIB, 24 * _MIB, 32 * _MIB),
        root=16 * _MIB, largest=32 * _MIB, footprint=72 * _MIB, rss_sum=72 * _MIB,
    ),
    # Their memory is gone as soon as all have it.
    _tree(
        "execbig", "3 children with 16 MiB, given up by exec", "execbig", (3, 16 * _MIB),
        root=0, largest=16 * _MIB, footprint=48 * _MIB, rss_sum=48 * _MIB, held_s=0,
    ),
    _tree(
        "execbig-huge", "12 MiB each, in huge pages if available", "execbig", (3, 12 * _MIB, 0, 0.1, 1),
        root=0, largest=12 * _MIB, footprint=36 * _MIB, rss_sum=36 * _MIB, held_s=0,
    ),
    _tree(
        "hand-over", "64 MiB, in two processes in turn", "hand-over", (64 * _MIB, 8, 5),
        root=64 * _MIB, largest=64 * _MIB, footprint=64 * _MIB, rss_sum=64 * _MIB, held_s=0.005,
    ),
    _tree(
        "one-by-one", "30 children with 8 MiB, one after the other", "children", (30, 1, 8 * _MIB, 0, 5),
        root=0, largest=8 * _MIB, footprint=8 * _MIB, rss_sum=8 * _MIB, held_s=0.005,
    ),
    _tree(
        "groups", "30 children with 8 MiB, in groups of 5", "children", (30, 5, 8 * _MIB, 0, 20),
        root=0, largest=8 * _MIB, footprint=40 * _MIB, rss_sum=40 * _MIB, held_s=0.02,
    ),
    # The sum is not known: an address space of a child that has ended may be there when the next child starts.
    _tree(
        "big-parent", "100 MiB, and 50 children with 1 MiB more", "children", (50, 1, 1 * _MIB, 100 * _MIB),
        root=100 * _MIB, largest=101 * _MIB, footprint=101 * _MIB, rss_sum=None, held_s=0,
    ),
    # Until its exec, a child of posix_spawn has the parent's address space.
    _tree(
        "spawner", "100 MiB, and 50 programs with 1 MiB", "children", (50, 1, 1 * _MIB, 100 * _MIB, 0, "exec"),
        root=100 * _MIB, largest=100 * _MIB, footprint=101 * _MIB, rss_sum=None, held_s=0,
    ),
    _tree(
        "unreaped", "4 children with 8 MiB, SA_NOCLDWAIT", "children", (4, 4, 8 * _MIB, 0, 130, "unreaped"),
        root=0, largest=8 * _MIB, footprint=32 * _MIB, rss_sum=32 * _MIB,
    ),
    _tree(
        "unreaped-brief", "10 brief children with 16 MiB, SA_NOCLDWAIT", "children",
        (10, 1, 16 * _MIB, 0, 0, "unreaped"),
        root=0, largest=16 * _MIB, footprint=16 * _MIB, rss_sum=16 * _MIB, held_s=0,
    ),
    # How many spikes coincide is known only afterwards: the program prints it.
    Truth(
        "workers", "16 MiB shared, 4 with spikes of 8 MiB", "workers", (4, 16 * _MIB, 8 * _MIB), (4, 0, 0),
        16 * _MIB, 24 * _MIB, None, None, None, None, held_s=0.01,
    ),
)  # fmt: skip

TRUTHS: tuple[Truth, ...] = _ONE_PROCESS + _OUTSIDE_RSS + _LONE_CHILD + _SHARING + _IN_TURN
"""The truths that `judge` can check concmem, or any other tool, against. All runs together take about 20 seconds."""
