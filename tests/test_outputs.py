"""Every format is declared once: the command takes endings and writers from the registry."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import concmem
from concmem.export import outputs
from concmem.testing import known


@pytest.mark.parametrize("output", outputs.OUTPUTS, ids=lambda output: f"{output.of}{output.ending}")
def test_every_writer_exists(output: outputs.Output) -> None:
    """Writer and check of each entry are functions that can be imported, and no two entries are the same."""
    assert callable(outputs._load(output.writer))
    assert not output.needs or callable(outputs._load(output.needs))
    assert [(each.of, each.ending) for each in outputs.OUTPUTS].count((output.of, output.ending)) == 1


def test_a_format_is_one_entry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A new entry is enough for a new ending."""
    entry = outputs.Output("timeline", ".txt", "concmem.export.csv:timeline_csv")
    monkeypatch.setattr(outputs, "OUTPUTS", (*outputs.OUTPUTS, entry))
    monkeypatch.setitem(outputs._BY_ENDING, ("timeline", ".txt"), entry)
    assert outputs.endings("timeline") == (".csv", ".npz", ".txt")
    timeline = concmem.measure(["true"]).timeline
    outputs.save("timeline", timeline, tmp_path / "rows.txt")
    assert (tmp_path / "rows.txt").read_bytes() == outputs.content("timeline", ".csv", timeline)


def test_csv_and_values_agree_with_numpy() -> None:
    """What is read without numpy equals the arrays, and the CSV file has the largest PSS of each window."""
    import numpy as np

    timeline = concmem.measure(known("ramp", 30 << 20, 3, 5), stdout=subprocess.DEVNULL, pss_budget=1).timeline
    assert len(timeline) == len(timeline.t_s) > 5
    assert len(timeline.pss_t_s) > 1
    for source in timeline.tracks:
        array = timeline.track(source)
        for field in (name for name in array.dtype.names or () if name != "n"):
            assert timeline.values(source, field) == array[field].tolist()
    assert timeline.peak_t_s == timeline.t_s[timeline.rss_bytes.argmax()]
    pss = np.full(len(timeline), -1)
    window = np.clip(np.searchsorted(timeline.t_s, timeline.pss_t_s, side="right") - 1, 0, None)
    np.maximum.at(pss, window, timeline.pss_bytes)
    expected = [
        f"{t_s:.9f},{high},{low},{shared if shared >= 0 else ''}"
        for t_s, high, low, shared in zip(timeline.t_s, timeline.rss_bytes, timeline.rss_min_bytes, pss, strict=True)
    ]
    head, *rows = outputs.content("timeline", ".csv", timeline).decode().splitlines()
    assert head == "t_s,rss_bytes,rss_min_bytes,pss_bytes"
    assert rows == expected


def test_a_timeline_without_readings_has_no_values() -> None:
    """An empty timeline has no windows, no peak, and a CSV file with the names of the columns."""
    empty = concmem.Timeline()
    assert (len(empty), empty.peak_t_s, empty.values("statm", "rss_max")) == (0, None, [])
    assert outputs.content("timeline", ".csv", empty) == b"t_s,rss_bytes,rss_min_bytes,pss_bytes\n"
