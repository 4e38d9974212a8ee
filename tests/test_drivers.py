from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from concmem.drivers import programs as drivers
from concmem.drivers.cache import CacheError, cache_dir
from concmem.drivers.programs import BuildError, ManifestError, Missing, Prepared, Program, Toolchain
from concmem.errors import InvalidRequest
from concmem.study.workloads import WORKLOADS

Write = Callable[..., Path]

MANIFEST = """
name = "Fake"
hand = "get it from a friend"

[[toolchain]]
name = "fake"
label = "Fake {version}"
build = [["TOOLS/compile", "{source}", "{dir}/out"]]
build_env = { FLAVOUR = "of {program}" }
run = ["TOOLS/interpret", "{flags}", "{dir}/out"]
env = { FAKE_HOME = "{tool_folder}" }

[[toolchain.tool]]
name = "tool"
look = ["TOOLS/*/interpret", "TOOLS/interpret"]
ask = ["{tool}", "--version"]
answer = 'fake (?P<version>[\\d.]+)'

[[program]]
name = "fake-threads"
title = "Fake threads"
kind = "thread"
file = "threads.fake"
workloads = { spawn = "spawn.fake" }
flags = [{ tasks_above = 10, argv = ["--some"] }, { tasks_above = 100, argv = ["--more", "2"] }]

[[program]]
name = "fake-fibres"
title = "Fake fibres"
kind = "green thread"
file = "fibres.fake"
variant = "tuned"
begins_together = true
"""


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONCMEM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write the fake language with replacements in its manifest. Return the folder for ``load_programs``."""
    tools = tmp_path / "tools"
    script(tools / "interpret", 'echo "fake 2.10.1"')
    script(tools / "compile", 'echo x >> "$(dirname "$0")/count"; (cat "$1"; echo "$FLAVOUR") > "$2"')
    folder = tmp_path / "programs" / "fake"
    folder.mkdir(parents=True)
    for name in ("threads.fake", "spawn.fake", "fibres.fake"):
        (folder / name).write_text(f"source of {name}\n")

    def write(*replacements: tuple[str, str]) -> Path:
        text = MANIFEST
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        (folder / "language.toml").write_text(text.replace("TOOLS", str(tools)))
        drivers._manifest.read.cache_clear()
        drivers.forget()
        return folder.parent

    return write


def program(write: Write, *replacements: tuple[str, str], name: str = "fake-threads") -> Program:
    return drivers.load_programs([write(*replacements)])[name]


def found(write: Write, *replacements: tuple[str, str], name: str = "fake-threads") -> Toolchain:
    toolchain = drivers.detect(program(write, *replacements, name=name))
    assert isinstance(toolchain, Toolchain), toolchain
    return toolchain


def prepared(write: Write, *replacements: tuple[str, str], name: str = "fake-threads") -> Prepared:
    wanted = program(write, *replacements, name=name)
    toolchain = drivers.detect(wanted)
    assert isinstance(toolchain, Toolchain), toolchain
    return drivers.prepare(wanted, toolchain)


def test_the_ten_in_their_order() -> None:
    """The default is the ten programs of the article, in the order of its table, with all workloads."""
    programs = drivers.choose(drivers.load_programs())
    expected = [
        "rust-threads",
        "rust-tokio",
        "rust-async-std",
        "go",
        "java-threads",
        "java-virtual-threads",
        "csharp",
        "nodejs",
        "python",
        "elixir",
    ]
    assert list(programs) == expected
    assert {program.variant for program in programs.values()} == {"article"}
    assert {program.workloads for program in programs.values()} == {tuple(WORKLOADS)}
    assert [name for name, program in programs.items() if program.begins_together] == ["nodejs", "python"]


def test_idiomatic_programs() -> None:
    """Each idiomatic program is in a language of the article and has only the workload sleep."""
    found = drivers.load_programs()
    ten, idiomatic = drivers.choose(found), drivers.choose(found, variants=["idiomatic"])
    languages = {program.language for program in ten.values()}
    assert {program.language for program in idiomatic.values()} == languages
    assert {program.workloads for program in idiomatic.values()} == {("sleep",)}


@pytest.mark.parametrize(
    ("names", "variants", "expected"),
    [
        ([], [], ["rust-threads", "go", "fake-threads", "fake-fibres"]),
        ([], ["article"], ["rust-threads", "go", "fake-threads"]),
        ([], ["idiomatic"], ["go-timers"]),
        ([], ["tuned", "idiomatic"], ["go-timers", "fake-fibres"]),
        (["fake-threads", "go-timers"], [], ["go-timers", "fake-threads"]),
        (["all"], [], ["rust-threads", "go", "go-timers", "fake-threads", "fake-fibres"]),
        (["go", "all"], [], ["rust-threads", "go", "go-timers", "fake-threads", "fake-fibres"]),
        (["all"], ["article"], ["rust-threads", "go", "fake-threads"]),
        (["go", "go-timers"], ["idiomatic"], ["go-timers"]),
    ],
)
def test_selected_programs(write: Write, names: list[str], variants: list[str], expected: list[str]) -> None:
    """Names and variants select programs. Without either, concmem's own further programs are left out."""
    every = drivers.load_programs([write()])
    found = {name: every[name] for name in ("rust-threads", "go", "go-timers", "fake-threads", "fake-fibres")}
    assert list(drivers.choose(found, names, variants)) == expected


