"""A service that decides: what it is told, what passes, what comes back, and what happens without it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gw.errors import ConfigError
from tests.unit.fast.rig import Answer, Client, Make, Origin, behind, until
from tests.unit.policy.asking import Service, Told, compiled


def policy(service: Service, more: str = "") -> str:
    return f"forward-auth: {{url: '{service.url}/decide', {more}}}"


def ask(port: int, *fields: str, path: str = "/", method: str = "GET", body: bytes = b"") -> Answer:
    with Client(port) as client:
        return client.ask(path, *fields, method=method, body=body)


def test_it_is_told_what_is_asked_for_and_nothing_else(rig: Make, origin: Origin, service: Service) -> None:
    made = rig(behind(origin, policy(service, "send: [Authorization, X-Tenant, X-Forwarded-Uri]")))
    answer = ask(made.port, "Authorization: secret", "X-Tenant: t", "Cookie: a=b", "X-Forwarded-Uri: /lies", path="/a/../b?c=d", method="POST", body=b"body")
    assert (answer.status, answer.told["body"]) == (200, "body")
    (asked,) = service.asked
    assert (asked.method, asked.target, asked.body, asked.fields["user-agent"]) == ("GET", "/decide", b"", "gw")
    told = {name: value for name, value in asked.fields.items() if name.startswith(("x-", "auth", "cookie"))}
    assert told == {
        "x-forwarded-method": "POST",
        "x-forwarded-proto": "http",
        "x-forwarded-host": "h.example",
        "x-forwarded-uri": "/b?c=d",
        "x-forwarded-for": "127.0.0.1",
        "authorization": "secret",
        "x-tenant": "t",
    }


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST"])
def test_the_method_it_is_asked_with(rig: Make, origin: Origin, service: Service, method: str) -> None:
    made = rig(behind(origin, policy(service, f"method: {method}")))
    assert ask(made.port).status == 200
    assert service.asked[0].method == method


def test_fields_of_its_answer_reach_the_origin_and_the_clients_own_never_do(rig: Make, origin: Origin, service: Service) -> None:
    service.answer = lambda _: Told(204, fields=(("X-User", "alice"), ("X-Role", "a"), ("X-Role", "b"), ("X-Other", "no")))
    made = rig(behind(origin, policy(service, "copy: [X-User, X-Role, X-Absent], subject: X-User"), more="consumers: {alice-and-co: {subjects: [alice]}}"))
    answer = ask(made.port, "X-User: forged", "x_user: forged", "X-Absent: forged", "X-Subject: forged")
    sent = {name: answer.sent(name) for name in ("x-user", "x_user", "x-role", "x-absent", "x-other", "x-subject", "x-consumer")}
    assert sent == {
        "x-user": ["alice"],
        "x_user": [],
        "x-role": ["a", "b"],
        "x-absent": [],
        "x-other": [],
        "x-subject": ["alice"],
        "x-consumer": ["alice-and-co"],
    }


def test_octets_beyond_ascii_pass_both_ways(rig: Make, origin: Origin, service: Service) -> None:
    """As latin-1, which is what heads are read as here."""
    service.answer = lambda _: Told(200, fields=(("X-User", "J\u00c3\u00bcrgen"),))
    made = rig(behind(origin, policy(service, "copy: [X-User], subject: X-User"), more="consumers: {juergen: {subjects: [J\u00fcrgen]}}"))
    with Client(made.port) as client:
        client.sock.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nCookie: a=\xc3\xbc\xff\r\n\r\n")
        answer = client.read()
    assert (answer.status, answer.sent("x-user"), answer.sent("x-consumer")) == (200, ["J\u00c3\u00bcrgen"], ["juergen"])
    assert service.asked[0].fields["cookie"] == "a=\u00c3\u00bc\u00ff"


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 429, 500, 503])
def test_any_other_answer_is_the_clients(rig: Make, origin: Origin, service: Service, status: int) -> None:
    fields = (("Location", "https://login.example/"), ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("X-Inner", "secret"), ("Content-Type", "text/plain"))
    service.answer = lambda _: Told(status, b"not you", fields)
    made = rig(behind(origin, policy(service)))
    answer = ask(made.port)
    assert (answer.status, answer.body) == (status, b"not you")
    assert (answer.one("Location"), answer.all("Set-Cookie"), answer.one("Content-Type")) == ("https://login.example/", ["a=1", "b=2"], "text/plain")
    assert answer.all("X-Inner") == []
    assert ask(made.port, method="HEAD").status == status
    assert origin.paths == []


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a service that is not there."""
    made = Service()
    made.close()
    return made.url


