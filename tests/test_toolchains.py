from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from concmem.cli import _install as _install_command
from concmem.cli.toolchains import toolchains as command
from concmem.drivers import apt as _apt
from concmem.drivers import install as _install
from concmem.drivers import programs as drivers
from concmem.drivers import toolchains
from concmem.drivers.programs import Missing, Toolchain
from concmem.errors import InvalidRequest

MANIFEST = """
name = "Fake"
hand = "ask a friend"

[[toolchain]]
name = "fake"
label = "Fake {version}"
run = ["{tool}"]

[[toolchain.tool]]
name = "tool"
look = ["fake-interpreter", "{packages}/fake/interpreter", "{packages}/node_modules/fake/interpreter"]
ask = ["{tool}", "--version"]
answer = '(?P<version>[\\d.]+)'

[[toolchain]]
name = "almost fake"
label = "Almost fake {version}"
run = ["{tool}"]
stand_in = true

[[toolchain.tool]]
name = "tool"
look = ["almost-fake"]
ask = ["{tool}", "--version"]
answer = '(?P<version>[\\d.]+)'

WAYS

[[program]]
name = "fake-threads"
title = "Fake threads"
kind = "thread"
file = "language.toml"
"""

PIP = """
[[install]]
pip = ["fake-package"]
executable = ["fake/interpreter"]
"""

NPM = """
[[install]]
npm = ["fake-package"]
"""

APT = """
[[install]]
apt = ["fake-new | fake-deb"]
"""


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


class Fakes:
    """A language that does not exist, with a fake pip and a fake apt that have it."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = tmp_path / "programs"
        self.bin = tmp_path / "bin"
        self.log = tmp_path / "log"
        self._monkeypatch = monkeypatch
        self.log.write_text("")
        self.bin.mkdir()
        # The real apt must be out of reach: only the fake one's folder and the shell's own tools are in PATH.
        tools = tmp_path / "tools"
        tools.mkdir()
        for name in ("sh", "mkdir", "chmod", "cat"):
            (tools / name).symlink_to(f"/bin/{name}")
        monkeypatch.setenv("PATH", f"{self.bin}:{tools}")
        monkeypatch.setenv("CONCMEM_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(_install, "_installer", lambda: [str(self.bin / "pip")])
        monkeypatch.setattr(_apt, "has_lists", lambda: True)
        monkeypatch.setattr(_apt, "_lists_in", lambda folder: True)
        monkeypatch.setattr(_apt, "_LOCKS", ())
        self.apt()
        self.pip('mkdir -p "$3/fake"; echo "#!/bin/sh\necho 7.1" > "$3/fake/interpreter"')
        self.user(0)
        self.language(PIP)

    def language(self, *ways: str) -> None:
        """Write the language, with these ways to install it."""
        (self.folder / "fake").mkdir(parents=True, exist_ok=True)
        (self.folder / "fake/language.toml").write_text(MANIFEST.replace("WAYS", "\n".join(ways)))
        drivers._manifest.read.cache_clear()
        drivers.forget()

    def user(self, uid: int) -> None:
        """Set the effective user ID that the code sees."""
        self._monkeypatch.setattr(os, "geteuid", lambda: uid)

    def pip(self, body: str) -> None:
        """Write the fake pip; its third argument is the target folder."""
        script(self.bin / "pip", f'echo pip "$@" >> {self.log}\n{body}')

    def npm(self) -> None:
        """Write a fake npm that has the package; its third argument is the target folder."""
        body = 'cd "$3"; mkdir -p node_modules/fake; cd node_modules/fake; echo "#!/bin/sh\necho 8.2" > interpreter'
        script(self.bin / "npm", f"{body}; chmod +x interpreter")

    def apt(self, package: str = "fake-deb") -> None:
        """Write a fake apt that has one package, which installs ``fake-interpreter``."""
        interpreter = self.bin / "fake-interpreter"
        script(self.bin / "apt-cache", f'[ "$2" = {package} ] && echo "  Candidate: 1.0" || echo "  Candidate: (none)"')
        script(
            self.bin / "apt-get",
            f'echo apt-get "$@" >> {self.log}\n'
            'case "$*" in update) ;; *--assume-no*) echo "Need to get 50.0 MB/60.1 MB of archives."\n'
            'echo "After this operation, 1,259 kB of additional disk space will be used." ;;\n'
            f'*) echo "#!/bin/sh\necho 5.0" > {interpreter}; chmod +x {interpreter} ;; esac',
        )
        script(self.bin / "dpkg-query", f"[ -e {interpreter} ] && printf 'install ok installed'")

    def install(self) -> tuple[dict[str, Missing], list[str]]:
        """Install, and return what is still missing and the lines that were printed."""
        said: list[str] = []
        return toolchains.install(["fake"], said.append, [self.folder]), said

    def programs(self) -> list[drivers.Program]:
        """Return the language's only program."""
        return [drivers.load_programs([self.folder])["fake-threads"]]

    def found(self) -> Toolchain | Missing:
        """Return the current toolchain."""
        drivers.forget()
        return toolchains.survey([self.folder])["fake-threads"]


