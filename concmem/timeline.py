"""Memory over time: the sampler's windows as numpy arrays, which are made on first use."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from concmem.errors import RecordingError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Column", "Timeline", "Track"]

_KINDS = ("min", "max", "last")


@attrs.frozen
class Column:
    """
    One column of a track.

    Attributes:
        name: ``rss``, ``hwm``, ``pss``, ...
        unit: ``bytes`` or ``count``.
        scale: The factor between the stored 32-bit values and the unit.
    """

    name: str
    unit: str
    scale: int


@attrs.frozen
class Track:
    """
    One source's rows over time, as the sampler wrote them.

    Attributes:
        source: The name of the source.
        columns: The columns of each window.
        windows: The packed windows: u64 t_ns, u32 n, then for each column u32 min, max, last; `row_bytes` apart.
        row_bytes: The size of one window.
        readings: How many readings the windows contain.
        ring: Single readings around the largest one, oldest first: u64 t_ns, u32 value of the first column, u32 zero.
    """

    source: str
    columns: tuple[Column, ...]
    windows: bytes = attrs.field(repr=False)
    row_bytes: int
    readings: int
    ring: bytes = attrs.field(repr=False, default=b"")

    def to_numpy(self) -> NDArray[np.void]:
        """
        Return the windows as a read-only structured array.

        Fields: ``t_ns`` (time of the first reading, from the start of the root), ``n`` (number of readings in the
        window), and for each column ``<name>_min``, ``<name>_max`` and ``<name>_last``, in bytes or counts.
        """
        import numpy as np

        names = self._fields
        stored = np.dtype(
            {
                "names": ["t_ns", "n", *names],
                "formats": ["<u8", "<u4"] + ["<u4"] * len(names),
                "offsets": [0, 8] + [12 + 4 * i for i in range(len(names))],
                "itemsize": self.row_bytes,
            }
        )
        rows = np.frombuffer(self.windows, dtype=stored)
        result = np.empty(len(rows), dtype=[("t_ns", "<i8"), ("n", "<i8"), *((name, "<i8") for name in names)])
        result["t_ns"], result["n"] = rows["t_ns"], rows["n"]
        for i, name in enumerate(names):
            result[name] = rows[name].astype(np.int64) * self.columns[i // len(_KINDS)].scale
        result.flags.writeable = False
        return result

    @property
    def _fields(self) -> list[str]:
        return [f"{column.name}_{kind}" for column in self.columns for kind in _KINDS]

    def values(self, field: str) -> list[int]:
        """Return one field of `to_numpy` as a list. It does not use numpy."""
        words, stride = memoryview(self.windows).cast("I"), self.row_bytes // 4
        if field == "t_ns":
            return [low | high << 32 for low, high in zip(words[0::stride], words[1::stride], strict=True)]
        at = self._fields.index(field)
        scale = self.columns[at // len(_KINDS)].scale
        return [value * scale for value in words[3 + at :: stride]]


@attrs.frozen(slots=False, eq=False)
class Timeline:
    """
    Memory over time. All arrays are read-only. Times are in seconds from the start of the root.

    At first a window holds one reading. When the recording is full (after a minute at 1 kHz), windows are merged into
    wider ones, which keep every minimum and maximum.

    Attributes:
        tracks: The tracks by the name of their source.
    """

    tracks: dict[str, Track] = attrs.field(factory=dict, repr=lambda tracks: repr(list(tracks)))

    def track(self, source: str) -> NDArray[np.void]:
        """
        Return the windows of one source: see `Track.to_numpy`.

        Raises:
            KeyError: There is no such track. The message lists the existing ones.
        """
        if source not in self.tracks:
            raise KeyError(f"there is no track {source!r}; the tracks are: {', '.join(self.tracks) or 'none'}")
        return self._arrays[source] if source in self._arrays else self._make(source)

    @cached_property
    def _arrays(self) -> dict[str, Any]:
        return {}

    def _make(self, source: str) -> NDArray[np.void]:
        array = self._arrays[source] = self.tracks[source].to_numpy()
        return array

    def values(self, source: str, field: str) -> list[int]:
        """
        Return one field of a track's windows, as in `Track.to_numpy`; empty if there is no such track.

        It does not use numpy, which takes longer to import than a short command runs.
        """
        track = self.tracks.get(source)
        return track.values(field) if track is not None else []

    def spans(self, source: str, column: int) -> list[tuple[float, float, int]]:
        """
        Return the spans of time in which a column was above 0.

        There is one tuple for each window whose maximum is above 0: the begin of the window before it, its end, and the
        maximum. This does not use numpy, because short measurements call it too.
        """
        track = self.tracks.get(source)
        if track is None or not track.windows:
            return []
        words, stride = memoryview(track.windows).cast("I"), track.row_bytes // 4
        at_max = 3 + 3 * column + 1
        spans = []
        for i, count in enumerate(words[at_max::stride]):
            if count:
                begins = [t_ns / 1e9 for t_ns in self._begins_ns(words, stride, max(0, i - 1), i, i + 1)]
                spans.append((begins[0], max(begins[1:]), count))
        return spans

    @staticmethod
    def _begins_ns(words: memoryview, stride: int, *windows: int) -> Iterator[int]:
        """Yield the time at which each of these windows begins. An index after the last window is skipped."""
        for i in windows:
            if i * stride < len(words):
                yield words[i * stride] | words[i * stride + 1] << 32

    def _column(self, source: str, field: str) -> NDArray[Any]:
        import numpy as np

        if source not in self.tracks:
            return np.empty(0, dtype=np.int64)
        return self.track(source)[field]

    def _seconds(self, source: str) -> NDArray[np.float64]:
        seconds = self._column(source, "t_ns") / 1e9
        seconds.flags.writeable = False
        return seconds

    @cached_property
    def t_s(self) -> NDArray[np.float64]:
        """When each window of the RSS track begins, shape (windows,)."""
        return self._seconds("statm")

    @property
    def rss_bytes(self) -> NDArray[np.int64]:
        """
        The tree's RSS, its maximum in each window, shape (windows,).

        Kernel sources: statm and VmHWM. It is the sum of statm. If the VmHWM of a process has risen above its statm
        since the reading before, the sum contains this VmHWM instead. Shared pages count once per process.
        """
        return self._column("statm", "rss_max")

    @property
    def rss_min_bytes(self) -> NDArray[np.int64]:
        """The tree's RSS, its minimum in each window, shape (windows,)."""
        return self._column("statm", "rss_min")

    @cached_property
    def pss_t_s(self) -> NDArray[np.float64]:
        """When each window of the PSS track begins, shape (readings of PSS,): fewer, because they cost more."""
        return self._seconds("smaps_rollup")

    @property
    def pss_bytes(self) -> NDArray[np.int64]:
        """The tree's PSS, shared pages counted once, shape as `pss_t_s`. Kernel source: smaps_rollup."""
        return self._column("smaps_rollup", "pss_max")

    @property
    def peak_t_s(self) -> float | None:
        """The begin of the window in which the tree's RSS was largest; None if nothing was read."""
        rss = self.values("statm", "rss_max")
        return self.values("statm", "t_ns")[rss.index(max(rss))] / 1e9 if rss else None

    @cached_property
    def ring(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """``(t_s, rss_bytes)`` of single readings around the largest one: up to 8,192, half of them before it."""
        import numpy as np

        track = self.tracks.get("statm")
        stored = np.frombuffer(track.ring if track else b"", dtype=[("t_ns", "<u8"), ("value", "<u4"), ("zero", "<u4")])
        t_s = stored["t_ns"] / 1e9
        rss_bytes = stored["value"].astype(np.int64) * (track.columns[0].scale if track else 1)
        t_s.flags.writeable = rss_bytes.flags.writeable = False
        return t_s, rss_bytes

    def __len__(self) -> int:
        track = self.tracks.get("statm")
        return len(track.windows) // track.row_bytes if track is not None else 0

    def save(self, path: str | Path) -> None:
        """Write all tracks to a ``.npz`` file. The file is written completely or not at all."""
        from concmem._files.atomic import replacing
        from concmem._files.stored_timeline import timeline_npz

        with replacing(Path(path)) as file:
            file.write(timeline_npz(self))

    @classmethod
    def load(cls, path: str | Path) -> Timeline:
        """
        Read a timeline that `save` wrote.

        Raises:
            RecordingError: It is not a regular file, or not a timeline, or is damaged.
            OSError: The file cannot be opened.
        """
        from concmem._files.bounded import open_regular
        from concmem._files.stored_timeline import read_tracks

        try:
            opened = open_regular(path)
        except ValueError as error:
            raise RecordingError(f"{path} is not a timeline of concmem: {error}") from None
        with opened as file:
            try:
                stored = read_tracks(file)
            except Exception as error:  # zipfile, zlib and NumPy raise many kinds of errors for a damaged file
                wrong = str(error) or type(error).__name__
            else:
                tracks = (Track(each[0], tuple(Column(*c) for c in each[1]), *each[2:]) for each in stored)
                return cls({track.source: track for track in tracks})
        raise RecordingError(f"{path} is not a timeline of concmem: {wrong}")
