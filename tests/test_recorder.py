"""The recorder alone: a day of readings in bounded memory, with every minimum and maximum, checked row by row."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from c_programs import compile_c

ROOT = Path(__file__).resolve().parent.parent
MIB = 1 << 20

DAY_ROWS = 86_400_000
"""24 hours at 1 kHz."""


@pytest.fixture(scope="module")
def feeder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compile tests/c/feed_recorder.c with the recorder's own sources."""
    csrc = ROOT / "csrc"
    program = tmp_path_factory.mktemp("recorder") / "feed_recorder"
    sources = [
        csrc / "shared/record.c",
        csrc / "shared/layout.c",
        csrc / "shared/lines.c",
        csrc / "shared/proc.c",
        *sorted((csrc / "sources").glob("*.c")),
    ]
    return compile_c(program, "feed_recorder", *sources)


def feed(feeder: Path, rows: int, shape: str) -> dict[str, Any]:
    done = subprocess.run([feeder, str(rows), shape], capture_output=True, text=True)
    assert done.stdout, f"exit code {done.returncode}: {done.stderr}"
    result: dict[str, Any] = json.loads(done.stdout)
    assert result["whole"], "the recorder wrote outside its memory"
    assert result["wrong"] == 0, result
    assert done.returncode == 0
    assert result["readings"] == result["covered"] == rows
    return result


def test_a_day_at_1_khz(feeder: Path) -> None:
    """86,400,000 rows take less than 2 MiB per track. The maximum, its time, and all readings around it are kept."""
    day = feed(feeder, DAY_ROWS, "walk")
    assert day["bytes"] < 2 * MIB
    assert day["windows"] >= 8_192  # 10 s each
    assert day["max"] == 123_456_789
    assert day["max_t_ns"] == day["truth_t_ns"]
    assert day["ring_has_record"] == 1
    assert min(day["ring_before"], day["ring_after"]) >= day["ring_capacity"] // 2 - 1
    assert day["ring_gap_ns"] < 1_100_000


@pytest.mark.parametrize("shape", ["grow", "flat", "walk"])
@pytest.mark.parametrize("rows", [1, 2, 8_192, 32_767, 32_768, 32_769, 65_536, 65_537, 1_000_003])
def test_windows_are_right_at_every_fill(feeder: Path, rows: int, shape: str) -> None:
    """Before, during and after merging, each window has the values of its rows, and the ring the maximum."""
    assert feed(feeder, rows, shape)["ring_has_record"] == 1
