"""Root does not execute files from a cache that another user owns or can write."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from concmem.drivers import cache as _cache
from concmem.drivers import detection as _detection
from concmem.drivers.cache import CacheError, cache_dir, cache_note, home_for_tools, publish
from concmem.drivers.outside_programs import run_tool

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make files of another user")

OTHER = 12345


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set root's own cache directory for a test, and unset the variables that name one."""
    path = tmp_path / "root/.cache/concmem"
    monkeypatch.setattr(_cache, "_own_path", lambda: path)
    for name in ("CONCMEM_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    os.chown(path, OTHER, OTHER)
    return path


def test_with_another_users_home_root_uses_its_own(home: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As under sudo, root uses its own cache, prints that, and writes nothing into the other home."""
    monkeypatch.setenv("HOME", str(home))
    assert cache_dir() == own and own.is_dir()
    assert list(home.iterdir()) == []
    assert cache_note() == (
        f"root uses the cache directory {own} instead of {home}/.cache/concmem: {home} belongs to user {OTHER}"
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
    assert cache_dir() == own and list(home.iterdir()) == []


def test_no_note_if_root_owns_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If root owns each part of the path, the environment sets the cache directory."""
    monkeypatch.setenv("HOME", str(tmp_path / "mine"))
    assert cache_dir() == tmp_path / "mine/.cache/concmem" and cache_note() == ""


def test_a_named_cache_of_another_user_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CONCMEM_CACHE is not replaced silently: the error names the folder and what to do."""
    monkeypatch.setenv("CONCMEM_CACHE", str(home / "cache"))
    with pytest.raises(CacheError, match=rf"{home} belongs to user {OTHER}; set CONCMEM_CACHE to a folder that only"):
        cache_dir()
    assert list(home.iterdir()) == [] and cache_note() == ""


@pytest.mark.parametrize(("mode", "safe"), [(0o777, False), (0o1777, True), (0o775, True), (0o755, True)])
def test_a_parent_that_others_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, safe: bool) -> None:
    """A parent that others can write is refused, unless it is sticky or only root's group can write it."""
    parent = tmp_path / "shared"
    parent.mkdir()
    parent.chmod(mode)
    monkeypatch.setenv("CONCMEM_CACHE", str(parent / "a/cache"))
    if safe:
        assert cache_dir() == parent / "a/cache"
    else:
        with pytest.raises(CacheError, match=f"{parent} can be written by other users"):
            cache_dir()
        assert list(parent.iterdir()) == []


def test_the_cache_itself_may_not_be_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a sticky folder another user could create the files first that root would execute."""
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setenv("CONCMEM_CACHE", str(shared))
    with pytest.raises(CacheError, match=f"{shared} can be written by other users"):
        cache_dir()
    shared.chmod(0o775)
    os.chown(shared, 0, OTHER)
    with pytest.raises(CacheError, match=f"{shared} can be written by other users"):
        cache_dir()


def access_list(path: Path, user: int) -> None:
    """Let one more user write a folder: ``setfacl -m u:USER:rwx``."""
    owner, named, group, mask, other, everyone = 1, 2, 4, 16, 32, 0xFFFFFFFF
    entries = ((owner, 7, everyone), (named, 7, user), (group, 5, everyone), (mask, 7, everyone), (other, 5, everyone))
    content = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", content)
    except OSError as error:
        pytest.skip(f"the file system has no access lists: {error}")


def test_an_access_list_lets_others_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of such a folder is 0775, as of one that only root's group can write."""
    shared = tmp_path / "shared"
    shared.mkdir()
    access_list(shared, OTHER)
    assert (shared.stat().st_gid, shared.stat().st_mode & 0o777) == (0, 0o775)
    monkeypatch.setenv("CONCMEM_CACHE", str(shared / "cache"))
    with pytest.raises(CacheError, match=f"{shared} can be written by other users"):
        cache_dir()


def test_nothing_in_the_cache_can_be_written_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the umask is, and whatever rights a compiler gives to the files that it makes."""
    monkeypatch.setenv("CONCMEM_CACHE", str(tmp_path / "new/cache"))

    def make(folder: Path) -> None:
        (folder / "sub").mkdir()
        (folder / "sub/program").touch()
        (folder / "sub/program").chmod(0o777)
        (folder / "link").symlink_to("sub")
        run_tool(["sh", "-c", "mkdir by-tool; touch by-tool/file"], cwd=folder)

    umask = os.umask(0)
    try:
        made = publish(cache_dir() / "programs/one", make)
        assert publish(made, make) == made
    finally:
        os.umask(umask)
    for path in (tmp_path / "new").rglob("*"):
        assert path.is_symlink() or not path.stat().st_mode & 0o022 or path.parent.name == "locks", path
    assert os.access(made / "sub/program", os.X_OK)


def test_tools_do_not_use_another_users_home(home: Path, own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compilers and package managers execute what their settings and caches in HOME name."""
    monkeypatch.setenv("HOME", str(home))
    assert home_for_tools() == {"HOME": str(own)}
    monkeypatch.delenv("HOME")
    monkeypatch.setenv("CONCMEM_CACHE", str(own))
    assert home_for_tools() == {"HOME": str(own)}
    monkeypatch.setenv("HOME", str(own.parent))
    assert home_for_tools() == {}


def test_links_are_followed(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A symbolic link of root is followed and its target is checked. A link of another user is refused."""
    link = tmp_path / "link"
    monkeypatch.setenv("CONCMEM_CACHE", str(link / "cache"))
    link.symlink_to("home")
    with pytest.raises(CacheError, match=f"{home} belongs to user {OTHER}"):
        cache_dir()
    link.unlink()
    (tmp_path / "mine").mkdir()
    link.symlink_to(tmp_path / "mine")
    assert cache_dir() == link / "cache"
    os.chown(link, OTHER, OTHER, follow_symlinks=False)
    with pytest.raises(CacheError, match=f"{link} belongs to user {OTHER}"):
        cache_dir()
    link.unlink()
    link.symlink_to(link)
    with pytest.raises(CacheError, match="in a loop of symbolic links"):
        cache_dir()


def test_files_in_the_cache_must_belong_to_root(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs and packages of another user in the cache are not used."""
    monkeypatch.setenv("HOME", str(tmp_path / "root"))
    foreign = cache_dir() / "packages/python"
    foreign.mkdir(parents=True)
    language = _detection.Language(name="Python", toolchain=(), program=(), folder=Path("programs/python"))
    assert _detection.packages_dir(language) == foreign
    os.chown(foreign, OTHER, OTHER)
    for use in (lambda: _detection.packages_dir(language), lambda: publish(foreign, lambda folder: None)):
        with pytest.raises(CacheError, match=f"{foreign} belongs to user {OTHER}; remove it"):
            use()


def test_an_ordinary_user_is_not_restricted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ordinary user may use a cache directory of any owner."""
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    monkeypatch.setenv("CONCMEM_CACHE", str(home / "cache"))
    assert cache_dir() == home / "cache"
