"""The adapters of ``examples/``: each runs a job of known size, with the tool itself where it is installed."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import concmem

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MIB = 1 << 20
LONG_S = 300.0
"""Longer than any command of these tests takes on a busy machine."""

pytestmark = pytest.mark.skipif(
    not EXAMPLES.exists(), reason="the checkout is missing: only an installed concmem is here"
)


def example(name: str) -> Any:
    """Import an example."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(EXAMPLES))  # one of them imports another
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(EXAMPLES))
    return module


def python(script: str) -> list[str]:
    """Return a command that runs a script in a Python without site packages."""
    return [sys.executable, "-I", "-S", "-c", script]


def tool(name: str, package: str) -> str:
    """Return the path of a tool, or skip the test if it is not installed."""
    path = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if path is None:
        pytest.skip(f"{name} is missing: pip install {package}")
    return path


def run(command: list[str], folder: Path) -> str:
    """Run a tool in a folder, in which the commands of this Python are found first, and return what it wrote."""
    paths = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if (site := Path(concmem.__file__).parents[1]).name != "site-packages":
        paths_of_modules = {"PYTHONPATH": str(site)}  # an editable concmem, for a tool of another environment
    else:
        paths_of_modules = {}
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LONG_S,
        env=os.environ | {"PATH": os.pathsep.join(paths)} | paths_of_modules,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


# The judge

SLEEPS = "import time; time.sleep(600)"


@pytest.mark.parametrize(
    ("program", "limits", "said"),
    [
        ("print(sum(map(int, input().split())))", {}, "ok"),
        ("while True: pass", {"cpu_s": 0.2}, "time limit exceeded"),
        (SLEEPS, {"cpu_s": 0.2}, "time limit exceeded"),
        (f"block = bytearray(100 << 20); {SLEEPS}", {"memory_bytes": 64 * MIB}, "memory limit exceeded"),
        ("block = bytearray(100 << 20); del block", {"memory_bytes": 64 * MIB}, "memory limit exceeded"),
        (f"import os; os.fork(); {SLEEPS}", {}, "too many processes"),
        ("print('x' * 2000)", {"output_bytes": 1000}, "output limit exceeded"),
        ("raise SystemExit(3)", {}, "runtime error: exit code 3"),
        ("import os; os.kill(os.getpid(), 11)", {}, "runtime error: signal 11 (SIGSEGV)"),
    ],
    ids=lambda value: None,
)
def test_the_judge_names_what_happened(program: str, limits: dict[str, Any], said: str) -> None:
    """Each limit has its verdict; a program that is right has its output."""
    verdict, m = example("judge").judge(python(program), b"1 2\n", **{"cpu_s": 60} | limits)
    assert verdict == said
    assert m.stdout == b"3\n" or said != "ok"
    assert len(m.stdout) <= limits.get("output_bytes", MIB)


def test_the_judge_does_not_count_the_memory_of_its_caller() -> None:
    """A small program of a caller that holds 200 MiB is a small program."""
    held = bytearray(os.urandom(1) * (200 * MIB))
    verdict, m = example("judge").judge(["/bin/true"], b"", cpu_s=60)
    assert verdict == "ok" and m.peak < "190 MiB" and len(held) == 200 * MIB


GUESSES = """
low, high = 0, 1 << 20
while True:
    middle = (low + high + 1) // 2
    print(middle, flush=True)
    answer = input()
    if answer == "=":
        break
    low, high = (low, middle - 1) if answer == "<" else (middle, high)
"""
ANSWERS = """
for _ in range(25):
    try:
        guess = int(input())
    except EOFError:
        raise SystemExit(2)
    print("=" if guess == 777 else "<" if guess > 777 else ">", flush=True)
    if guess == 777:
        raise SystemExit(0)
raise SystemExit(1)
"""


@pytest.mark.parametrize(
    ("program", "cpu_s", "said"),
    [
        (GUESSES, 60, "ok"),
        ("while True:\n    print(5, flush=True)\n    input()", 60, "wrong answer"),
        ("raise SystemExit(3)", 60, "runtime error: exit code 3"),
        (SLEEPS, 0.2, "time limit exceeded"),
    ],
    ids=["right", "wrong", "fails", "sleeps"],
)
def test_an_interactive_program(program: str, cpu_s: float, said: str) -> None:
    """Program and interactor read what the other one writes. Each is measured by itself."""
    verdict, m, judged = example("interactive").interact(python(program), python(ANSWERS), cpu_s=cpu_s)
    assert verdict == said
    assert m.peak.low_bytes > MIB and (judged.exit.ok or said != "ok")


# Snakemake


def figures(path: Path) -> dict[str, str]:
    """Return the row of a benchmark file."""
    with path.open() as file:
        (row,) = csv.DictReader(file, delimiter="\t")
    return row


def test_benchmark_figures_of_a_shell_command(tmp_path: Path) -> None:
    """The file has the columns of Snakemake's, and the memory of the job. A command that fails raises."""
    shell = example("snakemake_shell").shell
    script = "block = bytearray(100 << 20); print(5)"
    shell(f"{sys.executable} -I -S -c '{script}' > {tmp_path}/out", str(tmp_path / "bench.tsv"))
    assert (tmp_path / "out").read_text() == "5\n"
    row = figures(tmp_path / "bench.tsv")
    assert " ".join(row) == "s h:m:s max_rss max_vms max_uss max_pss io_in io_out mean_load cpu_time peak"
    assert 100 <= float(row["peak"]) < 150
    with pytest.raises(subprocess.CalledProcessError):
        shell("false | true", str(tmp_path / "bench.tsv"))


