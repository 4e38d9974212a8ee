"""
An online judge's run: limits on time, memory, processes and output. ``interactive.py`` is a program that is asked.

    python judge.py ./solution < test.in
"""

from __future__ import annotations

import resource
import sys
from typing import Any

import concmem

RLIMITS = {resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 64 << 20}
VERDICTS = {
    "timeout": "time limit exceeded",
    "cpu_limit": "time limit exceeded",
    "memory_limit": "memory limit exceeded",
    "cgroup_limit": "memory limit exceeded",
    "processes_limit": "too many processes",
}


def limits(cpu_s: float, memory_bytes: int) -> dict[str, Any]:
    """Return the options of a run. A program that sleeps is ended by the limit on wall time."""
    timeout_s = 2 * cpu_s + 1
    return {"cpu_limit_s": cpu_s, "timeout_s": timeout_s, "memory_limit_bytes": memory_bytes, "processes_limit": 1,
            "rlimits": RLIMITS, "until": "root", "leftover": "kill"}  # fmt: skip


def verdict(m: concmem.Measurement[Any], cpu_s: float, memory_bytes: int) -> str:
    """Return what the judge says. A program that ends before a limit is noticed is judged by its figures."""
    if m.exit.reason in VERDICTS:
        return VERDICTS[m.exit.reason]
    if m.user_s + m.system_s > cpu_s:
        return "time limit exceeded"
    if m.peak.compare(memory_bytes) == "over":
        return "memory limit exceeded"
    if m.stdout_dropped_bytes:
        return "output limit exceeded"
    return "ok" if m.exit.ok else f"runtime error: {m.exit}"


def judge(
    command: list[str], given: bytes, cpu_s: float = 1, memory_bytes: int = 256 << 20, output_bytes: int = 1 << 20
) -> tuple[str, concmem.Measurement[bytes]]:
    """Run a program on an input; return the verdict and the measurement, which has its output."""
    m = concmem.measure(
        command, input=given, stdout=concmem.PIPE, stderr=concmem.DEVNULL, max_output_bytes=output_bytes,
        env={}, **limits(cpu_s, memory_bytes),
    )  # fmt: skip
    return verdict(m, cpu_s, memory_bytes), m


if __name__ == "__main__":
    said, m = judge(sys.argv[1:], sys.stdin.buffer.read())
    print(f"{said}: CPU {m.user_s + m.system_s:.3f} s, {m.peak}", file=sys.stderr)