@pytest.mark.parametrize(("on_error", "status"), [("refuse", 503), ("pass", 200)])
def test_when_it_is_not_there(rig: Make, origin: Origin, nobody: str, on_error: str, status: int) -> None:
    made = rig(behind(origin, f"forward-auth: {{url: '{nobody}', on_error: {on_error}, copy: [X-User]}}"))
    answer = ask(made.port, "X-User: forged")
    assert answer.status == status
    if status == 503:
        assert answer.told["reason"] == "decision-unavailable"
    else:
        assert answer.sent("x-user") == []


def test_when_it_is_too_slow_or_says_too_much(rig: Make, origin: Origin, service: Service) -> None:
    made = rig(behind(origin, policy(service, "reach: {timeout: 100ms}")))
    service.go_on.clear()
    assert ask(made.port).status == 503
    service.answer = lambda _: Told(403, b"x" * 70_000)
    service.go_on.set()
    answer = ask(made.port)
    assert (answer.status, answer.told["reason"]) == (503, "decision-unavailable")
    assert origin.paths == []


def test_answers_that_let_pass_are_kept_by_request_and_fields(rig: Make, origin: Origin, service: Service) -> None:
    service.answer = lambda asked: Told(200 if "authorization" in asked.fields else 401, fields=(("X-User", asked.fields.get("authorization", "")),))
    made = rig(behind(origin, policy(service, "copy: [X-User], cache: {by: [Authorization]}")))
    for _ in range(2):
        assert ask(made.port, "Authorization: a").sent("x-user") == ["a"]
        assert ask(made.port, "Authorization: b").sent("x-user") == ["b"]
        assert ask(made.port, "Authorization: a", path="/other").status == 200
        assert ask(made.port, "Authorization: a", method="POST").status == 200
        assert ask(made.port).status == 401  # a refusal is never kept
    assert len(service.asked) == 6


def test_a_decision_may_hang_on_fields_alone(rig: Make, origin: Origin, service: Service) -> None:
    made = rig(behind(origin, policy(service, "cache: {by: [Authorization], request: false}")))
    for path in ("/a", "/b", "/c"):
        assert ask(made.port, "Authorization: a", path=path).status == 200
    assert len(service.asked) == 1


def test_fields_cannot_be_joined_into_another_key(rig: Make, origin: Origin, service: Service) -> None:
    made = rig(behind(origin, policy(service, "send: [X-A, X-B], cache: {by: [X-A, X-B], request: false}")))
    for fields in (["X-A: 1", "X-B: 2"], ["X-A: 2", "X-B: 1"], ["X-A: 1, 2"], ["X-A: 1", "X-A: 2"], ["X-A: ['1']"], ["X-B: 1"]):
        assert ask(made.port, *fields).status == 200
    assert len(service.asked) == 6


def test_requests_of_one_key_share_a_question(rig: Make, origin: Origin, service: Service) -> None:
    service.go_on.clear()
    made = rig(behind(origin, policy(service, "cache: {by: [Authorization]}")))
    clients = [Client(made.port) for _ in range(5)]
    for client in clients:
        client.send("/", "Authorization: a")
    until(lambda: made.stats()["exchanges"] == 5 and service.asked, "all wait for one answer")
    service.go_on.set()
    for client in clients:
        assert client.read().status == 200
        client.close()
    assert len(service.asked) == 1


def test_it_can_decide_behind_another_policy(rig: Make, origin: Origin, service: Service) -> None:
    """Without a name of its own for the caller, it leaves the identity that was found before as it is."""
    who = "def build(config, tools):\n    return Hooks(request=lambda request: request.identify('who', subject='alice'))\n"
    made = rig(behind(origin, "who", policy(service)), who=who)
    assert ask(made.port).sent("x-subject") == ["alice"]


WRONG = ["copy: [Host]", "copy: [content_length]", "send: ['a b']", "answer: [Transfer-Encoding]", "subject: ':'", "cache: {by: [Connection]}", "url: 'x'"]


@pytest.mark.parametrize("more", WRONG)
def test_what_cannot_work_is_said_before_it_runs(tmp_path: Path, more: str) -> None:
    url = "" if more.startswith("url") else "url: 'http://x/', "
    with pytest.raises(ConfigError, match=r"cannot be (read or written here|asked)|is not a URL"):
        compiled(tmp_path, f"forward-auth: {{{url}{more}}}")
