"""`measure_async` and `start_async` in asyncio, uvloop and trio: no thread, and cancelling ends the tree."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import os
import resource
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

import concmem
from concmem import PIPE, errors

LONG_S = 120.0
"""Longer than any command of these tests takes on a busy machine."""

pytestmark = pytest.mark.usefixtures("no_child_left")

Act = Callable[[], Coroutine[Any, Any, Any]]


def _module(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is missing: pip install {name}")


def _asyncio(act: Act) -> Any:
    return asyncio.run(act())


def _uvloop(act: Act) -> Any:
    loop = _module("uvloop").new_event_loop()
    try:
        return loop.run_until_complete(act())
    finally:
        loop.close()


def _trio(act: Act) -> Any:
    _module("trio")
    return _module("anyio").run(act, backend="trio")


@pytest.fixture(params=[_asyncio, _uvloop, _trio], ids=["asyncio", "uvloop", "trio"])
def run(request: pytest.FixtureRequest) -> Callable[[Act], Any]:
    """Return a function that runs a coroutine in one of the libraries."""
    function: Callable[[Act], Any] = request.param
    return function


@pytest.fixture(autouse=True)
def no_thread_and_no_fd_left() -> Iterator[None]:
    """Check that no thread was left, and no descriptor besides the memory that is kept for the next measurement."""
    concmem.measure(["true"])
    with contextlib.suppress(ImportError):  # the first loop of libuv opens a pipe for all of them
        importlib.import_module("uvloop").new_event_loop().close()
    gc.collect()
    threads, files = threading.active_count(), _open_files()
    yield
    gc.collect()
    assert threading.active_count() <= threads  # one of an earlier test may have ended
    assert not Counter(_open_files()) - Counter(files)


def _open_files() -> list[str]:
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # the descriptor of the folder itself
            continue
    return sorted(name for name in names if "memfd:concmem" not in name)


def test_measure_async(run: Callable[[Act], Any]) -> None:
    """It returns what `measure` returns: figures, exit and output."""

    async def act() -> Any:
        m = await concmem.measure_async("cat; echo oops >&2; exit 3", input=b"a" * 300_000, stdout=PIPE, stderr=PIPE)
        assert (m.stdout, m.stderr, m.exit.code) == (b"a" * 300_000, b"oops\n", 3)
        assert m.peak.bytes
        text = await concmem.measure_async(["cat"], input="é\r\n", stdout=PIPE, encoding="utf-8")
        assert text.stdout == "é\n"
        return m

    assert run(act).exit.returncode == 3


def test_errors(run: Callable[[Act], Any]) -> None:
    """They are those of `measure` and `start`."""

    async def act() -> None:
        for function in (concmem.measure_async, concmem.start_async):
            with pytest.raises(FileNotFoundError):
                await function(["/nonexistent"], stdout=PIPE)
            with pytest.raises(errors.InvalidRequest):
                await function([])
            with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected"):
                await function(["true"], nonsense=1)  # type: ignore[operator]
        with pytest.raises(subprocess.CalledProcessError) as failed:
            await concmem.measure_async("exit 3", check=True)
        assert failed.value.returncode == 3
        with pytest.raises(subprocess.TimeoutExpired):
            await concmem.measure_async(["sleep", "600"], check=True, timeout_s=0.1)

    run(act)


def test_the_loop_goes_on(run: Callable[[Act], Any]) -> None:
    """Other tasks run while a command is measured, and a task that ends it is one of them."""

    async def act() -> None:
        async with await concmem.start_async("read line; exit 5", stdin=PIPE) as running:
            assert running.returncode is None and running.pid > 0
            assert running.stdin is not None
            running.stdin.write(b"x\n")
            await running.stdin.drain()
            running.stdin.close()
            m = await running.wait()
            assert (m.exit.code, running.returncode) == (5, 5)
            assert await running.wait() is m

    run(act)


def test_streams(run: Callable[[Act], Any]) -> None:
    """Output is read while the command runs; more input than a pipe holds is written by `drain`."""

    async def act() -> None:
        running = await concmem.start_async(["cat"], stdin=PIPE, stdout=PIPE)
        assert running.stdin is not None and running.stdout is not None and running.stderr is None
        running.stdin.write(b"one\ntwo\nthr")
        await running.stdin.drain()
        assert await running.stdout.readline() == b"one\n"
        assert await running.stdout.read(3) == b"two"
        assert await running.stdout.readline() == b"\n"
        running.stdin.write(b"ee\n" + bytes(30_000))
        running.stdin.close()
        assert running.stdin.is_closing()
        await running.stdin.wait_closed()
        assert [line async for line in running.stdout] == [b"three\n", bytes(30_000)]
        assert running.stdout.at_eof() and await running.stdout.read() == b""
        m = await running.wait()
        assert (m.exit.code, m.stdout) == (0, None)

    run(act)


def test_text_streams(run: Callable[[Act], Any]) -> None:
    """A character that comes in two pieces is whole; `communicate` returns what was not read."""

    async def act() -> None:
        command = r"printf 'a\r\n\303'; sleep 0.05; printf '\251b'; cat"
        running = await concmem.start_async(command, stdin=PIPE, stdout=PIPE, encoding="utf-8")
        assert running.stdout is not None
        assert await running.stdout.readline() == "a\n"
        assert await running.stdout.read(1) == "é"
        stdout, stderr = await running.communicate("cd")
        assert (stdout, stderr) == ("bcd", None)
        assert (await running.wait()).stdout == "bcd"

    run(act)


def test_communicate(run: Callable[[Act], Any]) -> None:
    """Much input and output at once, and a command that does not read."""

    async def act() -> None:
        given = b"abc" * 500_000
        running = await concmem.start_async("tee /dev/stderr", stdin=PIPE, stdout=PIPE, stderr=PIPE)
        assert await running.communicate(given) == (given, given)
        running = await concmem.start_async(["true"], stdin=PIPE)
        assert await running.communicate(given) == (None, None)
        running = await concmem.start_async(["true"], stdin=PIPE)
        stdin = running.stdin
        assert stdin is not None
        await running.wait()
        with pytest.raises(BrokenPipeError):
            stdin.write(given)
            await stdin.drain()
        stdin.close()

    run(act)


def test_signals(run: Callable[[Act], Any]) -> None:
    """`terminate`, `kill` and `stop` as of `Running`."""

    async def act() -> None:
        for name, reason in (("terminate", "signaled"), ("kill", "signaled"), ("stop", "interrupted")):
            running = await concmem.start_async(["sleep", "600"])
            getattr(running, name)()
            assert (await running.wait()).exit.reason == reason

    run(act)


def test_the_context_manager_ends_the_tree(run: Callable[[Act], Any], marked: Any) -> None:
    """Also when the block raises, and the error of the block is raised."""

    async def act() -> None:
        with pytest.raises(ZeroDivisionError):
            async with await concmem.start_async("sleep 600 & sleep 600", stdout=PIPE, env=marked.env) as running:
                1 / 0  # noqa: B018
        assert (await running.wait()).exit.reason == "interrupted"

    run(act)
    assert marked.alive() == {}


@pytest.mark.parametrize("kind", ["measure", "wait", "communicate"])
@pytest.mark.parametrize("library", ["asyncio", "uvloop"])
def test_cancelling_ends_the_tree(kind: str, library: str, marked: Any) -> None:
    """When the cancelled task has ended, no process of the tree is left."""

    async def act() -> None:
        if kind == "measure":
            awaited: Any = concmem.measure_async("sleep 600 & sleep 600", stdout=PIPE, env=marked.env)
        else:
            running = await concmem.start_async("sleep 600 & sleep 600", stdout=PIPE, env=marked.env)
            awaited = getattr(running, kind)()
        task = asyncio.ensure_future(awaited)
        await asyncio.sleep(0)  # a task that is cancelled before it begins does not run at all
        while len(marked.alive()) < 3:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert marked.alive() == {}
        if kind != "measure":
            assert (await running.wait()).exit.reason == "interrupted"

    (_asyncio if library == "asyncio" else _uvloop)(act)


def test_wait_for(marked: Any) -> None:
    """`asyncio.wait_for` and `asyncio.timeout` end the tree; a second cancellation does not leave it running."""

    async def act() -> None:
        with pytest.raises((asyncio.TimeoutError, TimeoutError)):
            await asyncio.wait_for(concmem.measure_async(["sleep", "600"], env=marked.env), 0.1)
        assert marked.alive() == {}
        if sys.version_info >= (3, 11):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await concmem.measure_async(["sleep", "600"], env=marked.env)
            assert marked.alive() == {}
        task = asyncio.ensure_future(concmem.measure_async(["sleep", "600"], env=marked.env))
        await asyncio.sleep(0.05)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        assert marked.alive() == {}

    asyncio.run(act())


def test_a_cancelled_scope_of_trio(marked: Any) -> None:
    """A scope of anyio that is cancelled ends the tree, and waits for its end."""
    anyio = _module("anyio")

    async def act() -> None:
        with anyio.move_on_after(0.2) as scope:
            await concmem.measure_async("sleep 600 & sleep 600", stdout=PIPE, env=marked.env)
        assert scope.cancel_called
        assert marked.alive() == {}
        with anyio.move_on_after(0.2):
            async with await concmem.start_async(["sleep", "600"], env=marked.env):
                await anyio.sleep(600)
        assert marked.alive() == {}

    _trio(act)


def test_a_loop_that_ends_early(marked: Any) -> None:
    """`asyncio.run` cancels what still runs: the tree ends, and the loop's end does not wait for the command."""

    async def act() -> None:
        task = asyncio.ensure_future(concmem.measure_async(["sleep", "600"], env=marked.env))
        while not marked.alive():
            await asyncio.sleep(0.01)
        assert not task.done()

    asyncio.run(act())
    assert marked.alive() == {}


