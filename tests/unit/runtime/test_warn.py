"""Orders of policies that cannot mean what was intended, and routes that nothing guards."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw._fast.shm import Segment
from gw.config import Loaded, load
from gw.errors import ConfigError
from gw.runtime import compile_snapshot, warnings
from tests.certs import make_ca, make_cert

MODULE = """
from msgspec import Struct

from gw.policy import Hooks, Tools

{said}


class Config(Struct):
    by: str = "route"


def build(config: Config, tools: Tools) -> Hooks:
    return Hooks()
"""
MODULES = {
    "token": 'KIND = "authentication"',
    "key": 'KIND = "authentication"',
    "anonymous": 'KIND = "authentication"',
    "rate": 'KIND = "limit"\n\n\ndef NEEDS(config):\n    return "identity" if config.by == "consumer" else None',
    "mock": 'KIND = "shaping"\nENDS = True',
    "plain": "",
}
TEXT = """\
listeners: [{{bind: '127.0.0.1:1'}}]
modules: [policies]
policies: {gateway}
{more}
routes:
  - path: /
    respond: {{}}
    policies: {policies}
  - path: /b
    respond: {{}}
"""
BEHIND = "8: '{}' looks at who calls, but 'token' at gw.yaml:8 behind it finds that out"
ACL = "acl: {deny: {groups: [x]}}"


def loaded(folder: Path, policies: str, gateway: str = "[]", more: str = "") -> Loaded:
    (folder / "policies").mkdir()
    for name, said in MODULES.items():
        (folder / "policies" / f"{name}.py").write_text(MODULE.format(said=said))
    file = folder / "gw.yaml"
    file.write_text(TEXT.format(gateway=gateway, more=more, policies=policies))
    return load(file)


def told(made: Loaded) -> list[str]:
    """Line and message of each warning, without the folder."""
    return [f"{each.line}: {each.message}".replace(f"{made.base}/", "") for each in warnings(made)]


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ("[token, {acl: {deny: {groups: [x]}}}]", []),
        ("[{rate: {by: route}}, token]", []),
        ("[{any-of: [token, key]}, {rate: {by: consumer}}]", []),
        ("[{all-of: [token, key]}]", []),
        ("[{any-of: [token, anonymous]}]", []),
        ("[plain, headers, mock]", []),
        ("[unknown, {acl: {nonsense: 1}}, {rate: {by: 1}}]", []),
        ("[{acl: {deny: {groups: [x]}}}, token]", ["8: 'acl' looks at who calls, but 'token' at gw.yaml:8 behind it finds that out"]),
        ("[{rate: {by: consumer}}, {any-of: [key, token]}]", ["8: 'rate' looks at who calls, but 'key' at gw.yaml:8 behind it finds that out"]),
        ("[{scopes: {all: [a]}}]", ["8: 'scopes' looks at who calls, but no policy of the route authenticates"]),
        ("[{rate-limit: {rate: 1/s}}, {rate-limit: {by: 'claim:sub'}}, token]", [BEHIND.format("rate-limit")]),
        ("[{concurrency: {limit: 1, by: [ip, consumer]}}, token]", [BEHIND.format("concurrency")]),
        ("[token, plain, key]", ["8: a caller needs a credential for 'key' and another one for 'token' at gw.yaml:8"]),
        ("[{any-of: [anonymous, token]}]", ["8: 'token' is never tried: 'anonymous' at gw.yaml:8 takes whoever comes"]),
        ("[{any-of: [{all-of: [token, {any-of: [anonymous, key]}]}, key]}]", ["8: 'key' is never tried: 'anonymous' at gw.yaml:8 takes whoever comes"]),
        ("[mock, plain, headers]", ["8: 'plain' never runs: 'mock' at gw.yaml:8 answers every request"]),
    ],
)
def test_orders(tmp_path: Path, policies: str, expected: list[str]) -> None:
    assert told(loaded(tmp_path, policies)) == expected


@pytest.mark.parametrize("policies", ["[mtls]", "[{any-of: [token, mtls]}]"])
def test_certificates_that_no_listener_asks_for(tmp_path: Path, policies: str) -> None:
    assert told(loaded(tmp_path, policies)) == ["8: 'mtls' finds no certificate: no listener asks clients for one"]


def test_certificates_that_a_listener_asks_for(tmp_path: Path) -> None:
    ca, server = make_ca(tmp_path), make_cert(tmp_path, ["localhost"], None)
    tls = f"{{certificates: [{{cert: {server.cert}, key: {server.key}}}], client_certificates: {{ca: {ca.cert}}}}}"
    loaded(tmp_path, "[mtls]")
    file = tmp_path / "gw.yaml"
    file.write_text(file.read_text().replace("{bind: '127.0.0.1:1'}", f"{{bind: '127.0.0.1:1', tls: {tls}}}"))
    assert told(load(file)) == []


def test_places_in_both_lists_are_told_once_for_all_routes(tmp_path: Path) -> None:
    assert told(loaded(tmp_path, "[token]", gateway=f"[{{{ACL}}}]")) == [
        "3: 'acl' looks at who calls, but 'token' at gw.yaml:8 behind it finds that out",
        "3: 'acl' looks at who calls, but no policy of the route authenticates",
    ]


def unguarded(folder: Path, policies: str, gateway: str = "[]", more: str = "access: deny") -> list[str]:
    made = loaded(folder, policies, gateway, more)
    try:
        compile_snapshot(made.config, 1, Segment(1, 8, 8), folder)
    except ConfigError as error:
        return [each.pointer for each in error.problems if "nothing guards route" in each.message]
    return []


@pytest.mark.parametrize(
    ("policies", "expected"),
    [
        ("[]", True),
        ("[headers, {rate: {}}]", True),
        ("[anonymous]", True),
        ("[{any-of: [token, anonymous]}]", True),
        ("[{all-of: [token, anonymous]}]", False),
        ("[token]", False),
        ("[{any-of: [token, key]}]", False),
        ("[{any-of: [token, anonymous]}, {acl: {deny: {groups: [x]}}}]", False),
        ("[{ip: {allow: [10.0.0.0/8]}}]", False),
        ("[]\n    public: true", False),
    ],
)
def test_access_deny_wants_a_guard_or_a_word(tmp_path: Path, policies: str, expected: bool) -> None:
    assert unguarded(tmp_path, policies) == ["$.routes[0]", "$.routes[1]"][0 if expected else 1 :]


def test_the_gateway_s_policies_guard_every_route(tmp_path: Path) -> None:
    assert unguarded(tmp_path, "[]", gateway="[token]") == []


def test_access_is_open_unless_it_is_said(tmp_path: Path) -> None:
    assert unguarded(tmp_path, "[]", more="") == []