@pytest.mark.parametrize(
    ("names", "variants", "complaint"),
    [
        (["go", "cobol"], [], "there is no program 'cobol'; there are: go, fake-threads, fake-fibres, all"),
        ([], ["tunde", "x"], "there is no variant 'tunde', 'x'; there are: article, tuned"),
        (["go", "fake-threads"], ["tuned"], "none of go, fake-threads has the variant tuned"),
    ],
)
def test_unknown_names_are_refused(write: Write, names: list[str], variants: list[str], complaint: str) -> None:
    """An unknown name gives one sentence that lists the known ones."""
    every = drivers.load_programs([write()])
    found = {name: every[name] for name in ("go", "fake-threads", "fake-fibres")}
    with pytest.raises(InvalidRequest) as caught:
        drivers.choose(found, names, variants)
    assert (str(caught.value), caught.value.exit_code) == (complaint, 2)


def test_the_page_has_every_program() -> None:
    """The documentation's table has a row for each program, in the same order and with the manifest's values."""
    page = (Path(__file__).parents[1] / "docs/programs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(.+)` \| (.+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert rows == [(name, p.title, p.kind, p.variant) for name, p in drivers.load_programs().items()]


def test_other_folders_come_after(write: Write) -> None:
    """Programs of another folder follow concmem's own, with all values of their manifest."""
    programs = drivers.load_programs([write()])
    own = list(drivers.load_programs())
    assert list(programs) == [*own, "fake-threads", "fake-fibres"]
    fibres = programs["fake-fibres"]
    assert (fibres.language, fibres.title, fibres.kind) == ("Fake", "Fake fibres", "green thread")
    assert (fibres.variant, fibres.begins_together, fibres.workloads) == ("tuned", True, ("sleep",))
    assert programs["fake-threads"].workloads == ("sleep", "spawn")


def test_a_name_that_is_taken(write: Write) -> None:
    """Two programs with the same name are refused; the error names the second file."""
    with pytest.raises(ManifestError, match=r"fake/language.toml: program.name: 'go' is already in .*/go$"):
        drivers.load_programs([write(('"fake-threads"', '"go"'))])


def test_a_folder_without_languages(tmp_path: Path) -> None:
    """A folder without a language is an error, not an empty list."""
    with pytest.raises(ManifestError, match=r"no folder in it has a language\.toml"):
        drivers.load_programs([tmp_path])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('name = "Fake"', "", "name: it is missing"),
        ('name = "Fake"', 'name = "Fake"\nnmae = "x"', "unknown key 'nmae'"),
        ('name = "Fake"', 'name = "Fake"\nfolder = "x"', "unknown key 'folder'"),
        ('name = "Fake"', 'name = "Fake"\norder = "first"', "order: 'first' is not a whole number"),
        ('name = "Fake"', "name = Fake", "line 2"),
        (
            'kind = "thread"',
            'kind = "fibre"',
            r"program\[0\].kind: must be one of 'thread', 'green thread', .*, not 'fibre'",
        ),
        ('file = "threads.fake"', 'file = "nothing"', r"program\[0\].file: no file 'nothing' in .*"),
        ('"fake-threads"', '"Fake Threads"', r"program\[0\].name: 'Fake Threads' is not made of lower-case letters.*"),
        ('"fake-fibres"', '"fake-threads"', "program: more than one program is named 'fake-threads'"),
        ('"fake-fibres"', '"fake-threads-spawn"', "program: more than one program is named 'fake-threads-spawn'"),
        ("spawn = ", "spwan = ", r"program\[0\].workloads.*: must be one of 'spawn', 'channel', not 'spwan'"),
        ('"spawn.fake"', '"nothing"', r"program\[0\].workloads.spawn: no file 'nothing' in .*"),
        (
            "tasks_above = 10,",
            "tasks_above = 1000,",
            r"program\[0\].flags: tasks_above must increase from rule to rule",
        ),
        ('argv = ["--some"]', 'argv = "--some"', r"program\[0\].flags\[0\].argv: '--some' is not a list"),
        ('"{flags}", ', "", r"toolchain\[0\].run: must contain '{flags}', .*"),
        ('"{dir}/out"]\nenv', '"{dri}/out"]\nenv', r"toolchain\[0\].run: unknown placeholder '{dri}'; known here: .*"),
        ("(?P<version>", "(?P<vers>", r"toolchain\[0\].tool: one answer must have a group .*"),
        ("(?P<version>", "(?P<version", r"toolchain\[0\].tool\[0\].answer: .*"),
        ('ask = ["{tool}", "--version"]', "", r"toolchain\[0\].tool\[0\]: ask and answer must be given together"),
        ('FAKE_HOME = "{tool_folder}"', "FAKE_HOME = 1", r"toolchain\[0\].env\['FAKE_HOME'\]: 1 is not a string"),
        ("begins_together = true", 'begins_together = "yes"', r"program\[1\].begins_together: 'yes' is not a truth.*"),
    ],
)
def test_a_mistake_is_one_sentence(write: Write, old: str, new: str, complaint: str) -> None:
    """Each mistake in a manifest gives one line with the file, the key and what is wrong."""
    with pytest.raises(ManifestError) as caught:
        drivers.load_programs([write((old, new))])
    assert re.search(rf"/fake/language\.toml: .*{complaint}", str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_found(write: Write, tmp_path: Path) -> None:
    """A toolchain has its version, its path and its label."""
    toolchain = found(write)
    assert (toolchain.language, toolchain.name, toolchain.version) == ("Fake", "fake", "2.10.1")
    assert toolchain.path == str(tmp_path / "tools/interpret")
    assert toolchain.label == "Fake 2.10.1"


def test_the_first_place_wins(write: Write, tmp_path: Path) -> None:
    """The first path that works is used; with ``newest``, the highest version."""
    script(tmp_path / "tools/a/interpret", 'echo "fake 2.9"')
    script(tmp_path / "tools/broken/interpret", "exit 3")
    assert found(write).version == "2.9"
    assert found(write, ("build_env", 'choose = "newest"\nbuild_env')).version == "2.10.1"


def test_too_old_is_a_reason(write: Write) -> None:
    """A toolchain older than its least version is not used. The reason has both versions."""
    what = drivers.detect(program(write, ("build_env", 'least = "3"\nbuild_env')))
    assert what == Missing(
        "Fake", "no toolchain for Fake: fake: needs version 3 or later, found 2.10.1", "get it from a friend"
    )


def test_a_program_may_need_more(write: Write, tmp_path: Path) -> None:
    """A program's own least version concerns only that program. A toolchain that can do all programs comes first."""
    needs = ('variant = "tuned"', 'least = "2.20"')
    threads, fibres = (program(write, needs, name=name) for name in ("fake-threads", "fake-fibres"))
    assert isinstance(drivers.detect(threads), Toolchain)
    missing = drivers.detect(fibres)
    assert isinstance(missing, Missing)
    place = tmp_path / "tools/interpret"
    assert missing.reason == f"Fake fibres needs version 2.20 or later, found Fake 2.10.1 at {place}"

    # Found first, but the other can do both.
    script(tmp_path / "tools/a/interpret", 'echo "fake 2.2"')
    script(tmp_path / "tools/b/interpret", 'echo "fake 2.30"')
    drivers.forget()
    for each in (threads, fibres):
        toolchain = drivers.detect(each)
        assert isinstance(toolchain, Toolchain)
        assert toolchain.version == "2.30"


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ("exit 145", "interpret --version ended with exit code 145"),
        ("echo nonsense", "interpret --version does not match the pattern in language.toml"),
    ],
)
def test_a_tool_that_does_not_work(write: Write, tmp_path: Path, body: str, complaint: str) -> None:
    """A toolchain with a broken tool is missing. The reason has the error of the tool."""
    wanted = program(write)
    script(tmp_path / "tools/interpret", body)
    missing = drivers.detect(wanted)
    assert isinstance(missing, Missing)
    assert complaint in missing.reason


