"""
Measure the table of known programs anew, and put it into the documentation.

Runs every program of known size through every source that can be used here, as ``concmem doctor`` does. Tables are
best measured as root, for whom all sources are there, and on a quiet machine.

    python scripts/known_table.py [--runs K]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from concmem.cli._proof import markdown_table
from concmem.doctor.checkup import examine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "how-it-measures.md"
BEGIN, END = "<!-- known programs: begin -->\n", "<!-- known programs: end -->\n"


def main() -> str | None:
    """What is wrong, in one sentence; None where nothing is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", metavar="K", type=int, default=20, help="run each program so often (20)")
    runs = parser.parse_args().runs

    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return f"{PAGE} has no place for the table: {BEGIN.strip()} and {END.strip()}"
    checkup = examine(runs=runs, progress=lambda done, total: print(f"\r{done} of {total} ", end="", file=sys.stderr))
    print(file=sys.stderr)
    PAGE.write_text(f"{before}{begin}\n{markdown_table(checkup)}\n\n{end}{after}", encoding="utf-8")
    return None if checkup.ok else f"{len(checkup.wrong)} figures lie outside of what they state: the table shows which"


if __name__ == "__main__":
    sys.exit(main())
