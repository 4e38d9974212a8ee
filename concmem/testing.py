"""
Programs of known size, to check a measurement against.

Each is one C file in ``programs/known``; its first comment says what it touches and when. All are built with the
package. `known` returns the argument vector that runs one:

    m = concmem.measure(known("hold", 100 << 20))
    assert m.root_peak_rss.high_bytes >= 100 << 20

`TRUTHS` lists for each kind of memory what is known before a program runs. `judge` checks a measurement against it:

    m, base = (concmem.measure(known(truth.program, *args)) for args in (truth.args, truth.base))
    assert all(verdict.ok is not False for verdict in judge(truth, m, base))
"""

from __future__ import annotations

from concmem._figures.ground_truth import Truth, Verdict, judge
from concmem._figures.truths import TRUTHS
from concmem._files.paths import KNOWN
from concmem.errors import InvalidRequest

__all__ = ["TRUTHS", "Truth", "Verdict", "judge", "known", "known_names"]


def known_names() -> tuple[str, ...]:
    """Return the names that `known` accepts, in alphabetical order."""
    return tuple(sorted(path.name for path in KNOWN.iterdir())) if KNOWN.is_dir() else ()


def known(name: str, *args: object) -> list[str]:
    """
    Return the argument vector of a program of known size.

    Args:
        name: One of `known_names`.
        args: Its arguments, each converted to text.

    Raises:
        InvalidRequest: There is no such program.
    """
    if name not in known_names():
        raise InvalidRequest(
            f"there is no program of known size {name!r}; the programs are: {', '.join(known_names())}"
        )
    return [str(KNOWN / name), *(str(arg) for arg in args)]
