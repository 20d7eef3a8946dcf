"""Rate limits: what passes when, against exact token buckets; whom they count; what clients and operators are told."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.lease_step import LeaseStep
from gw._fast.shm import Segment
from gw.policy import Tools
from gw.policy.rate_limit import Config, build
from tests.reference.bucket import Bucket, kept_interval
from tests.unit.fast.rig import Client, until
from tests.unit.policy.limits import OWN, asking, fields_of, problem, serving

SECOND = 1_000_000  # us
UNITS = {"ms": 1_000, "s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}
windows = st.lists(st.tuples(st.integers(1, 50), st.sampled_from(list(UNITS)), st.integers(1, 6)), min_size=1, max_size=3, unique_by=lambda each: each[:2])


def seconds(us: int) -> int:
    return -(-us // SECOND)


@given(windows, st.integers(1, 2), st.lists(st.one_of(st.integers(0, 2_000), st.integers(0, 5 * SECOND)), max_size=30))
def test_it_passes_what_the_buckets_hold_and_tells_what_is_left(given_windows: list[tuple[int, str, int]], cost: int, steps: list[int]) -> None:
    given_windows = [(rate, unit, max(burst, cost)) for rate, unit, burst in given_windows]
    limits = ", ".join(f"{{rate: {rate}/{unit}, burst: {burst}}}" for rate, unit, burst in given_windows)
    buckets = [Bucket(kept_interval(rate, UNITS[unit]), burst) for rate, unit, burst in given_windows]
    now = 1000 * SECOND
    with TemporaryDirectory() as folder, asking(Path(folder), f"rate-limit: {{limits: [{limits}], cost: {cost}}}") as asked:
        for step in steps:
            now += step
            expected = [bucket.figures(cost, now) for bucket in buckets]
            passes = all(verdict == "pass" for verdict, *_ in expected)
            if passes:
                expected = [bucket.take(cost, now) for bucket in buckets]
            decision = asked.ask(now=now / SECOND)
            fields = fields_of(decision.answer)
            assert decision.reason == ("" if passes else "rate-limited")
            assert fields.get("Retry-After") == (None if passes else str(seconds(max(retry for *_, retry in expected))))
            names = ["default"] if len(buckets) == 1 else [f"{rate}/{unit}" for rate, unit, _ in given_windows]
            assert fields["RateLimit"] == ", ".join(f'"{name}";r={left};t={seconds(reset)}' for name, (_, left, reset, _) in zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ("rate: 100/s", '"default";q=100;w=1'),
        ("rate: 100/s, burst: 50", '"default";q=50;w=1'),
        ("rate: 10/s, burst: 25", '"default";q=25;w=3'),
        ("rate: 5/10s, name: search", '"search";q=5;w=10'),
        ("limits: [{rate: 10/s, burst: 20}, {rate: 1000/h}], name: api", '"api 10/s";q=20;w=2, "api 1000/h";q=1000;w=3600'),
    ],
)
def test_the_policy_field_never_promises_more_than_there_is(tmp_path: Path, settings: str, policy: str) -> None:
    with asking(tmp_path, f"rate-limit: {{{settings}}}") as asked:
        assert fields_of(asked.ask().answer)["RateLimit-Policy"] == policy


@pytest.mark.parametrize("path", ["/", "/own"])
def test_answers_of_origins_and_of_gw_tell_what_is_left(tmp_path: Path, path: str) -> None:
    with serving(tmp_path, "rate-limit: {rate: 2/h}") as (made, _), Client(made.port) as client:
        for left in (1, 0):
            answer = client.ask(path)
            assert answer.status == 200
            assert answer.one("RateLimit").startswith(f'"default";r={left};t=')
            assert answer.one("RateLimit-Policy") == '"default";q=2;w=3600'
        answer = client.ask(path)
        assert answer.status == 429
        assert json.loads(answer.body)["reason"] == "rate-limited"
        assert 1700 < int(answer.one("Retry-After")) <= 1800
        assert answer.one("RateLimit").startswith('"default";r=0;t=')


def test_several_limits_tell_side_by_side_and_one_can_be_silent(tmp_path: Path) -> None:
    policies = "rate-limit: {rate: 5/h, name: a}, rate-limit: {rate: 9/h, name: b}, rate-limit: {rate: 7/h, headers: false}"
    with serving(tmp_path, policies) as (made, _), Client(made.port) as client:
        assert [value.partition(";t")[0] for value in client.ask().all("RateLimit")] == ['"a";r=4', '"b";r=8']


@pytest.mark.parametrize(
    ("by", "one", "other", "same"),
    [
        ("ip", {"client": "192.0.2.1"}, {"client": "192.0.2.2"}, {"client": "192.0.2.1"}),
        ("ip", {"client": "2001:db8::1"}, {"client": "2001:db8:0:1::1"}, {"client": "2001:db8::2"}),
        ("consumer", {"key": "alice"}, {"key": "bob"}, {"key": "alice", "client": "192.0.2.9"}),
        ("credential", {"key": "k1"}, {"key": "k2"}, {"key": "k1"}),
        ("claim:org", {"key": "a", "claims": '{"org": "x"}'}, {"key": "a", "claims": '{"org": "y"}'}, {"key": "b", "claims": '{"org": "x"}'}),
        ("header:X-Tenant", {"tenant": "x"}, {"tenant": "y"}, {"tenant": "x", "client": "192.0.2.9"}),
        ("[ip, header:X-Tenant]", {"tenant": "x"}, {"tenant": "y"}, {"tenant": "x"}),
        ("path", {"path": "/a"}, {"path": "/b"}, {"path": "/a"}),
    ],
)
def test_each_key_has_a_bucket_of_its_own(tmp_path: Path, by: str, one: dict[str, str], other: dict[str, str], same: dict[str, str]) -> None:
    config = OWN.format(f"who, rate-limit: {{rate: 1/h, by: {by}}}") + "\nconsumers: {alice: {}, bob: {}}"
    with asking(tmp_path, config=config) as asked:

        def passes(key: str = "", claims: str = "{}", tenant: str = "", client: str = "192.0.2.1", path: str = "/") -> bool:
            return asked.passes(f"X-Key: {key}", f"X-Claims: {claims}", f"X-Tenant: {tenant}", client=client, path=path)

        assert [passes(**each) for each in (one, other, same)] == [True, True, False]


@pytest.mark.parametrize(("missing", "expected"), [("count", [200, 429]), ("skip", [200, 200]), ("refuse", [403, 403])])
def test_requests_that_lack_what_is_counted_by(tmp_path: Path, missing: str, expected: list[int]) -> None:
    with asking(tmp_path, f"rate-limit: {{rate: 1/h, by: header:X-Tenant, missing: {missing}}}") as asked:
        decisions = [asked.ask(client=f"192.0.2.{index}") for index in range(2)]
        assert [decision.status for decision in decisions] == expected
        assert asked.passes("X-Tenant: a")
        if missing != "count":
            assert decisions[0].verdicts[0].told == "not counted: the request lacks header:X-Tenant"


def test_explain_says_how_much_is_left_and_of_whom(tmp_path: Path) -> None:
    with asking(tmp_path, "rate-limit: {limits: [{rate: 5/s, burst: 20}, {rate: 1000/h}]}") as asked:
        assert asked.ask().verdicts[0].told == "19 of 20 left, by ip 192.0.2.1"
        for _ in range(19):
            asked.ask()
        assert asked.ask().verdicts[0].told == "none left, next in 0.2 s, by ip 192.0.2.1"


def test_a_dry_run_refuses_nothing_and_tells_the_operator_only(tmp_path: Path) -> None:
    with asking(tmp_path, "rate-limit: {rate: 1/h, dry_run: true}") as asked:
        decisions = [asked.ask() for _ in range(3)]
        assert [decision.status for decision in decisions] == [200, 200, 200]
        assert decisions[2].verdicts[0].told == "would be refused, none left, next in 3.6e+03 s, by ip 192.0.2.1"
        assert "RateLimit" not in fields_of(decisions[0].answer)
        assert asked.segment.workers()[0]["dry_refusals"] == 2


def test_the_access_log_says_what_a_dry_run_would_have_refused(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    with serving(tmp_path, "rate-limit: {rate: 1/h, dry_run: true, name: all}", f"access_log: {{file: {log}, flush: 1ms}}") as (made, _), Client(made.port) as client:
        made.call(lambda: made.lane.reopen_log(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)))
        assert [client.ask(path).status for path in ("/", "/own")] == [200, 200]
        lines = until(lambda: len(found := log.read_text().splitlines()) == 2 and [json.loads(line) for line in found], "both lines are written")
    assert [line.get("dry_run") for line in lines] == [None, "rate-limited"]
    assert lines[1]["status"] == 200
    assert "reason" not in lines[1]


def test_limits_of_one_name_count_together_and_others_by_their_place(tmp_path: Path) -> None:
    route = "{{path: /{0}, name: {0}, respond: {{}}, policies: [rate-limit: {{rate: 1/h{1}}}]}}"
    shared = ", name: shared"
    routes = [route.format(name, settings) for name, settings in (("a", shared), ("b", shared), ("c", ""), ("d", ""))]
    with asking(tmp_path, config=f"routes: [{', '.join(routes)}]") as asked:
        assert [asked.passes(path=f"/{name}") for name in "abcd"] == [True, False, True, True]
        asked.use(f"routes: [{{path: /new, respond: {{}}}}, {', '.join(reversed(routes))}]")
        assert [asked.passes(path=f"/{name}") for name in "abcd"] == [False] * 4


def test_a_limit_of_the_gateway_is_one_for_all_routes_and_a_consumers_is_its_own(tmp_path: Path) -> None:
    policies = "policies: [who, rate-limit: {rate: 2/h}]"
    consumers = "consumers: {alice: {policies: [rate-limit: {rate: 1/h}]}, bob: {policies: [rate-limit: {rate: 1/h}]}}"
    routes = "routes: [{path: /a, name: a, respond: {}}, {path: /b, name: b, respond: {}}]"
    with asking(tmp_path, config=f"{policies}\n{consumers}\n{routes}") as asked:
        assert [asked.passes(path=path) for path in ("/a", "/b", "/a")] == [True, True, False]
        assert [asked.passes(f"X-Key: {name}", client=f"192.0.2.{index}", path="/b") for index, name in enumerate(("alice", "bob"), 3)] == [True, True]
        assert not asked.passes("X-Key: alice", client="192.0.2.3", path="/a")


@pytest.mark.parametrize(("full", "status", "reason"), [("closed", 503, "limits-full"), ("open", 200, "")])
def test_a_full_table(tmp_path: Path, full: str, status: int, reason: str) -> None:
    with asking(tmp_path, f"rate-limit: {{rate: 10/h, full: {full}}}", cells=32) as asked:
        decisions = [asked.ask(client=f"192.0.2.{index}") for index in range(33)]
        refused = [decision for decision in decisions if decision.status != 200 or "RateLimit" not in fields_of(decision.answer)]
        assert len(refused) == 2
        assert [(decision.status, decision.reason) for decision in refused] == [(status, reason)] * 2
        assert refused[0].verdicts[0].told == "not counted: the table of limits is full"


@pytest.mark.parametrize(
    ("settings", "message", "pointer"),
    [
        ("{}", "a rate limit has either `rate` or `limits`", ""),
        ("{rate: 1/s, limits: [{rate: 1/s}]}", "a rate limit has either `rate` or `limits`", ""),
        ("{burst: 2, limits: [{rate: 1/s}]}", "`burst` belongs to the rates in `limits`", ".burst"),
        ("{rate: 5/s, cost: 6}", "no request could pass: it costs 6, the bucket holds 5", ""),
        ("{limits: [{rate: 9/s}, {rate: 5/s}], cost: 6}", "no request could pass: it costs 6, the bucket holds 5", ".limits[1]"),
        ("{rate: 1/s, by: planet}", "'planet' is nothing a limit can count by", ".by"),
        ("{rate: 1/s, by: []}", "a limit counts by 1 to 8 parts of a request, not 0", ".by"),
        ("{rate: 1/d, burst: 1000}", "a burst of 1000 at 1 in 86400000000 us takes more than 366 days to come back", ""),
        ("{rate: 1/s, name: 'a\"b'}", "'a\"b' cannot name a limit", ".name"),
        ("{limits: [" + "{rate: 1/s}, " * 9 + "]}", "expected at most 8 rates, got 9", ".limits"),
        ("{rate: 1/s, shared: true}", "a rate that nodes share has nowhere to count", ".shared"),
        ("{rate: fast}", "expected", ".rate"),
        ("{rate: 1/s, burst: 0}", "expected", ".burst"),
        ("{limits: [{rate: 0/s}]}", "expected", ".limits[0].rate"),
    ],
)
def test_what_cannot_work_is_said_when_it_is_loaded(tmp_path: Path, settings: str, message: str, pointer: str) -> None:
    found = problem(tmp_path, f"rate-limit: {settings}")
    assert found[0].startswith(message)
    assert found[1] == f".rate-limit{pointer}"


def test_a_shared_rate_takes_from_leases_of_every_window(tmp_path: Path) -> None:
    segment = Segment(1, 1, 1, 1024)
    tools = Tools("all", "$.routes[0].policies[0].rate-limit", segment=segment, shared=True)
    config = msgspec.convert({"limits": [{"rate": "5/s", "burst": 20}, {"rate": "1000/h"}], "shared": True, "name": "api", "cost": 2}, Config)
    step = build(config, tools)
    assert isinstance(step, LeaseStep)
    (windows,) = step.meters
    assert [(meter.units, meter.us, meter.burst) for meter in windows] == [(5, SECOND, 20), (1000, 3600 * SECOND, 1000)]
    assert len({meter.name for meter in windows}) == 2


def test_without_cells_there_are_no_limits(tmp_path: Path) -> None:
    assert problem(tmp_path, "rate-limit: {rate: 1/s}", cells=0) == ("limits have no cells to count in", ".rate-limit", "set process.limit_cells above 0 and restart")