def test_a_tool_that_is_not_found(write: Write, tmp_path: Path) -> None:
    """The reason names a tool that is not found."""
    wanted = program(write)
    (tmp_path / "tools/interpret").unlink()
    assert drivers.detect(wanted) == Missing(
        "Fake", "no toolchain for Fake: fake: tool not found", "get it from a friend"
    )


def test_pins_are_in_the_label(write: Write, tmp_path: Path) -> None:
    """The version of a pinned library is read from its file and shown in the label."""
    folder = write(
        ('file = "threads.fake"', 'file = "threads.fake"\npins = [{name="lib", file="lock", pattern="v(.+)"}]')
    )
    (tmp_path / "programs/fake/lock").write_text("lib = v1.2.3\n")
    toolchain = drivers.detect(drivers.load_programs([folder])["fake-threads"])
    assert isinstance(toolchain, Toolchain)
    assert toolchain.label == "Fake 2.10.1, lib 1.2.3"


def test_the_command(write: Write, tmp_path: Path, cache: Path) -> None:
    """A command has the flags for its number of tasks at the manifest's place, and ends with N and the sleep."""
    ready = prepared(write)
    interpret = str(tmp_path / "tools/interpret")
    (built,) = cache.glob("programs/*/out")
    assert ready.command(10, 1.5) == (interpret, str(built), "10", "1.5")
    assert ready.command(11, 10.0) == (interpret, "--some", str(built), "11", "10")
    assert ready.command(101, 0) == (interpret, "--more", "2", str(built), "101", "0")
    assert [ready.flags(n) for n in (10, 11, 100, 101)] == [(), ("--some",), ("--some",), ("--more", "2")]