@pytest.fixture
def fakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fakes:
    return Fakes(tmp_path, monkeypatch)


def test_packages_are_installed_into_their_own_folder(fakes: Fakes, tmp_path: Path) -> None:
    """A package from PyPI is installed into the language's folder in the cache, executable, and is found there."""
    missing, said = fakes.install()
    assert missing == {}
    place = tmp_path / "cache/packages/fake/fake/interpreter"
    toolchain = fakes.found()
    assert isinstance(toolchain, Toolchain)
    assert (toolchain.path, toolchain.version) == (str(place), "7.1")
    assert len(said) == 1
    assert said[0].startswith(f"{tmp_path}/bin/pip install --target {tmp_path}/cache/packages/")
    assert said[0].endswith(" fake-package")


def test_packages_are_for_this_python(fakes: Fakes) -> None:
    """Any pip or uv gets the interpreter of concmem, so that packages with machine code fit it."""
    fakes.pip(f'mkdir -p "$3/fake"; echo > "$3/fake/interpreter"; echo "$PIP_PYTHON $UV_PYTHON" >> {fakes.log}')
    fakes.install()
    assert fakes.log.read_text().splitlines()[-1] == f"{sys.executable} {sys.executable}"


def test_packages_of_npm_are_installed_there_too(fakes: Fakes, tmp_path: Path) -> None:
    """A package from the npm registry is installed into the same folder's node_modules. Its scripts are not run."""
    fakes.language(NPM)
    fakes.npm()
    missing, said = fakes.install()
    assert missing == {}
    toolchain = fakes.found()
    assert isinstance(toolchain, Toolchain)
    assert toolchain.path == str(tmp_path / "cache/packages/fake/node_modules/fake/interpreter")
    assert len(said) == 1
    assert said[0].startswith(f"npm install --prefix {tmp_path}/cache/packages/")
    assert "--ignore-scripts" in said[0].split()


def test_without_npm(fakes: Fakes) -> None:
    """Without npm, a way that needs it is neither tried nor recommended."""
    fakes.language(NPM)
    missing, said = fakes.install()
    assert said == []
    assert missing["fake-threads"].install == "ask a friend"


def test_an_existing_toolchain_is_not_installed_again(fakes: Fakes) -> None:
    """Nothing is installed if the toolchain exists already."""
    script(fakes.bin / "fake-interpreter", "echo 1.0")
    assert fakes.install() == ({}, [])


def test_the_next_way(fakes: Fakes) -> None:
    """If one way fails, its error is printed and the next is tried. apt's package lists are fetched once, before."""
    fakes.language(PIP, APT)
    fakes.pip("echo no such package; exit 1")
    missing, said = fakes.install()
    assert missing == {}
    assert any(line.startswith("Fake: ") and line.endswith("failed: no such package") for line in said)
    log = fakes.log.read_text().splitlines()
    assert log[1] == "apt-get update"
    assert log[2].split()[:2] == ["apt-get", "-oDPkg::Lock::Timeout=900"]
    assert log[2].endswith(" install -y --no-install-recommends fake-deb")
    assert len(log) == 3
    assert isinstance(fakes.found(), Toolchain)


def test_the_first_of_two_debian_packages_that_exists(fakes: Fakes) -> None:
    """``one | other`` takes the first that apt can install."""
    fakes.language(APT)
    fakes.apt("fake-new")
    assert fakes.install()[0] == {}
    assert fakes.log.read_text().splitlines()[-1].endswith(" fake-new")


def test_a_way_that_is_not_possible(fakes: Fakes) -> None:
    """A way with Debian packages that apt does not have is neither tried nor recommended."""
    fakes.language(APT)
    fakes.apt("something-else")
    missing, said = fakes.install()
    assert said == ["apt-get update"]
    assert missing["fake-threads"].install == "ask a friend"


