"""What is built: a wheel and an sdist with what belongs in them, and one clear sentence when something is missing."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def setup_py(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "setup.py", "-q", *arguments], capture_output=True, text=True, cwd=cwd, env={**os.environ, **environ}, check=False)


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_missing_compiler_is_one_sentence() -> None:
    done = setup_py("build_ext", "--inplace", CC="/nonexistent/cc")
    assert last_line(done) == "gw: no C compiler '/nonexistent/cc' found. Install one (Debian: apt-get install gcc libc6-dev) or set CC."


@pytest.mark.parametrize(("header", "package"), [("Python.h", "python3-dev"), ("openssl/ssl.h", "libssl-dev")])
def test_a_missing_header_is_one_sentence(header: str, package: str, tmp_path: Path) -> None:
    compiler = tmp_path / "cc"
    compiler.write_text(f"#!/bin/sh\nfor source; do :; done\n! grep -q '{header}' \"$source\" 2>/dev/null\n")
    compiler.chmod(0o755)
    line = last_line(setup_py("build_ext", "--inplace", CC=str(compiler)))
    assert line.startswith(f"gw: {header} not found.")
    assert package in line


def test_an_unknown_build_mode_is_one_sentence() -> None:
    assert last_line(setup_py("build_ext", GW_BUILD="fastest")) == "gw: GW_BUILD=fastest is not a build mode; expected one of release, debug, trace, asan."


def test_ci_finds_missing_packages_and_says_so(tmp_path: Path) -> None:
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin", "PYTHON": sys.executable, "CC": "/nonexistent/cc"}
    (tmp_path / "id").write_text("#!/bin/sh\necho 1000\n")
    (tmp_path / "id").chmod(0o755)
    done = subprocess.run([ROOT / ".ci" / "packages", "build"], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("gw: missing: gcc")
    assert "sudo apt-get install gcc" in done.stderr


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Wheel and sdist, made from a copy of the tree with the packages of this environment."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("dist")
    paths = ["gw", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "CHANGELOG.md"]
    files = subprocess.run(["git", "ls-files", "-z", *paths], capture_output=True, cwd=ROOT, check=True).stdout
    archive = subprocess.run(["tar", "-c", "--null", "-T", "-"], input=files, capture_output=True, cwd=ROOT, check=True).stdout
    subprocess.run(["tar", "-x"], input=archive, cwd=tree, check=True)
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {"wheel": next(out.glob("*.whl")), "sdist": next(out.glob("*.tar.gz"))}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_sdist_holds_the_sources(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {str(file.relative_to(ROOT)) for ending in ("py", "pyx", "pxd", "pyi", "yaml") for file in (ROOT / "gw").rglob(f"*.{ending}")}
    tracked = set(subprocess.run(["git", "ls-files", "gw"], capture_output=True, text=True, cwd=ROOT, check=True).stdout.split())
    assert not (wanted & tracked) - names
    assert {"setup.py", "pyproject.toml", "LICENSE", "README.md", "gw/py.typed"} <= names
    assert not [name for name in names if name.endswith((".c", ".so"))]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_holds_compiled_modules_and_no_c(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as archive:
        names = archive.namelist()
    stems = {file.stem for file in (ROOT / "gw" / "_fast").glob("*.pyx")}
    assert stems <= {name.removeprefix("gw/_fast/").split(".")[0] for name in names if name.endswith(".so")}
    assert not [name for name in names if name.endswith((".c", ".html"))]
    assert {"gw/py.typed", "gw/cli/starter.yaml"} <= set(names)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_wheel_runs_in_a_fresh_environment(built: dict[str, Path], tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    def run(*command: str | Path) -> str:
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environ, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    run(python, "-m", "pip", "install", "-q", built["wheel"])
    gw = tmp_path / "venv" / "bin" / "gw"
    assert run(gw, "--version").startswith("gw ")
    run(gw, "init")
    assert "gw.yaml is good" in run(gw, "check")
