"""
Run the benchmarks again, and write what they print into docs/performance.md.

Run it as root, so that all sources can be used, and on an idle machine. It takes half an hour.

    python scripts/performance.py [NAME...]
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "performance.md"
BENCHMARKS = {
    "cost": ["cost.py", "--rounds", "15", "--long"],
    "spikes": ["spikes.py", "5"],
    "launch": ["launch.py", "200"],
    "many": ["many_runs.py"],
    "reading": ["sampling.py"],
    "range": ["bracket.py", "3"],
}
"""What stands between the markers of each name."""


def main() -> str | None:
    """Return an error in one sentence, or None."""
    for name in sys.argv[1:] or BENCHMARKS:
        program, *arguments = BENCHMARKS[name]
        done = subprocess.run(
            [sys.executable, ROOT / "benchmarks" / program, *arguments], stdout=subprocess.PIPE, text=True
        )
        if done.returncode != 0:
            return f"benchmarks/{program} ended with status {done.returncode}"
        text, begin, end = PAGE.read_text(encoding="utf-8"), f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
        before, found, rest = text.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            return f"{PAGE} has no markers for {name}: {begin.strip()} and {end.strip()}"
        PAGE.write_text(f"{before}{begin}\n```\n{done.stdout.strip()}\n```\n\n{end}{after}", encoding="utf-8")
    return None


if __name__ == "__main__":
    sys.exit(main())
