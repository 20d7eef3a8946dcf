"""Each module imports alone in a fresh interpreter: no import cycle hides behind the order in which others came first."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def modules() -> list[str]:
    """Every module of gw by dotted name, compiled ones included."""
    files = [*(ROOT / "gw").rglob("*.py"), *(ROOT / "gw").rglob("*.pyx")]
    names = {".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files}
    return sorted(names - {"gw.__main__"})


def import_alone(name: str) -> str:
    """Empty, or what the interpreter said."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", f"import {name}"], capture_output=True, text=True, cwd=ROOT, check=False)
    return "" if done.returncode == 0 else f"{name}:\n{done.stderr}"


@pytest.mark.timeout(240)
def test_every_module_imports_alone() -> None:
    with ThreadPoolExecutor(2) as pool:
        failed = [said for said in pool.map(import_alone, modules()) if said]
    assert not failed, "\n".join(failed)


def test_importing_gw_loads_nothing_else() -> None:
    code = "import sys, gw; print([name for name in sys.modules if name.startswith('gw.')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip() == "[]"
