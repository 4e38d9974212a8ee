"""
A use of every public name, as a type checker must see it. `test_typing.py` checks it with mypy and pyright.

It is never executed.
"""

from __future__ import annotations

import resource
from collections.abc import Mapping
from typing import IO, TYPE_CHECKING, Any

import concmem

if TYPE_CHECKING:
    from typing_extensions import assert_type


VERSION: tuple[str, int] = (concmem.__version__, concmem.SCHEMA)


def calls() -> None:
    """Pipes have bytes or text, as the arguments say."""
    assert_type(concmem.measure("true"), concmem.Measurement[bytes])
    assert_type(concmem.measure(["true"], text=True), concmem.Measurement[str])
    assert_type(concmem.measure(b"true", encoding="ascii", input="a", check=True), concmem.Measurement[str])
    assert_type(concmem.measure(["true"], errors="replace").stdout, str | None)
    assert_type(concmem.start(["true"]), concmem.Running[bytes])
    assert_type(concmem.start(["true"], text=True), concmem.Running[str])
    assert_type(concmem.load("m.json"), concmem.Measurement[Any])
    assert_type(concmem.probe(), tuple[concmem.Source, ...])


def options(folder: str, environment: Mapping[str, str], file: IO[bytes]) -> None:
    """Every option has its type."""
    concmem.measure(
        ["true"],
        check=True,
        cgroup=True,
        cgroup_limit_bytes=1 << 30,
        cpu_budget=0.01,
        cpu_limit_s=1,
        cpus={0, 1},
        cwd=folder,
        encoding=None,
        env=environment,
        errors=None,
        exact=False,
        extra_groups=["users", 100],
        group="users",
        input=b"",
        interval_s=None,
        leftover="kill",
        max_output_bytes=1 << 20,
        memory_limit_bytes=1 << 30,
        pass_fds=(3,),
        process_group=0,
        processes_limit=8,
        pss_budget=0,
        rlimits={resource.RLIMIT_CORE: 0, resource.RLIMIT_NOFILE: (64, 128)},
        start_new_session=False,
        stderr=concmem.STDOUT,
        stdin=concmem.PIPE,
        stdout=file,
        taskstats=True,
        text=False,
        timeout_grace_s=0.5,
        timeout_s=10,
        umask=0o022,
        until="root",
        user=1000,
        windows=True,
    )
    concmem.start(["true"], stdin=concmem.DEVNULL, stdout=concmem.PIPE)


def measurement(m: concmem.Measurement[str]) -> None:
    """What a measurement has."""
    for figure in (
        m.peak, m.root_peak_rss, m.largest_peak_rss, m.tree_peak_pss, m.tree_peak_rss_sum, m.tree_upper_bound,
        m.cgroup_peak, m.tree_peak_swap, *m.figures.values(),
    ):  # fmt: skip
        assert_type(figure, concmem.Figure)
    assert_type(m.exit, concmem.Exit)
    assert_type(m.command, tuple[str, ...] | str)
    assert_type(m.wall_s + m.tree_wall_s + m.user_s + m.system_s + m.cpu_percent + m.start_monotonic_s, float)
    assert_type(m.minor_faults + m.major_faults + m.max_alive + m.max_threads + m.schema, int)
    assert_type(m.voluntary_switches or m.involuntary_switches or m.read_bytes or m.written_bytes, int | None)
    assert_type(m.stdout or m.stderr, str | None)
    assert_type(m.stdout_dropped_bytes + m.stderr_dropped_bytes, int)
    assert_type(m.processes, tuple[concmem.Process, ...])
    assert_type(m.sampler, concmem.SamplerReport)
    assert_type(m.left_running, tuple[concmem.LeftProcess, ...])
    assert_type(m.host, concmem.Host)
    assert_type(m.timeline, concmem.Timeline)
    assert_type(m.cgroup_parts, dict[str, int])
    assert_type(m.maxima, dict[str, int])
    assert_type(m.composition, concmem.parts.Composition | None)
    assert_type(m.oom, concmem.parts.OutOfMemory | None)
    assert_type(m.swapped_bytes, int | None)
    assert_type(m.started_at + m.version, str)
    m.save("m.json")
    assert_type(concmem.Measurement.from_dict(m.to_dict()), concmem.Measurement[Any])


