"""
Decide which tests run in parallel and which alone, and print a table of tests that did not run.

Under pytest-xdist, several processes run tests at once. A test that depends on state of the whole machine is marked
``alone``: no other test of the same run is running then. Only tests of one run wait for each other. Other programs on
the machine are not controlled, and no test may fail because of them.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

MOST_WORKERS = 8
TURNS = "CONCMEM_TEST_TURNS"
"""The environment variable with the folder of locks that the workers of one run share."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="Run the tests that take long as well.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: depends on state of the whole machine; no other test runs beside it")
    if getattr(config.option, "tx", None) and TURNS not in os.environ:
        folder = os.environ[TURNS] = tempfile.mkdtemp(prefix="concmem-tests-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        config.add_cleanup(lambda: os.environ.pop(TURNS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Use two workers per CPU for ``-n auto``: most tests wait for programs that sleep."""
    return min(MOST_WORKERS, 2 * len(os.sched_getaffinity(0)))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Move tests marked ``alone`` to the end and to one worker, so that other tests wait as little as possible."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)
    for item in items:
        if item.get_closest_marker("long") and not config.option.long:
            item.add_marker(pytest.mark.skip(reason="takes long: `make test-all` runs it (pytest --long)"))
        if item.get_closest_marker("alone"):
            item.add_marker(pytest.mark.xdist_group("alone"))


@contextmanager
def _locked(path: Path, how: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, how)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)  # a child that was forked can still have the file open


@contextmanager
def _turn(folder: Path, *, alone: bool) -> Iterator[None]:
    """Wait until the test may run. No other test begins while a test waits to be alone."""
    with ExitStack() as stack:
        with _locked(folder / "next", fcntl.LOCK_EX):
            stack.enter_context(_locked(folder / "running", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[Any]:
    """Run a test when it is its turn."""
    if TURNS not in os.environ:
        return (yield)
    with _turn(Path(os.environ[TURNS]), alone=item.get_closest_marker("alone") is not None):
        return (yield)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Print how many tests did not run and why, most frequent reason first."""
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        _, _, reason = report.longrepr
        whole_file = "" if getattr(report, "when", None) else f"{Path(report.nodeid).name}: "
        reasons[whole_file + reason.removeprefix("Skipped: ")] += 1
    if not reasons:
        return
    terminalreporter.section("tests that did not run, and why")
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"{count:5}  {reason}")