def test_a_workload_is_a_program_of_its_own(write: Write, tmp_path: Path, cache: Path) -> None:
    """Each workload is built once, from its own source, with its own name and the flags of its program."""
    wanted = program(write)
    toolchain = drivers.detect(wanted)
    assert isinstance(toolchain, Toolchain)
    for _ in range(2):
        sleep, spawn = (drivers.prepare(wanted, toolchain, workload) for workload in ("sleep", "spawn"))
    assert (sleep.workload, spawn.workload) == ("sleep", "spawn")
    assert len((tmp_path / "tools/count").read_text().split()) == 2
    (built,) = cache.glob("programs/fake-threads-spawn-*/out")
    assert built.read_text() == "source of spawn.fake\nof fake-threads-spawn\n"
    assert spawn.command(11, 1) == (str(tmp_path / "tools/interpret"), "--some", str(built), "11", "1")
    assert sleep.command(11, 1)[2] != str(built)


def test_a_workload_that_a_program_does_not_have(write: Write) -> None:
    """The error lists the workloads of the program."""
    wanted = program(write)
    toolchain = drivers.detect(wanted)
    assert isinstance(toolchain, Toolchain)
    with pytest.raises(InvalidRequest, match=r"fake-threads has no workload 'channel'; it has 'sleep', 'spawn'$"):
        drivers.prepare(wanted, toolchain, "channel")