NEEDS_ROOT = "apt-get update && apt-get install -y --no-install-recommends"


def test_without_root(fakes: Fakes) -> None:
    """An ordinary user gets one command for what needs root. What pip can install is installed."""
    fakes.user(1000)
    fakes.language(APT)
    missing, said = fakes.install()
    assert said == []
    assert fakes.log.read_text() == ""
    # There is no sudo here.
    assert missing["fake-threads"].install == f"su -c '{NEEDS_ROOT} fake-deb'"
    script(fakes.bin / "sudo", "exit 1")
    assert toolchains.command(fakes.programs()) == f"sudo sh -c '{NEEDS_ROOT} fake-deb'"

    fakes.language(APT, PIP)
    missing, said = fakes.install()
    assert missing == {}
    assert len(said) == 1
    assert "pip install" in said[0]


def test_both_are_needed(fakes: Fakes) -> None:
    """If a way needs pip and apt, one command does both: apt as root, pip as the user."""
    fakes.user(1000)
    script(fakes.bin / "sudo", "exit 1")
    fakes.language('[[install]]\npip = ["fake-package"]\napt = ["fake-deb"]')
    missing, _ = fakes.install()
    ours = f"{_install.own_command()} toolchains install fake"
    assert missing["fake-threads"].install == f"sudo sh -c '{NEEDS_ROOT} fake-deb' && {ours}"


def test_the_command_works(fakes: Fakes) -> None:
    """The command that is printed for an ordinary user installs everything, with a fake sudo."""
    fakes.user(1000)
    script(fakes.bin / "sudo", 'exec "$@"')
    fakes.language(APT)
    missing, _ = fakes.install()
    assert os.system(missing["fake-threads"].install) == 0
    assert isinstance(fakes.found(), Toolchain)


def test_what_is_missing_is_listed_once(fakes: Fakes) -> None:
    """Several languages that need root give one list, and one command with the packages of all."""
    fakes.user(1000)
    fakes.language(APT)
    other = fakes.folder / "other"
    other.mkdir()
    text = (fakes.folder / "fake/language.toml").read_text().replace("Fake", "Other")
    text = text.replace("fake-new | fake-deb", "fake-deb").replace("fake-threads", "other-threads")
    (other / "language.toml").write_text(text.replace("[[install]]", '[[install]]\npip = ["other"]'))
    fakes.language(APT)
    failed = CliRunner().invoke(command, ["install", "fake", "other", "--programs-dir", str(fakes.folder)])
    assert failed.exit_code == 1
    lines = failed.stderr.splitlines()
    assert [line for line in lines if "fake-threads" in line] == [
        "concmem: missing for fake-threads: no toolchain for Fake: fake: tool not found; almost fake: tool not found"
    ]
    ours = f"{_install.own_command()} toolchains install other"
    assert lines[-1] == f"concmem: to install what is missing: su -c '{NEEDS_ROOT} fake-deb' && {ours}"
    assert failed.stderr.count("apt-get install") == 1