def test_two_hundred_at_once(run: Callable[[Act], Any]) -> None:
    """They run in one loop without a thread, and each has its own output and figures."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 4096)), hard))
    threads = threading.active_count()
    most = 0

    async def one(number: int) -> Any:
        nonlocal most
        m = await concmem.measure_async(f"sleep 0.2; echo {number}", stdout=PIPE)
        most = max(most, threading.active_count())
        return m

    async def act() -> list[Any]:
        if run is not _trio:
            return list(await asyncio.gather(*[one(number) for number in range(200)]))
        anyio = importlib.import_module("anyio")
        results: dict[int, Any] = {}

        async def store(number: int) -> None:
            results[number] = await one(number)

        async with anyio.create_task_group() as group:
            for number in range(200):
                group.start_soon(store, number)
        return [results[number] for number in range(200)]

    try:
        measured = run(act)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert [m.stdout for m in measured] == [f"{number}\n".encode() for number in range(200)]
    assert all(m.exit.ok and m.peak.bytes for m in measured)
    assert most == threads


@pytest.mark.parametrize("run", [_asyncio, _uvloop], ids=["asyncio", "uvloop"])
def test_several_tasks_may_wait(run: Callable[[Act], Any]) -> None:
    """All of them get the same measurement."""

    async def act() -> None:
        running = await concmem.start_async("sleep 0.1; echo a", stdout=PIPE)
        first, second, third = await asyncio.gather(running.wait(), running.wait(), running.communicate())
        assert first is second
        assert third == (b"a\n", None)

    run(act)


def test_readings(run: Callable[[Act], Any]) -> None:
    """They come while the command runs, and end with it."""

    async def act() -> None:
        async with await concmem.start_async(["sleep", "0.3"]) as running:
            read = [reading async for reading in running.readings(every_s=0.02)]
            assert read and all(each.alive >= 1 and each.rss_bytes > 0 for each in read)
            assert (await running.wait()).exit.ok

    run(act)


def test_without_a_loop() -> None:
    """Outside of a running loop it is one sentence."""
    for function in (concmem.start_async, concmem.measure_async):
        with pytest.raises(errors.UnsupportedPlatform, match="runs here"):
            function(["true"]).send(None)


def test_signatures() -> None:
    """They are coroutine functions with the options, the defaults and the text of `measure` and `start`."""
    for function, like in ((concmem.measure_async, concmem.measure), (concmem.start_async, concmem.start)):
        assert inspect.iscoroutinefunction(function)
        assert inspect.signature(function).parameters == inspect.signature(like).parameters
        assert "{options}" not in (function.__doc__ or "") and "max_output_bytes:" in (function.__doc__ or "")


def test_asyncio_is_not_imported_without_need() -> None:
    """Neither asyncio nor anyio is imported by a command without them, nor `subprocess`, which attrs may import."""
    code = (
        "import concmem, sys; concmem.start(['true'])._wait_until_ended();"
        "print({'asyncio', 'anyio', 'subprocess'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "set()\n"


def test_a_dropped_command_ends(marked: Any) -> None:
    """A command that is not waited for ends, with a ResourceWarning."""

    async def act() -> None:
        running = await concmem.start_async(["sleep", "600"], env=marked.env)
        with pytest.warns(ResourceWarning, match="was started, but wait"):
            del running
            gc.collect()

    asyncio.run(act())
    until_s = time.monotonic() + LONG_S
    while marked.alive():
        assert time.monotonic() < until_s
        time.sleep(0.01)
