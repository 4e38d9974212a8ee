"""Write a timeline as CSV, for spreadsheets and other programs."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

from concmem._files.atomic import replacing

if TYPE_CHECKING:
    from concmem.timeline import Timeline

__all__ = ["save_csv"]


def save_csv(timeline: Timeline, path: str | Path) -> None:
    """
    Write a line for each window of the RSS track: ``t_s,rss_bytes,rss_min_bytes,pss_bytes``.

    ``t_s`` is the begin of the window, ``rss_bytes`` its maximum and ``rss_min_bytes`` its minimum. ``pss_bytes`` is
    the largest PSS that was read in the window. It is often empty, because PSS costs more and is read less often.

    Raises:
        OSError: The file cannot be written.
    """
    import numpy as np

    rows = len(timeline.t_s)
    pss = np.full(rows, -1, dtype=np.int64)
    if rows:
        window = np.clip(np.searchsorted(timeline.t_s, timeline.pss_t_s, side="right") - 1, 0, None)
        np.maximum.at(pss, window, timeline.pss_bytes)
    with replacing(Path(path)) as file:
        text = io.TextIOWrapper(file, encoding="ascii", newline="", write_through=True)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(("t_s", "rss_bytes", "rss_min_bytes", "pss_bytes"))
        columns = (timeline.t_s.tolist(), timeline.rss_bytes.tolist(), timeline.rss_min_bytes.tolist(), pss.tolist())
        for t_s, high, low, shared in zip(*columns, strict=True):
            writer.writerow((f"{t_s:.9f}", high, low, "" if shared < 0 else shared))
        text.detach()
