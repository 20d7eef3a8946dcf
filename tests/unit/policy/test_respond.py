"""The policy `respond`: fixed answers in the type that the client likes best."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.respond import RespondStep
from gw.policy import Tools, find
from tests.unit.policy.gateway import explained, gateway, problems


def test_a_fixed_answer(tmp_path: Path) -> None:
    with gateway(tmp_path, "[respond: {status: 503, headers: {Retry-After: '120', X-A: a}, body: \"bäck soon\\n\"}]") as made:
        client = made.client()
        for _ in range(2):
            answer = client.ask("/", method="POST", body=b"x")
            assert (answer.status, answer.body.decode()) == (503, "bäck soon\n")
            assert [answer.one(name) for name in ("Retry-After", "X-A", "Content-Type", "Vary")] == ["120", "a", "text/plain; charset=utf-8", None]
        answer = client.ask("/", method="HEAD")
        assert (answer.one("Content-Length"), answer.body) == ("11", b"")
        assert made.origin.paths == []


def test_the_client_chooses_the_type(tmp_path: Path) -> None:
    (tmp_path / "down.html").write_bytes(b"<p>down</p>")
    policies = "[respond: {status: 503, bodies: {application/json: '{}'}, files: {'text/html; charset=utf-8': down.html}}]"
    with gateway(tmp_path, policies) as made:
        client = made.client()
        for accept, kind, body in (("Accept: text/html,*/*;q=0.1", "text/html; charset=utf-8", b"<p>down</p>"), ("X-A: a", "application/json", b"{}")):
            answer = client.ask("/", accept)
            assert (answer.one("Content-Type"), answer.body, answer.one("Vary")) == (kind, body, "Accept")
        assert client.ask("/", "Accept: application/json;q=0.5", "Accept: text/*").one("Content-Type") == "text/html; charset=utf-8"


def test_an_answer_without_a_body(tmp_path: Path) -> None:
    with gateway(tmp_path, "[respond: {status: 204}]") as made:
        answer = made.client().ask("/")
        assert (answer.status, answer.one("Content-Type")) == (204, None)


def test_explain_says_what_is_answered(tmp_path: Path) -> None:
    decision = explained(tmp_path, "[respond: {body: hello}]", "GET", "http://h.example/")
    assert [(each.verdict, each.told) for each in decision.verdicts] == [("answer", "200, 5 B")]
    assert decision.answer.endswith(b"\r\n\r\nhello")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    policy = find("respond", [], "$")
    with pytest.raises(Exception, match=r"cannot read .*none\.html: No such file") as raised:
        policy.build(policy.config(files={"text/html": "none.html"}), Tools("all", "$.p", base=tmp_path))
    assert raised.value.problems[0].pointer == '$.p.files["text/html"]'


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"headers": {"X A": "a"}}, '$.p.headers["X A"]', "'X A: a' is not a header field"),
        ({"headers": {"X-A": "a\n"}}, "$.p.headers.X-A", "'X-A: a\n' is not a header field"),
        ({"headers": {"X-A": "€"}}, "$.p.headers.X-A", "'X-A: €' is not a header field"),
        ({"headers": {"Content-Length": "1"}}, "$.p.headers.Content-Length", "gw writes 'Content-Length' itself"),
        ({"headers": {"content-type": "text/html"}}, "$.p.headers.content-type", "gw writes 'content-type' itself"),
        ({"bodies": {"html": ""}}, "$.p.bodies.html", "'html' is not a media type"),
        ({"bodies": {"text/*": ""}}, '$.p.bodies["text/*"]', "'text/*' is not a media type"),
        ({"bodies": {"a/b": ""}, "files": {"a/b": ""}}, '$.p.files["a/b"]', "'a/b' stands in bodies as well"),
        ({"status": 304, "body": "x"}, "$.p.status", "an answer with status 304 has no body"),
        ({"body": "x" * 200000}, "$.p", "the body of type 'text/plain; charset=utf-8' has 200000 bytes, at most 196608 can be answered"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings: dict[str, object], place: str, message: str) -> None:
    (problem,) = problems("respond", **settings)
    assert (problem.pointer, problem.message) == (place, message)


KINDS = ["text/html", "text/plain", "application/json"]
RANGES = st.sampled_from([*KINDS, "text/*", "*/*", "application/*", "image/png", "TEXT/HTML", "text", "*"])
QUALITIES = st.sampled_from(["", ";q=0", ";q=1", ";q=0.5", "; q=0.123", ";q=1.000", ";level=1;q=0.7", ";q=0.", " ;q=0.05", ";Q=0.9"])
NUMBERS = {"": 1000, ";q=0": 0, ";q=1": 1000, ";q=0.5": 500, "; q=0.123": 123, ";q=1.000": 1000, ";level=1;q=0.7": 700, ";q=0.": 0, " ;q=0.05": 50, ";Q=0.9": 900}


@given(st.lists(st.tuples(RANGES, QUALITIES), max_size=5), st.sampled_from([",", ", ", " , ,"]))
def test_the_best_type_is_chosen_as_the_oracle_does(ranges: list[tuple[str, str]], comma: str) -> None:
    def quality(kind: str) -> int:
        best = (0, 0)
        for name, q in ranges:
            fit = {kind: 3, f"{kind.partition('/')[0]}/*": 2, "*/*": 1}.get(name.lower(), 0)
            if fit > best[0]:
                best = (fit, NUMBERS[q])
        return best[1]

    step = RespondStep(200, [(kind, b"", b"") for kind in KINDS])
    chosen = step.choose(comma.join(name + q for name, q in ranges).encode())
    assert chosen == max(range(3), key=lambda index: (quality(KINDS[index]), -index))
