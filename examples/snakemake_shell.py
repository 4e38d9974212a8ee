"""
Benchmark figures of a Snakemake rule: a wrapper around its shell command. See ``Snakefile`` beside this file.

The file that it writes has the columns of Snakemake's ``benchmark:``, and ``peak``, what the job needed at once.
"""

from __future__ import annotations

from datetime import timedelta

import concmem

COLUMNS = ("s", "h:m:s", "max_rss", "max_vms", "max_uss", "max_pss", "io_in", "io_out", "mean_load", "cpu_time", "peak")


def mib(amount: int | None) -> str:
    """Return bytes as Snakemake writes them, in MiB."""
    return "-" if amount is None else f"{amount / (1 << 20):.2f}"


def shell(command: str, benchmark: str) -> concmem.Measurement[bytes]:
    """
    Run a command as Snakemake's ``shell`` does, and write its figures to a file.

    Raises:
        subprocess.CalledProcessError: It failed.
    """
    m = concmem.measure(["bash", "-c", f"set -euo pipefail; {command}"], check=True)
    cpu_s = m.user_s + m.system_s
    row = (
        f"{m.tree_wall_s:.4f}", str(timedelta(seconds=int(m.tree_wall_s))), mib(m.tree_peak_rss_sum.bytes),
        mib(m.maxima.get("statm.vms")), mib(m.maxima.get("smaps_rollup.uss")), mib(m.tree_peak_pss.bytes),
        mib(m.read_bytes), mib(m.written_bytes), f"{m.cpu_percent:.2f}", f"{cpu_s:.2f}", mib(m.peak.bytes),
    )  # fmt: skip
    with open(benchmark, "w") as file:
        print(*COLUMNS, sep="\t", file=file)
        print(*row, sep="\t", file=file)
    return m
