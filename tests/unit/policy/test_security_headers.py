"""The policy `security-headers`: what answers carry, and what they no longer do."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.policy.gateway import explained, gateway, problems

PRESET = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def test_the_preset(tmp_path: Path) -> None:
    with gateway(tmp_path, "[security-headers]") as made:
        answer = made.client().ask("/")
        assert {name: answer.one(name) for name in PRESET} == PRESET
        assert answer.all("Strict-Transport-Security") == []
        assert answer.all("Server") == []


def test_answers_of_gw_carry_them_too(tmp_path: Path) -> None:
    with gateway(tmp_path, "[security-headers, respond: {status: 404}]") as made:
        answer = made.client().ask("/")
        assert {name: answer.one(name) for name in PRESET} == PRESET


def test_strict_transport_is_said_over_https_only(tmp_path: Path) -> None:
    policies = "[security-headers, respond: {status: 200}]"
    for scheme, there in (("http", False), ("https", True)):
        assert (b"Strict-Transport-Security: max-age=31536000\r\n" in explained(tmp_path, policies, "GET", f"{scheme}://h.example/").answer) == there
    with gateway(tmp_path, policies, more="trusted_proxies: [127.0.0.1]") as made:
        assert made.client().ask("/", "X-Forwarded-Proto: https").one("Strict-Transport-Security") == "max-age=31536000"
    with gateway(tmp_path, policies) as made:
        assert made.client().ask("/", "X-Forwarded-Proto: https").all("Strict-Transport-Security") == []


SAY = """
def build(config: Config, tools: Tools) -> Hooks:
    def say(request: Request) -> None:
        request.response_headers["X-Frame-Options"] = "SAMEORIGIN"
        request.response_headers["X-Powered-By"] = "magic"
    return Hooks(response=say)
"""


@pytest.mark.parametrize(("settings", "frame", "powered"), [("{}", "SAMEORIGIN", []), ("{replace: true, remove: []}", "DENY", ["magic"])])
def test_the_origin_knows_better_unless_it_is_told_otherwise(tmp_path: Path, settings: str, frame: str, powered: list[str]) -> None:
    with gateway(tmp_path, f"[security-headers: {settings}, say]", say=SAY) as made:
        answer = made.client().ask("/")
        assert answer.one("X-Frame-Options") == frame
        assert answer.all("X-Powered-By") == powered


def test_each_can_be_changed_or_left_out(tmp_path: Path) -> None:
    with gateway(tmp_path, "[security-headers: {frame_options: null, referrer_policy: no-referrer}]") as made:
        answer = made.client().ask("/")
        assert answer.all("X-Frame-Options") == []
        assert answer.one("Referrer-Policy") == "no-referrer"


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"frame_options": ""}, "frame_options", "'' cannot be sent"),
        ({"content_security_policy": "a\r\nb"}, "content_security_policy", "'a\r\nb' cannot be sent"),
        ({"remove": ["Server", "Date"]}, "remove[1]", "'Date' cannot be taken away"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings: dict[str, object], place: str, message: str) -> None:
    (problem,) = problems("security-headers", **settings)
    assert (problem.pointer, problem.message) == (f"$.p.{place}", message)