def test_another_apt_is_waited_for(fakes: Fakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While another process holds a lock of apt, nothing is installed. The process is named once."""
    lock = tmp_path / "lock"
    lock.touch()
    monkeypatch.setattr(_apt, "_LOCKS", (str(lock),))
    holds = "import fcntl, sys; f = open(sys.argv[1], 'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    argv = [sys.executable, "-c", holds, str(lock)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None and holder.stdin is not None
        holder.stdout.readline()
        fakes.language(APT)
        said: list[str] = []

        def say(line: str) -> None:
            said.append(line)
            if line.startswith("waiting"):
                assert "apt-get" not in fakes.log.read_text()
                holder.communicate(b"\n")

        assert toolchains.install(["fake"], say, [fakes.folder]) == {}
    waited = [line for line in said if line.startswith("waiting")]
    assert waited == [f"waiting for another apt: process {holder.pid} holds {lock}"]


def test_the_packages_are_listed_first(fakes: Fakes) -> None:
    """The plan has packages, sizes and time before anything is installed. Sizes of Debian packages are from apt."""
    fakes.language(APT)
    plan = toolchains.plan(fakes.programs())
    assert plan.here == {"Fake": "Debian: fake-deb"}
    assert (plan.download_bytes, plan.disk_bytes, plan.command) == (50_000_000, 1_259_000, "")
    assert 10 < plan.seconds < 60
    assert not isinstance(fakes.found(), Toolchain)
    fakes.language(PIP.replace("executable", 'download = "3MB"\ndisk = "7MB"\nexecutable'))
    plan = toolchains.plan(fakes.programs())
    assert (plan.here, plan.download_bytes, plan.disk_bytes) == ({"Fake": "PyPI: fake-package"}, 3_000_000, 7_000_000)
    fakes.user(1000)
    fakes.language(APT)
    plan = toolchains.plan(fakes.programs())
    assert (plan.here, plan.needs_root) == ({}, {"Fake": "Debian: fake-deb"})
    assert plan.command == f"su -c '{NEEDS_ROOT} fake-deb'"


@pytest.mark.parametrize("answer", ["n", "y", None], ids=["no", "yes", "no terminal"])
def test_the_question(fakes: Fakes, monkeypatch: pytest.MonkeyPatch, answer: str | None) -> None:
    """On a terminal nothing is installed without a yes. Without a terminal there is no question."""
    monkeypatch.setattr(_install_command, "_on_terminal", lambda: answer is not None)
    arguments = ["install", "fake", "--ask", "--programs-dir", str(fakes.folder)]
    done = CliRunner().invoke(command, arguments, input=f"{answer}\n")
    assert ("Install?" in done.stderr) == (answer is not None)
    assert done.stderr.index("Fake: PyPI: fake-package") < done.stderr.index(" to download, ")
    assert done.exit_code == (1 if answer == "n" else 0)
    assert isinstance(fakes.found(), Toolchain) == (answer != "n")


def test_a_long_step_shows_progress(fakes: Fakes) -> None:
    """While an installer runs, its last line is reported, with apt's status in per cent."""
    lines: list[str] = []
    fakes.language(APT)
    fakes.apt()
    body = (fakes.bin / "apt-get").read_text().replace("#!/bin/sh\n", '#!/bin/sh\n[ "$1" = update ] || {\n', 1)
    status = "echo pmstatus:fake-deb:40.2:Unpacking fake-deb; echo; /bin/sleep 3; }\n"
    script(fakes.bin / "apt-get", body.removeprefix("#!/bin/sh\n").replace("{\n", "{\n" + status, 1))
    toolchains.install(["fake"], lambda line: None, [fakes.folder], lambda elapsed_s, line: lines.append(line))
    assert "40 % Unpacking fake-deb" in lines


def test_a_stand_in_is_used_until_the_real_toolchain_is_installed(fakes: Fakes) -> None:
    """A stand-in runs the programs. Installing still tries to get the real one, and succeeds without it."""
    script(fakes.bin / "almost-fake", "echo 0.9")
    before = fakes.found()
    assert isinstance(before, Toolchain)
    assert (before.name, before.stand_in) == ("almost fake", True)
    fakes.pip("exit 1")
    missing, said = fakes.install()
    assert missing == {}
    assert len(said) == 2
    fakes.pip('mkdir -p "$3/fake"; echo "#!/bin/sh\necho 7.1" > "$3/fake/interpreter"')
    assert fakes.install()[0] == {}
    after = fakes.found()
    assert isinstance(after, Toolchain)
    assert (after.name, after.stand_in) == ("fake", False)


def test_a_failed_installation_leaves_nothing(fakes: Fakes, tmp_path: Path) -> None:
    """A package that cannot be installed leaves no files in the cache."""
    fakes.pip('mkdir -p "$3/fake"; echo half > "$3/fake/interpreter"; echo disk full; exit 1')
    missing, said = fakes.install()
    assert list(missing) == ["fake-threads"]
    assert said[-1].endswith("failed: disk full")
    assert list((tmp_path / "cache/packages").iterdir()) == []


def test_languages_by_any_name() -> None:
    """A language is selected by its name, its folder or a program, in any case. Other names are refused."""
    programs = drivers.load_programs()

    def asked(*languages: str) -> list[str]:
        return list(toolchains._asked(languages, programs))

    java = [name for name, program in programs.items() if program.language == "Java"]
    for name in ("java", "Java", "JAVA"):
        assert asked(name) == java
    assert {"java-threads", "java-virtual-threads"} <= set(java)
    assert asked("java-threads") == ["java-threads"]
    assert {"csharp", "csharp-nativeaot"} <= set(asked("c#"))
    assert "csharp-nativeaot" not in asked("CSharp")
    assert asked("csharp-nativeaot") == ["csharp-nativeaot"]
    with pytest.raises(InvalidRequest, match="there is no language 'cobol'; there are rust, go, java, "):
        toolchains._asked(["go", "cobol"], programs)


def test_what_is_installed_by_default(fakes: Fakes) -> None:
    """Without a name, the article's ten and programs of other folders are selected; ``all`` selects everything."""
    programs = drivers.load_programs([fakes.folder])
    selected = toolchains._asked([], programs)
    assert "fake-threads" in selected
    assert len(selected) == 11
    assert {program.variant for program in selected.values()} == {"article"}
    assert "zig-threads" not in selected
    assert toolchains._asked(["all"], programs) == programs


def test_the_table(fakes: Fakes) -> None:
    """The command prints one row per toolchain; below, its path, or why it is missing and how to install it."""
    printed = CliRunner().invoke(command, ["--programs-dir", str(fakes.folder)])
    assert printed.exit_code == 0
    lines = printed.output.splitlines()
    assert next(line for line in lines if line.startswith("Fake")).split() == ["Fake", "fake-threads", "missing"]
    assert lines[lines.index("missing for fake-threads") + 1 :] == [
        "no toolchain for Fake: fake: tool not found; almost fake: tool not found",
        "to install it:",
        f"{_install.own_command()} toolchains install fake",
    ]
    python = [line.split() for line in lines if line.startswith("Python")]
    assert ["Python", "python", "CPython", sys.version.split()[0].rstrip("+")] in python
    assert ["Python", str(Path(sys.executable).resolve())] in python


@pytest.mark.parametrize("columns", ["80", "120", None], ids=["80", "120", "piped"])
def test_paths_and_commands_are_not_wrapped(fakes: Fakes, monkeypatch: pytest.MonkeyPatch, columns: str | None) -> None:
    """A path or a command is in one line, of any length and on any terminal. Sentences are wrapped."""
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
        monkeypatch.setenv("FORCE_COLOR", "1")  # rich then assumes a terminal
    long = f"sudo apt-get install {' '.join(f'fake-deb-{number}' for number in range(20))}"
    fakes.language()
    manifest = fakes.folder / "fake/language.toml"
    manifest.write_text(manifest.read_text().replace("ask a friend", long))
    deep = fakes.folder.parent / ("deep" * 40)
    script(deep / "fake-interpreter", "echo unknown")
    monkeypatch.setenv("PATH", str(deep), prepend=":")
    printed = CliRunner().invoke(command, ["--programs-dir", str(fakes.folder)])
    assert printed.exit_code == 0
    lines = _plain(printed.output).splitlines()
    assert lines[-1] == long
    assert lines[-2] == "to install it:"
    reason = lines[lines.index("missing for fake-threads") + 1 : -2]
    assert any(f"{deep}/fake-interpreter" in line.split() for line in reason)
    assert (len(reason) > 1) == (columns is not None)

    script(deep / "fake-interpreter", "echo 1.0")
    drivers.forget()
    lines = _plain(CliRunner().invoke(command, ["--programs-dir", str(fakes.folder)]).output).splitlines()
    assert ["Fake", f"{deep}/fake-interpreter"] in [line.split() for line in lines]


def _plain(text: str) -> str:
    return re.sub(r"\x1b\[[\d;]*m", "", text)


def test_without_apt_every_language_has_a_hint(fakes: Fakes) -> None:
    """On a system other than Debian, each missing language has one line with how to install it."""
    (fakes.bin / "apt-get").unlink()
    drivers.forget()
    for folder in {program.folder for program in drivers.load_programs().values()}:
        language = drivers._manifest.read(folder / "language.toml")
        what = _install.command(language)
        by_pip = any(way.pip and not way.apt for way in language.install)
        assert what.endswith(f"toolchains install {folder.name}") if by_pip else "https://" in what
        assert "\n" not in what and len(what) <= 80


def test_the_exit_code(fakes: Fakes) -> None:
    """``install`` exits with 0 if all programs can then be run, else with 1 and a line for each that cannot."""
    arguments = ["install", "fake", "--programs-dir", str(fakes.folder)]
    assert CliRunner().invoke(command, arguments).exit_code == 0
    fakes.language()
    shutil.rmtree(fakes.folder.parent / "cache/packages")
    failed = CliRunner().invoke(command, arguments)
    assert failed.exit_code == 1
    reason = "no toolchain for Fake: fake: tool not found; almost fake: tool not found"
    assert failed.stderr == f"concmem: missing for fake-threads: {reason} (ask a friend)\n"