def parts(
    figure: concmem.Figure, end: concmem.Exit, process: concmem.Process, report: concmem.SamplerReport,
    host: concmem.Host, source: concmem.Source, timeline: concmem.Timeline,
) -> None:  # fmt: skip
    """What the parts of a measurement have."""
    assert_type(figure.bytes or figure.low_bytes or figure.high_bytes, int | None)
    assert_type(figure.error_bytes + figure.over_bytes, int)
    assert_type(figure.source + figure.note + figure.high_source, str)
    assert_type(figure.compare("200 MB"), concmem.parts.Verdict)
    assert_type(figure.status, concmem.parts.Status)
    assert_type(figure < "200 MB" or figure <= 1 << 20 or figure > 1.5 or figure >= figure, bool)
    assert_type(end.code or end.signal or end.returncode, int | None)
    assert_type(end.reason, concmem.parts.Reason)
    assert_type(end.status, int)
    assert_type(end.ok, bool)
    assert_type((process.pid, process.ppid, process.comm, process.argv), tuple[int, int, str, tuple[str, ...]])
    assert_type(process.peak, concmem.Figure)
    assert_type(process.end_s - process.start_s, float)
    assert_type(process.argv_is_cut, bool)
    assert_type(process.user_s or process.system_s, float | None)
    assert_type(process.minor_faults or process.major_faults or process.voluntary_switches, int | None)
    assert_type(process.involuntary_switches or process.read_bytes or process.written_bytes, int | None)
    assert_type(process.peak_uss_bytes or process.peak_vms_bytes, int | None)
    assert_type(report.survivors, tuple[concmem.Survivor, ...])
    assert_type([(each.pid, each.name, each.sentence) for each in report.survivors], list[tuple[int, str, str]])
    assert_type(report.cpu_s + report.pss_s + report.longest_gap_s, float)
    assert_type(host.memory_bytes + host.cpus, int)
    assert_type((source.name, source.columns, source.usable), tuple[str, tuple[str, ...], bool])
    assert_type(timeline.peak_t_s, float | None)
    assert_type((timeline.t_s.shape, timeline.rss_bytes.shape)[0], tuple[Any, ...])
    assert_type(concmem.units.format_bytes(1 << 20), str)


def running(r: concmem.Running[bytes], t: concmem.Running[str]) -> None:
    """What a command that runs has."""
    assert_type(r.stdin or r.stdout or r.stderr, IO[bytes] | None)
    assert_type(t.stdout, IO[str] | None)
    assert_type(r.poll() or r.returncode or r.root_pid, int | None)
    assert_type(r.pid + r.fileno() + r.root_fd + r.alive(), int)
    assert_type(r.root_ended, bool)
    assert_type(r.communicate(b"", timeout=1), tuple[bytes | None, bytes | None])
    assert_type(t.communicate("")[0], str | None)
    for reading in r.readings(every_s=0.5):
        assert_type(reading, concmem.Reading)
        assert_type(reading.t_s, float)
        assert_type(reading.rss_bytes + reading.alive, int)
        assert_type(reading.pss_bytes, int | None)
        assert_type(reading.pss_t_s, float | None)
        for process in reading.largest:
            assert_type(process, concmem.ReadProcess)
            assert_type((process.pid, process.name, process.rss_bytes), tuple[int, str, int])
    assert_type(r.now(), concmem.Reading | None)
    r.send_signal(2)
    r.terminate()
    r.kill()
    r.stop()
    with r as same:
        assert_type(same.wait(timeout=1), concmem.Measurement[bytes])
    assert_type(t.wait(), concmem.Measurement[str])
    assert r.args


async def asynchronous() -> None:
    """The same in asynchronous code."""
    assert_type(await concmem.measure_async(["true"], check=True, timeout_s=1), concmem.Measurement[bytes])
    assert_type(await concmem.measure_async(["true"], text=True, input="a"), concmem.Measurement[str])
    assert_type(await concmem.start_async(["true"], encoding="utf-8"), concmem.AsyncRunning[str])
    async with await concmem.start_async(["true"], stdin=concmem.PIPE, stdout=concmem.PIPE) as r:
        assert_type(r, concmem.AsyncRunning[bytes])
        if r.stdin is not None and r.stdout is not None:
            r.stdin.write(b"a")
            await r.stdin.drain()
            r.stdin.close()
            assert_type(await r.stdout.readline() + await r.stdout.read(), bytes)
        async for reading in r.readings(every_s=0.5):
            assert_type(reading, concmem.Reading)
        assert_type(await r.communicate(), tuple[bytes | None, bytes | None])
        assert_type(await r.wait(), concmem.Measurement[bytes])


def comparison() -> None:
    """A comparison."""
    c = concmem.compare({"old": ["true"], "new": "true"}, runs=5, warmup=1, timeout_s=10)
    assert_type(c, concmem.Comparison)
    ratio = c["new"].over("old").ratio
    assert_type(ratio.low if ratio else 1.0, float | None)


def errors() -> None:
    """Each error is also the built-in exception that a caller expects."""
    try:
        concmem.measure(["true"], check=True, stdout=concmem.PIPE)
    except concmem.TimeoutExpired as error:
        assert_type(error.measurement, concmem.Measurement[Any] | None)
    except concmem.CommandFailed as error:
        assert_type(error.measurement, concmem.Measurement[Any])
        assert_type(error.returncode, int)
    except (concmem.CommandNotFound, concmem.BadInterpreter) as error:
        not_found: FileNotFoundError = error
        raise not_found from None
    except (concmem.CommandNotExecutable, concmem.NotPermitted) as error:
        not_permitted: PermissionError = error
        raise not_permitted from None
    except concmem.BadWorkingDirectory as error:
        no_folder: NotADirectoryError = error
        raise no_folder from None
    except (concmem.CommandTooLong, concmem.CommandError, concmem.SamplerError) as error:
        system: OSError = error
        raise system from None
    except concmem.InvalidType as error:
        wrong_type: TypeError = error
        raise wrong_type from None
    except concmem.UnknownName as error:
        unknown: KeyError = error
        raise unknown from None
    except (concmem.InvalidRequest, concmem.RecordingError, concmem.Undecided) as error:
        wrong: ValueError = error
        raise wrong from None
    except concmem.UnsupportedPlatform as error:
        unsupported: NotImplementedError = error
        raise unsupported from None
    except concmem.ConcmemError as error:
        assert_type(error.exit_code, int)
