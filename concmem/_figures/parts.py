"""The parts of a measurement, each computed on first use from what was observed of a tree."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from concmem._figures.ended import with_ending_note
from concmem._figures.held import narrow_peak
from concmem._figures.outcome import left_running
from concmem._figures.process import Marks, marks_of, process_peak
from concmem._figures.table import all_figures
from concmem._figures.tree import NOT_ASKED, Tree, read_charge, read_tree
from concmem._native.observed import Observed, ObservedProcess
from concmem._native.request import Request
from concmem._version import __version__
from concmem.host import counter_error_bytes
from concmem.model import SCHEMA, Composition, Exit, Figure, Measurement, Process
from concmem.sampler_report import SamplerReport
from concmem.timeline import Timeline

if TYPE_CHECKING:
    from concmem._figures.measurement import HostValues

__all__ = ["Parts"]


def _in_utc(seconds: float) -> str:
    """Return a time as ISO 8601 with milliseconds. It does not import datetime, which a short command would notice."""
    whole, thousandths = divmod(int(seconds * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{thousandths:03d}+00:00"


class Parts:
    """
    The parts of a measurement, each computed on first use.

    Attributes:
        exit: How the root ended.
    """

    def __init__(self, request: Request, observed: Observed, known: HostValues, exit: Exit) -> None:
        self.exit = exit
        self._request = request
        self._observed = observed
        self._known = known

    @cached_property
    def _marks(self) -> list[Marks]:
        return [marks_of(process) for process in self._observed.processes]

    @cached_property
    def _timeline(self) -> Timeline:
        return Timeline(self._observed.tracks)

    @cached_property
    def _tree(self) -> Tree:
        observed, host = self._observed, self._known.host
        charge = read_charge(observed, host) if observed.sources["cgroup"].is_wanted else NOT_ASKED
        return read_tree(observed, self._marks, self._timeline, host, charge)

    @cached_property
    def _figures(self) -> dict[str, Figure]:
        figures = all_figures(self._tree)
        return {**figures, "peak": with_ending_note(figures["peak"], self.exit, self._known.oom)}

    @property
    def peak(self) -> Figure:
        """The headline. For a single process that the sampler reaped, no other figure has to be computed."""
        head, processes = self._observed.head, self._observed.processes
        is_incomplete = head.processes_dropped or head.survivors or head.left_running
        is_outside = (
            head.shmem_extra_bytes
            or self._observed.largest("status", 6)
            or head.swapped_out_bytes
            or (processes and processes[0].hugetlb_bytes)
        )
        if len(processes) != 1 or self._request.extra or is_incomplete or is_outside:
            return self._figures["peak"]
        (root,) = self._marks
        error_bytes = counter_error_bytes(self._known.host, head.max_threads)
        if not (root.is_root and root.is_fully_known) or root.read_bytes > (root.maxrss_bytes or 0) + error_bytes:
            return self._figures["peak"]
        exact = bool(head.statm_exact)
        figure = process_peak(root, error_bytes=error_bytes, floor_bytes=head.floor_bytes, statm_exact=exact)
        if figure.status == "upper_bound":
            return self._figures["peak"]
        figure = narrow_peak(figure, head, processes[0].duplicate_bytes, error_bytes)
        return with_ending_note(figure, self.exit, self._known.oom)

    def _process(self, process: ObservedProcess, marks: Marks) -> Process:
        timed = process.was_reaped or process.has_exit_record
        counts = process.counts if timed else None
        return Process(
            pid=process.pid,
            ppid=process.ppid,
            comm=process.name,
            argv=self._observed.argv(process),
            start_s=process.first_ns / 1e9,
            end_s=marks.end_s,
            peak=self._figures["root_peak_rss"] if marks.is_root else self._tree.peak_of(marks),
            user_s=process.user_ns / 1e9 if timed else None,
            system_s=process.system_ns / 1e9 if timed else None,
            argv_is_cut=process.arguments_are_cut,
            minor_faults=None if counts is None else counts.minor_faults,
            major_faults=None if counts is None else counts.major_faults,
            voluntary_switches=None if counts is None else counts.voluntary_switches,
            involuntary_switches=None if counts is None else counts.involuntary_switches,
            read_bytes=None if counts is None else counts.read_bytes,
            written_bytes=None if counts is None else counts.written_bytes,
            peak_uss_bytes=process.unique_bytes or None,
            peak_vms_bytes=process.mapped_bytes or None,
        )

    def _maxima(self) -> dict[str, int]:
        return {
            f"{source}.{column.name}": value
            for source, track in self._observed.tracks.items()
            if track.readings
            for column, value in zip(track.columns, self._observed.sources[source].maxima, strict=True)
        }

    def _composition(self) -> Composition | None:
        head = self._observed.head
        held = (
            head.held_anon_bytes,
            head.held_file_bytes,
            head.held_shmem_bytes,
            head.held_hugetlb_bytes,
            head.held_swap_bytes,
        )
        return Composition(*held) if any(held) else None

    def _report(self) -> SamplerReport:
        head = self._observed.head
        return SamplerReport(
            interval_s=None if head.cpu_budget_ppm else head.interval_ns / 1e9,
            cpu_budget=head.cpu_budget_ppm / 1e6 or None,
            ticks=head.ticks,
            late_ticks=head.late_ticks,
            longest_gap_s=head.longest_gap_ns / 1e9,
            dropped_rows=head.dropped_rows,
            dropped_processes=head.processes_dropped,
            cpu_s=head.sampler_cpu_ns / 1e9,
            rss_bytes=head.sampler_rss_bytes or None,
            pss_readings=head.pss_readings,
            pss_s=head.pss_ns / 1e9,
            refused_readings=head.refused_readings,
            floor_bytes=head.floor_bytes or None,
            survivors=self._observed.survivors,
            unseen=0 if self._tree.all_were_seen else head.unseen,
            inexact_windows=head.inexact_windows,
            lost_exit_records=head.exit_records_lost,
            statm_exact=self._tree.statm_exact,
            missing=self._observed.missing(),
        )

    def build(self) -> Measurement[Any]:
        """Build the complete measurement."""
        observed, known = self._observed, self._known
        head, counts = observed.head, observed.counts
        return Measurement(
            command=self._request.shown,
            exit=self.exit,
            **self._figures,
            cgroup_parts=self._tree.charge.parts,
            maxima=self._maxima(),
            composition=self._composition(),
            wall_s=(head.exit_ns if head.root_ended else head.end_ns) / 1e9,
            tree_wall_s=head.end_ns / 1e9,
            user_s=head.user_ns / 1e9,
            system_s=head.system_ns / 1e9,
            minor_faults=counts.minor_faults,
            major_faults=counts.major_faults,
            voluntary_switches=counts.voluntary_switches,
            involuntary_switches=counts.involuntary_switches,
            read_bytes=counts.read_bytes,
            written_bytes=counts.written_bytes,
            processes=tuple(map(self._process, observed.processes, self._marks)),
            max_alive=head.max_alive,
            max_threads=head.max_threads,
            sampler=self._report(),
            host=known.host,
            start_monotonic_s=head.start_ns / 1e9,
            started_at=_in_utc(known.started_s),
            version=__version__,
            timeline=self._timeline,
            stdout=known.stdout,
            stderr=known.stderr,
            stdout_dropped_bytes=known.stdout_dropped_bytes,
            stderr_dropped_bytes=known.stderr_dropped_bytes,
            swapped_bytes=known.swapped_bytes,
            oom=known.oom,
            left_running=left_running(observed),
            schema=SCHEMA,
        )