@pytest.mark.slow
def test_a_rule_of_snakemake(tmp_path: Path) -> None:
    """Both files of the Snakefile have the same columns, but for `peak`, which contains the job's 200 MiB."""
    snakemake = tool("snakemake", "snakemake")
    for name in ("Snakefile", "snakemake_shell.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    run([snakemake, "--cores", "1"], tmp_path)
    ours, theirs = figures(tmp_path / "by_concmem.tsv"), figures(tmp_path / "by_snakemake.tsv")
    assert list(ours) == [*list(theirs), "peak"]
    assert 200 <= float(ours["peak"]) < 250


# pyperf


@pytest.mark.slow
def test_pyperf(tmp_path: Path) -> None:
    """Pyperf stores the peak memory of a command with two processes of 20 MiB as values in bytes."""
    pyperf = pytest.importorskip("pyperf", reason="pyperf is missing: pip install pyperf")
    script = "block = bytearray(20 << 20); open(0).read(1)"
    both = f"yes | (for i in 1 2; do {sys.executable} -I -S -c '{script}' <&0 & done; wait)"
    once = ["--processes=2", "--values=1", "--warmups=0", "--loops=1"]
    command = [sys.executable, str(EXAMPLES / "pyperf_command.py"), *once]
    run([*command, "-o", "peak.json", "--", "sh", "-c", both], tmp_path)
    run([*command, "--wall", "-o", "wall.json", "--", "true"], tmp_path)
    peak = pyperf.BenchmarkSuite.load(str(tmp_path / "peak.json")).get_benchmark("sh: peak memory")
    assert peak.get_unit() == "byte" and len(peak.get_values()) == 2
    assert all(20 * MIB < value < 100 * MIB for value in peak.get_values())
    wall = pyperf.BenchmarkSuite.load(str(tmp_path / "wall.json")).get_benchmark("true: time")
    assert wall.get_unit() == "second" and 0 < wall.get_values()[0] < LONG_S


# con/duct


HOLDS = """
import os, sys, time
block = bytearray(50 << 20)
deadline = time.monotonic() + 120
while time.monotonic() < deadline and not any(
    int(part.partition(",")[0].rstrip("}")) > 50 << 20
    for part in (open(PATH).read() if os.path.exists(PATH) else "").split('"rss": ')[1:]
):
    time.sleep(0.01)
"""
"""Hold 50 MiB until a line says so."""


def test_lines_of_duct(tmp_path: Path) -> None:
    """Each reading is a line with the fields of con/duct's lines, which are written while the command runs."""
    path = tmp_path / "usage.jsonl"
    m = example("duct_lines").run(python(HOLDS.replace("PATH", repr(str(path)))), str(path), every_s=0.05)
    assert m.exit.ok and m.peak > "50 MiB"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert max(line["totals"]["rss"] for line in lines) > 50 * MIB
    assert all(0 <= line["totals"]["pmem"] <= 100 for line in lines)
    duct = tool("con-duct", "con-duct")
    often = ["--sample-interval", "0.1", "--report-interval", "0.1", "-p", str(tmp_path / "duct_")]
    theirs_path = tmp_path / "duct_usage.jsonl"
    run([duct, "run", "--quiet", *often, "--", *python(HOLDS.replace("PATH", repr(str(theirs_path))))], tmp_path)
    theirs = json.loads(theirs_path.read_text().splitlines()[0])
    assert set(lines[0]) <= set(theirs)
    assert set(lines[0]["totals"]) - {"pss"} <= set(theirs["totals"])
    assert "totals" in run([duct, "pp", str(path)], tmp_path)


# CWL and Nextflow: a prefix of the command


@pytest.mark.slow
def test_a_tool_of_cwl(tmp_path: Path) -> None:
    """The output of the tool is its peak memory, read from concmem's file."""
    cwltool = tool("cwltool", "cwltool")
    (out,) = (
        line for line in [run([cwltool, "--quiet", str(EXAMPLES / "peak.cwl")], tmp_path)] if "peak_bytes" in line
    )
    assert 300 * MIB <= json.loads(out)["peak_bytes"] < 360 * MIB


@pytest.mark.slow
def test_a_process_of_nextflow(tmp_path: Path) -> None:
    """The same with Nextflow, which is no package of Python."""
    nextflow = shutil.which("nextflow")
    if nextflow is None:
        pytest.skip("nextflow is missing")
    assert "peak: " in run([nextflow, "run", str(EXAMPLES / "peak.nf")], tmp_path)


def test_the_prefix(tmp_path: Path) -> None:
    """What both use: concmem run passes output and exit code through, and the file has `peak.bytes`."""
    prefix = [sys.executable, "-m", "concmem", "run", "--quiet", "--json", "peak.json", "--"]
    done = subprocess.run([*prefix, "sh", "-c", "echo out; exit 7"], cwd=tmp_path, capture_output=True, timeout=LONG_S)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out\n", b"")
    assert json.loads((tmp_path / "peak.json").read_text())["peak"]["bytes"] > 0
    for name in ("peak.cwl", "peak.nf"):
        words = (EXAMPLES / name).read_text().replace(",", "").split()
        assert "concmem run --quiet --json peak.json --" in " ".join(words).replace("[", "").replace("]", "")
