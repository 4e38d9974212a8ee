"""Programs that measure and are themselves unusual: workers of multiprocessing, gevent, subinterpreters."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORKERS = """
import json, multiprocessing, sys
import concmem

MIB = 1 << 20
JOB = [sys.executable, "-I", "-S", "-c", "block = bytearray(30 << 20); print('x' * 100_000)"]

def peaks(_):
    m = concmem.measure(JOB, stdout=concmem.PIPE, check=True)
    return 30 * MIB <= m.peak.low_bytes < 60 * MIB and len(m.stdout) == 100_001

if __name__ == "__main__":
    before = peaks(0)
    context = multiprocessing.get_context(sys.argv[1])
    with context.Pool(2) as pool:
        print(json.dumps([before, *pool.map(peaks, range(4)), peaks(0)]))
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_workers_of_multiprocessing(method: str, tmp_path: Path) -> None:
    """A host and its workers measure, however they were started, also if the host did so before."""
    (tmp_path / "host.py").write_text(WORKERS)
    done = subprocess.run(
        [sys.executable, "host.py", method], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.stdout.split() == ["[true,", "true,", "true,", "true,", "true,", "true]"], done.stderr


GEVENT = """
from gevent import monkey

monkey.patch_all()
import gevent, json, sys
import concmem

turns = []

def take_turns():
    while True:
        turns.append(None)
        gevent.sleep(0.01)

other = gevent.spawn(take_turns)
waits = "import sys; sys.stdin.read()"
running = concmem.start([sys.executable, "-I", "-S", "-c", waits], stdin=concmem.PIPE)
stdin = running.stdin

def end():
    while len(turns) < 20:
        gevent.sleep(0.01)
    stdin.close()

gevent.spawn(end)
m = running.wait()
many = [gevent.spawn(concmem.measure, ["/bin/echo", str(i)], stdout=concmem.PIPE) for i in range(5)]
gevent.joinall(many)
print(json.dumps([m.exit.ok, len(turns) >= 20, b"".join(each.value.stdout for each in many).decode()]))
"""


def test_gevent(host_python: Callable[..., Any]) -> None:
    """With gevent's patches, other greenlets run while one waits for a command."""
    pytest.importorskip("gevent", reason="gevent is missing: pip install gevent")
    assert host_python(GEVENT) == [True, True, "0\n1\n2\n3\n4\n"]


SUBINTERPRETER = """
import json, sys
import NAME as interpreters
import concmem

code = f"import sys; sys.path[:] = {sys.path!r}; import concmem; assert concmem.measure(['/bin/true']).exit.ok"
interpreter = interpreters.create(HOW)
failed = interpreters.run_string(interpreter, code)
interpreters.destroy(interpreter)
print(json.dumps([failed and failed.msg, concmem.measure(["/bin/true"]).exit.ok]))
"""


def test_subinterpreters(host_python: Callable[..., Any]) -> None:
    """
    It works in a subinterpreter that shares the GIL.

    In one that has its own, cffi cannot be imported, and the error says so.
    """
    name = next((n for n in ("_interpreters", "_xxsubinterpreters") if importlib.util.find_spec(n)), None)
    if name is None:
        pytest.skip("this Python has no module for subinterpreters")
    script = SUBINTERPRETER.replace("NAME", name)
    shared = '"legacy"' if name == "_interpreters" else "isolated=False"
    assert host_python(script.replace("HOW", shared)) == [None, True]
    if name == "_interpreters":
        failed, works = host_python(script.replace("HOW", ""))
        assert "cannot be loaded" in failed and "does not support loading in subinterpreters" in failed and works
