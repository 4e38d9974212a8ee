"""
Measure the table of known programs again, and write it into the documentation.

It runs every program of known size with every usable source, like ``concmem doctor``. Run it as root, so that all
sources can be used, and on an idle machine.

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
    """Return an error in one sentence, or None."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", metavar="K", type=int, default=20, help="Run each program K times (default: 20).")
    runs = parser.parse_args().runs

    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        return f"{PAGE} has no markers for the table: {BEGIN.strip()} and {END.strip()}"
    checkup = examine(runs=runs, progress=lambda done, total: print(f"\r{done} of {total} ", end="", file=sys.stderr))
    print(file=sys.stderr)
    PAGE.write_text(f"{before}{begin}\n{markdown_table(checkup)}\n\n{end}{after}", encoding="utf-8")
    return None if checkup.ok else f"{len(checkup.wrong)} figures are outside of their stated range: see the table"


if __name__ == "__main__":
    sys.exit(main())