def test_the_environment_is_fixed(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a run has no variable of the caller."""
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-Xmx1g")
    assert prepared(write).env == {"LANG": "C.UTF-8", "FAKE_HOME": str(tmp_path / "tools")}


def test_built_once(write: Write, tmp_path: Path, cache: Path) -> None:
    """A second prepare builds nothing. A changed source, manifest or version builds again. Sources do not change."""
    count = tmp_path / "tools/count"
    before = sorted(path for path in (tmp_path / "programs").rglob("*"))
    prepared(write)
    prepared(write)
    assert len(count.read_text().split()) == 1
    (built,) = cache.glob("programs/*/out")
    assert built.read_text() == "source of threads.fake\nof fake-threads\n"

    (tmp_path / "programs/fake/threads.fake").write_text("changed\n")
    prepared(write)
    assert len(count.read_text().split()) == 2
    script(tmp_path / "tools/interpret", 'echo "fake 2.11"')
    prepared(write)
    assert len(count.read_text().split()) == 3
    prepared(write, ("of {program}", "of the {program}"))
    assert len(count.read_text().split()) == 4
    assert sorted(path for path in (tmp_path / "programs").rglob("*") if path.name != "language.toml") == before


def test_a_build_that_fails(write: Write, tmp_path: Path, cache: Path) -> None:
    """A build that fails raises an error with the compiler's last lines, and leaves nothing in the cache."""
    wanted = program(write)
    script(tmp_path / "tools/compile", "seq 100; echo threads.fake:1: no such word >&2; exit 1")
    toolchain = drivers.detect(wanted)
    assert isinstance(toolchain, Toolchain)
    with pytest.raises(BuildError, match=r"cannot build fake-threads with fake: (?s:.*)threads.fake:1: no such word$"):
        drivers.prepare(wanted, toolchain)
    assert list(cache.glob("programs/*")) == list(cache.glob("programs/.*")) == []


def test_many_build_at_once(write: Write, tmp_path: Path, cache: Path) -> None:
    """One of several concurrent builds compiles; the others use its result."""
    wanted = program(write)
    compiled = tmp_path / "compiled"
    script(tmp_path / "tools/compile", f'echo once >> {compiled}; sleep 0.2; cat "$1" > "$2"')
    toolchain = drivers.detect(wanted)
    assert isinstance(toolchain, Toolchain)
    made: list[Prepared] = []
    threads = [threading.Thread(target=lambda: made.append(drivers.prepare(wanted, toolchain))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 8
    assert len({ready.command(1, 1) for ready in made}) == 1
    assert len(list((cache / "programs").iterdir())) == 1
    assert compiled.read_text() == "once\n"


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"CONCMEM_CACHE": "{}/a", "XDG_CACHE_HOME": "{}/b", "HOME": "{}/c"}, "{}/a"),
        ({"XDG_CACHE_HOME": "{}/b", "HOME": "{}/c"}, "{}/b/concmem"),
        ({"HOME": "{}/c"}, "{}/c/.cache/concmem"),
    ],
)
def test_where_the_cache_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env: dict[str, str], expected: str
) -> None:
    """The environment sets the cache directory, the most specific variable first."""
    for name in ("CONCMEM_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in env.items():
        monkeypatch.setenv(name, value.format(tmp_path))
    assert cache_dir() == Path(expected.format(tmp_path))


def test_a_user_without_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a home directory, the cache is a private folder among the temporary files."""
    for name in ("CONCMEM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_dir().parent == tmp_path
    assert cache_dir().stat().st_mode & 0o777 == 0o700


def test_a_cache_that_cannot_be_created(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the cache directory cannot be created, the error names the variable to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CONCMEM_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(
        CacheError, match=r"create the cache directory .*file/cache \(Not a directory\); set CONCMEM_CACHE"
    ):
        cache_dir()


def test_the_locked_crates_are_old_enough() -> None:
    """The lock file has a format that Rust 1.63 reads, and the runtimes that the manifests pin."""
    folder = drivers.load_programs()["rust-tokio"].folder
    lock = (folder / "Cargo.lock").read_text()
    assert re.search(r"^version = 3$", lock, re.MULTILINE)
    assert 'name = "tokio"\nversion = "1.38.1"' in lock
    assert 'name = "async-std"\nversion = "1.13.2"' in lock


def test_a_wrapper_is_replaced_by_the_program_that_it_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If look finds a script that starts Python, the interpreter itself is run."""
    wanted = drivers.load_programs()["python"]
    plain = drivers.detect(wanted)
    assert isinstance(plain, Toolchain)
    script(tmp_path / "shim", f'exec {plain.path} "$@"')
    monkeypatch.setenv("CONCMEM_PYTHON", str(tmp_path / "shim"))
    drivers.forget()
    seen = drivers.detect(wanted)
    drivers.forget()
    assert isinstance(seen, Toolchain)
    ready = drivers.prepare(wanted, seen)
    command = ready.command(1, 0)
    assert command[0] == plain.path
    assert subprocess.run(command, env=ready.env, capture_output=True, text=True).stdout == "started 1\ndone 1\n"
