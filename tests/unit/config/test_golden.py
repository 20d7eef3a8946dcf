"""Golden cases: files, a line of dashes, then what loading them says or gives.

`==> name <==` begins a file (gw.yaml without), `==> environment <==` holds NAME=value lines. A path with a folder loads that folder. What is
expected is the text of all errors, or of all warnings, or a part of the resolved config as JSON, or `ok`. GW_GOLDEN=write writes it anew.
"""

import json
import os
import re
from pathlib import Path

import msgspec
import pytest

from gw.config import check, decode, encode, load
from gw.config.model import plain
from gw.errors import ConfigError

FOLDER = Path(__file__).parents[2] / "golden" / "config"
SEPARATOR = "----------\n"


def unpack(text, folder):
    """Write the files of a case; return what to load and the environment."""
    parts = re.split(r"^==> (.+) <==\n", text, flags=re.MULTILINE)
    files = dict(zip(parts[1::2], parts[2::2], strict=True)) or {"gw.yaml": text}
    environ = dict(line.split("=", 1) for line in files.pop("environment", "").splitlines())
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content)
    first = Path(next(iter(files)))
    return (first.parent if len(first.parts) > 1 else first), environ


def outcome(target, environ, expected):
    try:
        loaded = load(target, environ)
    except ConfigError as error:
        return f"{error}\n"
    assert decode(encode(loaded.config)) == loaded.config
    warnings = check(loaded)
    if warnings:
        return "".join(f"{warning}\n" for warning in warnings)
    return part(json.loads(msgspec.json.encode(loaded.config, enc_hook=plain)), expected)


def part(resolved, expected):
    """The keys of the config that the case asks for, in its own layout if they agree."""
    if not expected.startswith("{"):
        return "ok\n"
    wanted = json.loads(expected)
    found = select(resolved, wanted)
    return expected if found == wanted else json.dumps(found, indent=2) + "\n"


def select(value, like):
    if isinstance(like, dict) and isinstance(value, dict):
        return {key: select(value[key], like[key]) for key in like}
    if isinstance(like, list) and isinstance(value, list) and like:
        return [select(each, like[min(index, len(like) - 1)]) for index, each in enumerate(value)]
    return value


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.case")), ids=lambda path: path.stem)
def test_case(path, tmp_path, monkeypatch):
    text, _, expected = path.read_text().partition(SEPARATOR)
    monkeypatch.chdir(tmp_path)
    target, environ = unpack(text, tmp_path)
    found = outcome(target, environ, expected)
    if os.environ.get("GW_GOLDEN") == "write":
        path.write_text(text + SEPARATOR + found)
    assert found == expected


def test_there_are_cases():
    assert len(list(FOLDER.glob("*.case"))) >= 60
