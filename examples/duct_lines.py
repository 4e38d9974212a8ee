"""
The JSON lines of con/duct (``usage.jsonl``) from `Running.readings`.

    python duct_lines.py usage.jsonl CMD...
"""

from __future__ import annotations

import json
import sys
from datetime import datetime, timedelta, timezone
from typing import Any

import psutil

import concmem


def line(reading: concmem.Reading, started: datetime, total_bytes: int) -> dict[str, Any]:
    """Return one line. It has the fields of con/duct that a reading has: not pcpu, vsz and etime."""
    timestamp = (started + timedelta(seconds=reading.t_s)).isoformat()

    def memory(rss_bytes: int) -> dict[str, Any]:
        return {"rss": rss_bytes, "pmem": round(100 * rss_bytes / total_bytes, 1)}

    processes = {str(p.pid): {**memory(p.rss_bytes), "cmd": p.name, "timestamp": timestamp} for p in reading.largest}
    totals = {**memory(reading.rss_bytes), "pss": reading.pss_bytes}
    return {"timestamp": timestamp, "processes": processes, "totals": totals}


def run(command: list[str], path: str, every_s: float = 1.0) -> concmem.Measurement[bytes]:
    """Run a command, write a line at once for each reading, and return the measurement."""
    started, total_bytes = datetime.now(timezone.utc), psutil.virtual_memory().total
    with concmem.start(command) as running, open(path, "w", buffering=1) as file:
        for reading in running.readings(every_s):
            print(json.dumps(line(reading, started, total_bytes)), file=file)
        return running.wait()


if __name__ == "__main__":
    m = run(sys.argv[2:], sys.argv[1])
    print(f"peak: {m.peak}", file=sys.stderr)
    sys.exit(m.exit.status)
