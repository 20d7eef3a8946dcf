"""Parts of the command line that the golden cases do not reach: places, carets, the starter file, the order of precedence of its options."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from gw.cli.check import compile_problems
from gw.cli.console import excerpt
from gw.cli.locate import CANDIDATES, config_path
from gw.cli.run import _adjusted
from gw.config import check, from_url, load, loads
from gw.errors import GatewayError, Problem


@pytest.mark.parametrize("name", [name for name in CANDIDATES if name.startswith("gw.")])
def test_a_config_here_is_found(name: str, folder: Path) -> None:
    (folder / name).touch()
    assert config_path(None) == Path(name)


def test_a_config_folder_is_found_but_not_any_folder_of_that_name(folder: Path) -> None:
    (folder / "gw").mkdir()
    (folder / "gw" / "main.py").touch()
    with pytest.raises(GatewayError, match="gw init"):
        config_path(None)
    (folder / "gw" / "routes.yaml").touch()
    assert config_path(None) == Path("gw")


@pytest.mark.parametrize(
    ("line", "column", "marked"),
    [
        ("service: usres", 10, "usres"),
        ("a: [x, yy, z]", 8, "yy"),
        ('a: "two words" # note', 4, '"two words"'),
        ("key: value", 1, "key"),
        ('open: "never', 7, '"'),
        ("short", 40, ""),
        ("\tservice: x", 11, "x"),
    ],
)
def test_the_caret_marks_the_word(line: str, column: int, marked: str, folder: Path) -> None:
    (folder / "x.yaml").write_text(line + "\n")
    shown, carets = excerpt(Problem(message="m", file="x.yaml", line=1, column=column))
    start = carets.index("^")
    assert shown[start : start + carets.count("^")] == marked
    assert [char == "\t" for char in shown[:start]] == [char == "\t" for char in carets[:start]]


def test_a_place_that_is_gone_shows_no_line(folder: Path) -> None:
    assert excerpt(Problem(message="m", file="gone.yaml", line=3, column=1)) == []


def starter() -> str:
    return files("gw.cli").joinpath("starter.yaml").read_text()


def test_the_starter_file_has_nothing_to_say_about(folder: Path) -> None:
    loaded = loads(starter())
    assert check(loaded) == []
    assert compile_problems(loaded) == []


def test_what_the_starter_file_leaves_out_is_right_too(folder: Path) -> None:
    text = re.sub(r"    # tls:.*?\n\n", "\n", starter(), flags=re.DOTALL)
    text = text.replace("    endpoints: [127.0.0.1:9001]\n", "")
    text = re.sub(r"^(    +)# ", r"\1", text, flags=re.MULTILINE)
    loaded = loads(text)
    assert loaded.config.services["users"].balance == "least-request"
    assert loaded.config.routes[1].policies
    assert compile_problems(loaded) == []


def test_options_win_over_the_file() -> None:
    config = loads("listeners: [{bind: ':1', backlog: 7}, {bind: ':2'}]").config
    adjusted = _adjusted(config, "127.0.0.1:3", 5)
    assert [listener.bind for listener in adjusted.listeners] == ["127.0.0.1:3"]
    assert adjusted.listeners[0].backlog == 7
    assert adjusted.process.workers == 5
    assert _adjusted(config, None, None) == config


def test_check_ports_names_who_listens_there(folder: Path, gw: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (folder / "gw.yaml").write_text(f"listeners:\n  - bind: 127.0.0.1:{port}\nadmin: null\n")
        assert gw("check").code == 0
        said = gw("check", "--ports")
    assert said.code == 1
    assert said.err.startswith(f"gw.yaml:2:11: error: cannot listen on 127.0.0.1:{port}: the address is in use")
    assert gw("check", "--ports").code == 0


def test_check_shows_problems_of_the_admin_port_too(folder: Path, gw: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
        (folder / "gw.yaml").write_text(f"listeners: [{{bind: 'unix:{folder}/gw.sock'}}]\nadmin: {{bind: '127.0.0.1:{port}'}}\n")
        said = gw("check", "--ports")
    assert f"gw.yaml:2:15: error: cannot listen on 127.0.0.1:{port}" in said.err
    assert not (folder / "gw.sock").exists()


def test_a_url_alone_is_a_whole_config() -> None:
    config = from_url("http://127.0.0.1:9", "127.0.0.1:8")
    assert [route.service for route in config.routes] == ["origin"]


def test_the_schema_is_json_and_the_reference_is_the_page(gw: Callable[..., Any]) -> None:
    assert gw("schema").out.startswith('{\n  "$schema"')
    assert gw("schema", "--reference").out.strip() == (Path(__file__).parents[3] / "docs" / "config.md").read_text().strip()


def test_a_policy_of_ones_own_is_checked(folder: Path, gw: Callable[..., Any]) -> None:
    (folder / "policies").mkdir()
    (folder / "policies" / "mine.py").write_text("1 / 0\n")
    (folder / "gw.yaml").write_text("listeners: [{bind: ':1'}]\nmodules: [policies]\nroutes:\n  - respond: {}\n    policies: [mine]\n")
    said = gw("check")
    assert said.code == 1
    assert "gw.yaml:5:16: error: policy 'mine'" in said.err
    assert "ZeroDivisionError" in said.err
    assert load(folder / "gw.yaml").config.modules == ["policies"]
