"""
Make a virtual environment and install concmem into it. Only Python and a C compiler are required.

On Debian, pip is in python3-venv and Python.h in python3-dev. If they are missing, this script downloads the packages
(``apt-get download``, which every user may run) and unpacks them inside the environment. Nothing is installed on the
system.

    python3 scripts/make_venv.py .venv --extras report,test [--install FILE.whl] [--run COMMAND...]
"""

from __future__ import annotations

import argparse
import glob
import importlib.util
import os
import platform
import runpy
import shutil
import subprocess
import sys

CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"


def fail(sentence: str) -> None:
    sys.exit(f"concmem: {sentence}")


def run(*command: str, **options: object) -> None:
    subprocess.run(command, check=True, **options)  # type: ignore[call-overload]


def debian_package(name: str, folder: str) -> str:
    """Unpack a Debian package into its own folder below `folder`; return that folder."""
    unpacked = os.path.join(folder, name)
    if os.path.isdir(unpacked):
        return unpacked
    downloads = os.path.join(folder, name + ".part")
    shutil.rmtree(downloads, ignore_errors=True)
    os.makedirs(os.path.join(downloads, "lists", "partial"))
    os.makedirs(os.path.join(downloads, "cache", "archives", "partial"))
    # Own package lists, for systems (most containers) that have none.
    private = [f"-oDir::State::Lists={downloads}/lists", f"-oDir::Cache={downloads}/cache", "-oDebug::NoLocking=1"]
    quiet = {"cwd": downloads, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # As root, apt switches to another user, which may not be able to write here.
    download = ["apt-get", "-oAPT::Sandbox::User=root", "download", name]
    if subprocess.run(download, check=False, **quiet).returncode != 0:  # type: ignore[call-overload]
        run("apt-get", *private, "-oAPT::Sandbox::User=root", "update", **quiet)
        run(*download, *private, **quiet)
    run("dpkg", "-x", glob.glob(os.path.join(downloads, "*.deb"))[0], os.path.join(downloads, "unpacked"))
    os.rename(os.path.join(downloads, "unpacked"), unpacked)
    shutil.rmtree(downloads)
    return unpacked


def from_debian(package: str, folder: str, what: str, by_hand: str) -> str:
    """Return the folder with a Debian package's unpacked files, or exit with one sentence that says what to do."""
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        fail(f"{what} is missing: install it ({by_hand}), and try again")
    if not os.path.isdir(os.path.join(folder, package)):
        print(f"concmem: {what} is missing; unpacking it from Debian's {package} without installing that", flush=True)
    try:
        return debian_package(package, folder)
    except (OSError, IndexError, subprocess.CalledProcessError):
        fail(f"{what} is missing and could not be downloaded (no network?): as root, run: apt-get install {by_hand}")
        raise


def make_venv(venv: str) -> None:
    """Make the environment if it does not exist, or if its Python does not exist any more."""
    python = os.path.join(venv, "bin", "python")
    works = [python, "-c", "import pip"]
    if os.path.exists(python) and subprocess.run(works, check=False, capture_output=True).returncode == 0:
        return
    print(f"concmem: making {venv} for Python {platform.python_version()}", flush=True)
    has_pip = importlib.util.find_spec("ensurepip") is not None
    run(sys.executable, "-m", "venv", "--clear", *([] if has_pip else ["--without-pip"]), venv)
    if not has_pip:
        if not os.path.exists(CERTIFICATES):
            fail(f"Debian's pip needs {CERTIFICATES}: as root, run: apt-get install ca-certificates")
        files = from_debian("python3-pip-whl", os.path.join(venv, "debian"), "pip", "python3-venv")
        wheel = glob.glob(os.path.join(files, "usr/share/python-wheels/pip-*.whl"))[0]
        run(python, os.path.join(wheel, "pip"), "install", "--quiet", "--no-index", wheel)


def build_environment(venv: str) -> dict[str, str]:
    """Return the environment variables for compiling, with the path of Python.h if it had to be unpacked."""
    environment = dict(os.environ)
    checks = runpy.run_path(os.path.join(os.path.dirname(os.path.abspath(__file__)), "compiler_check.py"))
    absent = checks["missing"](environment)
    if others := tuple(what for what in absent if what != checks["PYTHON_H"]):
        fail(checks["sentence"](others))
    if absent:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        package = f"libpython{version}-dev"
        files = from_debian(package, os.path.join(venv, "debian"), "Python.h", checks["debian_package"](*absent))
        include = os.path.join(files, "usr/include")
        paths = [include, os.path.join(include, f"python{version}"), os.environ.get("C_INCLUDE_PATH", "")]
        environment["C_INCLUDE_PATH"] = ":".join(filter(None, paths))
    return environment


def main() -> None:
    """Make the environment, and install concmem with its extras."""
    parser = argparse.ArgumentParser(description="Make a virtual environment with concmem in it.")
    parser.add_argument("venv")
    parser.add_argument("--extras", default="", help="Install these extras of concmem, separated by commas.")
    parser.add_argument(
        "--install", default=".", help="Install a wheel or a package (default: this checkout, editable)."
    )
    parser.add_argument("--run", nargs=argparse.REMAINDER, help="Run a command in which concmem can be compiled.")
    options = parser.parse_args()
    if sys.version_info < (3, 10):
        fail(f"Python 3.10 or later is required, not {platform.python_version()}: use make ... PYTHON=python3.12")
    venv = os.path.abspath(options.venv)
    is_path = options.install == "." or os.sep in options.install
    what = os.path.abspath(options.install) if is_path else options.install
    editable = ["--editable"] if os.path.isdir(what) else []
    extras = f"[{options.extras}]" if options.extras else ""
    try:
        make_venv(venv)
        environment = build_environment(venv) if editable or options.run else dict(os.environ)
        environment["PATH"] = os.path.join(venv, "bin") + os.pathsep + environment.get("PATH", os.defpath)
        print(f"concmem: installing {options.install}{extras} and its dependencies", flush=True)
        run("python", "-m", "pip", "install", "--quiet", *editable, what + extras, env=environment)
        if options.run:
            run(*options.run, env=environment)
    except subprocess.CalledProcessError as error:
        fail(f"command failed: {' '.join(error.cmd)}")


if __name__ == "__main__":
    main()
