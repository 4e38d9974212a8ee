"""
An online judge's interactive problem: the program and an interactor read what the other one writes.

    python interactive.py ./solution ./interactor
"""

from __future__ import annotations

import contextlib
import os
import sys

from judge import VERDICTS, limits, verdict

import concmem


def interact(
    command: list[str], interactor: list[str], cpu_s: float = 1, memory_bytes: int = 256 << 20
) -> tuple[str, concmem.Measurement[bytes], concmem.Measurement[bytes]]:
    """
    Connect a program with an interactor; return the verdict and both measurements.

    The interactor exits with 0 if it accepts, 1 if it rejects, and 2 if the program ended early, as with testlib.
    """
    from_program, to_interactor = os.pipe()
    from_interactor, to_program = os.pipe()
    with contextlib.ExitStack() as running:
        try:
            asking = concmem.start(interactor, stdin=from_program, stdout=to_program, timeout_s=2 * cpu_s + 2)
            running.enter_context(asking)
            solving = concmem.start(command, stdin=from_interactor, stdout=to_interactor, **limits(cpu_s, memory_bytes))
            running.enter_context(solving)
        finally:  # each program sees the end of its input when the other one ends
            for end in (from_program, to_interactor, from_interactor, to_program):
                os.close(end)
        m, judged = solving.wait(), asking.wait()
    said = verdict(m, cpu_s, memory_bytes)
    is_rejected = judged.exit.code == 1 or (said == "ok" and not judged.exit.ok)
    if is_rejected and m.exit.reason not in VERDICTS:
        said = "wrong answer"
    return said, m, judged


if __name__ == "__main__":
    said, m, _ = interact(sys.argv[1:2], sys.argv[2:])
    print(f"{said}: CPU {m.user_s + m.system_s:.3f} s, {m.peak}", file=sys.stderr)
