"""The policy `request-id`: forms of ids, whose are kept, where they are said."""

from __future__ import annotations

import re
import time
import uuid
from pathlib import Path

import pytest

from tests.unit.policy.gateway import explained, gateway, problems

GIVEN = "0123-abc_DEF.9"


def test_the_id_stands_everywhere(tmp_path: Path) -> None:
    with gateway(tmp_path, "[request-id]") as made:
        client = made.client()
        seen = []
        for _ in range(3):
            answer = client.ask("/", "X-Request-Id: mine")
            (sent,) = answer.sent("X-Request-Id")
            assert answer.one("X-Request-Id") == sent
            seen.append(sent)
        assert len(set(seen)) == 3
        assert all(uuid.UUID(each).version == 7 and uuid.UUID(each).variant == uuid.RFC_4122 for each in seen)


def test_gw_s_own_answers_carry_it_once(tmp_path: Path) -> None:
    with gateway(tmp_path, "[request-id: {form: hex}, respond: {status: 204}]") as made:
        assert re.fullmatch("[0-9a-f]{32}", made.client().ask("/").one("X-Request-Id") or "")
    with gateway(tmp_path, "[request-id: {form: hex}, size-limit: {body: 1}]") as made:
        answer = made.client().ask("/", method="POST", body=b"xx")
        assert f'"request_id":"{answer.one("X-Request-Id")}"'.encode() in answer.body


def test_another_field_stands_beside_gw_s_own(tmp_path: Path) -> None:
    with gateway(tmp_path, "[request-id: {name: X-Trace, form: uuid4, echo: false}]") as made:
        answer = made.client().ask("/", "X-Trace: mine", "x_trace: mine")
        (sent,) = answer.sent("X-Trace")
        assert answer.sent("x_trace") == []
        assert answer.sent("X-Request-Id") == [sent]
        assert uuid.UUID(sent).version == 4
        assert answer.all("X-Trace") == []


def test_ids_that_sort_by_time(tmp_path: Path) -> None:
    wall = 1_700_000_000.0
    made = {}
    for form in ("uuid7", "ulid"):
        made[form] = [explained(tmp_path, f"[request-id: {{form: {form}}}]", "GET", "http://h.example/", wall=wall + s, now=5.0).verdicts[0].told for s in (0, 1)]
        assert sorted(made[form]) == made[form]
    assert int(made["uuid7"][0].replace("-", "")[:12], 16) == int(wall * 1000)
    letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    ms = 0
    for letter in made["ulid"][0][:10]:
        ms = ms * 32 + letters.index(letter)
    assert ms == int(wall * 1000)
    assert re.fullmatch(f"[{letters}]{{26}}", made["ulid"][0])


def test_now_is_now(tmp_path: Path) -> None:
    with gateway(tmp_path, "[request-id]") as made:
        sent = made.client().ask("/").one("X-Request-Id") or ""
        assert abs(int(sent.replace("-", "")[:12], 16) / 1000 - time.time()) < 60


@pytest.mark.parametrize(
    ("accept", "trusted", "given", "kept"),
    [
        ("any", False, GIVEN, True),
        ("trusted", False, GIVEN, False),
        ("trusted", True, GIVEN, True),
        ("never", True, GIVEN, False),
        ("any", False, "x" * 64, True),
        ("any", False, "x" * 65, False),
        ("any", False, "", False),
        ("any", False, "a b", False),
        ("any", False, "a'b", False),
    ],
)
def test_whose_ids_are_kept(tmp_path: Path, accept: str, trusted: bool, given: str, kept: bool) -> None:
    with gateway(tmp_path, f"[request-id: {{name: X-Trace, accept: {accept}}}]", more="trusted_proxies: [127.0.0.1]" if trusted else "") as made:
        answer = made.client().ask("/", f"X-Trace: {given}")
        assert (answer.sent("X-Trace") == [given]) == kept
        assert answer.sent("X-Trace") == answer.sent("X-Request-Id")


def test_an_id_of_another_shape_is_replaced(tmp_path: Path) -> None:
    with gateway(tmp_path, "[request-id: {accept: any, pattern: '[0-9a-f]{8}'}]") as made:
        client = made.client()
        assert client.ask("/", "X-Request-Id: 0123abcd").one("X-Request-Id") == "0123abcd"
        assert client.ask("/", "X-Request-Id: 0123abcde").one("X-Request-Id") != "0123abcde"
        assert client.ask("/", "X-Request-Id: 0123abcd", "X-Request-Id: 0123abcd").one("X-Request-Id") != "0123abcd"


@pytest.mark.parametrize(
    ("settings", "place", "message"),
    [
        ({"name": "X A"}, "name", "'X A' cannot carry an id"),
        ({"name": "Host"}, "name", "'Host' cannot carry an id"),
        ({"name": "content_length"}, "name", "'content_length' cannot carry an id"),
        ({"pattern": "("}, "pattern", "'(' cannot be used: missing ')' of the group at offset 0"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(settings: dict[str, str], place: str, message: str) -> None:
    (problem,) = problems("request-id", **settings)
    assert (problem.pointer, problem.message) == (f"$.p.{place}", message)
