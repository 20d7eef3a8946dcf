"""Cases run against a config, each by an engine of its own: what differs from what was expected, and what was covered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field
from msgspec.structs import asdict

from gw._fast.regex import Regex
from gw._fast.shm import Segment
from gw._fast.snapshot import Snapshot
from gw.config import Config
from gw.config.model import Endpoint
from gw.config.node import join
from gw.errors import REASON_INDEX, Problem
from gw.runtime.cases import Case, CaseFile, Expected, OriginAnswer, Sent, SentAnswer
from gw.runtime.compile import route_name
from gw.runtime.explain import Decision, Engine, Reply
from gw.store import Source

Compile = Callable[[], tuple[Snapshot, Segment]]
Pattern = str | bool | list[str]

START = 1_000_000.0  # seconds of the monotonic clock at which a case begins; any would do
LOOKING = {"request", "request_body", "origin_request", "response_body"}  # phases of a policy that cases can meet
REFUSING = {"authentication", "authorisation", "limit", "protection"}  # kinds of policies that are there to refuse


class Difference(Struct, frozen=True):
    """Something expected that did not hold. `pointer` is in the file of cases."""

    pointer: str
    expected: str
    found: str


class Outcome(Struct):
    """What came of one case. `decided` is the pointer in the config of what decided the last request, `reports` what would stand in the error log."""

    name: str
    pointer: str
    ms: float = 0.0
    count: int = 0  # of the failing request among the repeated ones, from 1
    differences: list[Difference] = field(default_factory=list)
    decided: str = ""
    decision: Decision | None = None
    reports: list[str] = field(default_factory=list)


class Met(Struct):
    """How often a policy passed and refused. One that is there to refuse has to do both."""

    name: str
    refuses: bool
    passed: int = 0
    refused: int = 0

    @property
    def covered(self) -> int:
        """1 when it ran; of one that is there to refuse, how many of its two outcomes were met."""
        return bool(self.passed) + bool(self.refused) if self.refuses else int(self.passed + self.refused > 0)


class Coverage(Struct):
    """What cases met: requests by index of the route, policies by the pointer of their config."""

    routes: dict[int, int] = field(default_factory=dict)
    policies: dict[str, Met] = field(default_factory=dict)

    @property
    def wanted(self) -> int:
        """What there is to meet."""
        return len(self.routes) + sum(2 if each.refuses else 1 for each in self.policies.values())

    @property
    def met(self) -> int:
        """What was met."""
        return sum(map(bool, self.routes.values())) + sum(each.covered for each in self.policies.values())

    @property
    def percent(self) -> float:
        """Met of wanted; a config with neither routes nor policies is covered."""
        return 100.0 * self.met / self.wanted if self.wanted else 100.0

    def learn(self, snapshot: Snapshot) -> None:
        """Take up the routes of a snapshot, and the policies that look at requests or at bodies."""
        kinds = snapshot.settings["kinds"]
        for index in range(len(snapshot.plans)):
            self.routes.setdefault(index, 0)
        for step in [step for each in (*snapshot.plans, *snapshot.consumers) for step in each["steps"]]:
            if step.pointer and LOOKING.intersection(step.phases()):
                self.policies.setdefault(step.pointer, Met(step.name, kinds.get(step.name) in REFUSING))

    def add(self, other: Coverage) -> None:
        """Take in what cases of another file met of the same config."""
        for index, count in other.routes.items():
            self.routes[index] = self.routes.get(index, 0) + count
        for pointer, theirs in other.policies.items():
            mine = self.policies.setdefault(pointer, Met(theirs.name, theirs.refuses))
            mine.passed += theirs.passed
            mine.refused += theirs.refused

    def count(self, decision: Decision) -> None:
        """Note what one request met."""
        if decision.route >= 0:
            self.routes[decision.route] += 1
        for each in decision.verdicts:
            if each.pointer:
                met = self.policies[each.pointer]
                met.passed += each.verdict == "pass"
                met.refused += each.verdict != "pass"


def flaws(file: CaseFile) -> Iterator[Problem]:
    """What the types of a file of cases cannot say, with pointers."""
    yield from _clock_flaw(file.clock, "$.clock")
    for index, case in enumerate(file.cases):
        pointer = f"$.cases[{index}]"
        first = next(number for number, each in enumerate(file.cases) if each.name == case.name)
        if first < index:
            yield Problem(message=f"another case is called '{case.name}'", pointer=f"{pointer}.name", first=f"$.cases[{first}].name")
        yield from _clock_flaw(case.clock, f"{pointer}.clock")
        for below, turn in case.turns:
            yield from _expected_flaws(turn.expect, f"{pointer}{below}.expect")


def _clock_flaw(clock: str | None, pointer: str) -> Iterator[Problem]:
    try:
        zoned = clock is None or datetime.fromisoformat(clock).tzinfo is not None
    except ValueError:
        zoned = False
    if not zoned:
        yield Problem(message=f"expected a date and time with a zone, got '{clock}'", pointer=pointer, hint="such as 2026-01-01T12:00:00Z")


def _expected_flaws(expect: Expected, pointer: str) -> Iterator[Problem]:
    if expect.reason and expect.reason not in REASON_INDEX:
        yield Problem(message=f"there is no reason '{expect.reason}'", pointer=f"{pointer}.reason", hint="gw/errors.py and docs/access-log.md list them")
    patterns = [(f"{pointer}.{where}.headers", name, value) for where, name, value in _patterns(expect)]
    if expect.answer and expect.answer.body is not None:
        patterns.append((f"{pointer}.answer", "body", expect.answer.body))
    if isinstance(expect.origin, Sent) and expect.origin.body is not None:
        patterns.append((f"{pointer}.origin", "body", expect.origin.body))
    for place, name, value in patterns:
        if isinstance(value, str) and value.startswith("~"):
            try:
                Regex(value[1:])
            except ValueError as error:
                yield Problem(message=f"'{value[1:]}': {error}", pointer=join(place, name))


def _patterns(expect: Expected) -> Iterator[tuple[str, str, Pattern]]:
    if isinstance(expect.origin, Sent):
        yield from (("origin", name, value) for name, value in expect.origin.headers.items())
    if expect.answer:
        yield from (("answer", name, value) for name, value in expect.answer.headers.items())


def unused(file: CaseFile, sources: Iterable[Source]) -> Iterator[Problem]:
    """Data of sources that no policy follows."""
    known = [msgspec.to_builtins(source) for source in sources]
    for index, given in enumerate(file.sources):
        if not any(map(given.is_for, known)):
            followed = "; ".join(", ".join(f"{name}: {value}" for name, value in each.items()) for each in known)
            yield Problem(message="no policy of this config follows such a source", pointer=f"$.sources[{index}]", hint=f"followed: {followed or 'none'}")


class Trial:
    """The cases of one file against one config. `data` is what sources published, by key, beyond what the file gives."""

    def __init__(self, config: Config, file: CaseFile, make: Compile, data: dict[str, bytes] | None = None) -> None:
        self.config = config
        self.file = file
        self.coverage = Coverage()
        self._make = make
        self._data = data or {}

    async def run(self, index: int) -> Outcome:
        """Run one case on an engine that has served nothing yet."""
        case, pointer = self.file.cases[index], f"$.cases[{index}]"
        began = time.perf_counter()
        engine = Engine(*self._make())
        try:
            self.coverage.learn(engine.snapshot)
            outcome = await self._turns(engine, case, pointer)
        finally:
            engine.close()
        outcome.ms = (time.perf_counter() - began) * 1000
        return outcome

    async def _turns(self, engine: Engine, case: Case, pointer: str) -> Outcome:
        outcome = Outcome(case.name, pointer)
        engine.give(self._chosen)
        wall, passed = datetime.fromisoformat(case.clock or self.file.clock).timestamp(), 0.0
        request, reply = case.request, None
        for below, turn in case.turns:
            request, passed = turn.request or request, passed + turn.after
            reply = _reply(turn.origin_answer) or reply
            for count in range(1, turn.repeat + 1):
                try:
                    sent = None if request.body is None else request.body.encode()
                    decision = await engine.ask(request.method, request.url, _listed(request.headers), request.client, wall + passed, START + passed, body=sent, reply=reply)
                except ValueError as error:
                    outcome.differences.append(Difference(f"{pointer}{below}.request", "a request that can be sent", str(error)))
                    return outcome
                self.coverage.count(decision)
                outcome.differences = list(_differences(self.config, turn.expect, f"{pointer}{below}.expect", decision))
                outcome.decision, outcome.decided, outcome.count = decision, decided(decision), count if turn.repeat > 1 else 0
                if outcome.differences:
                    outcome.reports = [_sentence(event, fields) for event, fields in engine.reports]
                    return outcome
        return outcome

    def _chosen(self, key: str, settings: dict[str, Any]) -> bytes | None:
        given = (each.data.encode() for each in self.file.sources if each.is_for(settings))
        return next(given, self._data.get(key))


def _sentence(event: str, fields: dict[str, object]) -> str:
    """An event of the error log without what only a log needs."""
    told = [f"{key} {value}" for key, value in fields.items() if key not in ("traceback", "request_id")]
    return f"{event}: {', '.join(told)}" if told else event


def decided(decision: Decision) -> str:
    """Where in the config that stands which decided: the policy that ended the exchange, or the route; empty when no route took the request."""
    last = decision.verdicts[-1] if decision.verdicts else None
    if last and last.verdict == "answer" and last.pointer:
        return last.pointer
    return f"$.routes[{decision.route}]" if decision.route >= 0 else ""


def _reply(answer: OriginAnswer | None) -> Reply | None:
    return Reply(answer.status, _listed(answer.headers), answer.body.encode()) if answer else None


def _listed(headers: dict[str, str | list[str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, values in headers.items() for value in ([values] if isinstance(values, str) else values)]


def _differences(config: Config, expect: Expected, pointer: str, decision: Decision) -> Iterator[Difference]:
    for name, found in _facts(config, decision).items():
        wanted = getattr(expect, name)
        if wanted is not None and wanted != found:
            yield Difference(f"{pointer}.{name}", _shown(wanted), f"{_shown(found)}{_because(name, decision)}")
    for name, wanted in asdict(expect.identity).items():
        found = decision.identity.get(name, "")
        if wanted is not None and wanted != found:
            yield Difference(f"{pointer}.identity.{name}", _shown(wanted), _shown(found))
    ran = [{each.policy if each.phase == "request" else f"{each.policy}.{each.phase}": each.verdict} for each in decision.verdicts if each.pointer]
    if expect.policies is not None and expect.policies != ran:
        yield Difference(f"{pointer}.policies", _listing(expect.policies), _listing(ran))
    yield from _origin_differences(expect.origin, f"{pointer}.origin", decision)
    if expect.answer is not None:
        yield from _answer_differences(expect.answer, f"{pointer}.answer", decision.answer)


def _facts(config: Config, decision: Decision) -> dict[str, str | int]:
    route = config.routes[decision.route] if decision.route >= 0 else None
    service = (route.service or "") if route and decision.forwarded else ""
    endpoint = config.services[service].endpoints[decision.endpoint] if decision.endpoint >= 0 else ""
    return {
        "status": decision.status,
        "reason": decision.reason,
        "route": route_name(route) if route else "",
        "service": service,
        "endpoint": endpoint.address if isinstance(endpoint, Endpoint) else endpoint,
        "consumer": decision.identity.get("consumer", ""),
    }


def _because(name: str, decision: Decision) -> str:
    if name != "status" or (decision.status and not decision.reason):
        return ""
    return f" ({f'{decision.reason}: {decision.detail}' if decision.detail else decision.reason})" if decision.reason else " (forwarded)"


def _shown(value: object) -> str:
    return msgspec.json.encode(value).decode()


def _listing(ran: list[dict[str, Any]]) -> str:
    return ", ".join(f"{name}: {verdict}" for each in ran for name, verdict in each.items()) or "none"


def _origin_differences(expect: Sent | bool | None, pointer: str, decision: Decision) -> Iterator[Difference]:
    head = decision.forwarded
    if expect is None:
        return
    if not head or expect is False:
        if bool(head) != (expect is not False):
            yield Difference(pointer, "a forwarded request" if expect else "nothing", "a forwarded request" if head else "nothing is forwarded")
        return
    if isinstance(expect, Sent):
        line, fields, _ = _parts(head)
        path = line.split(" ")[1]
        if expect.path is not None and expect.path != path:
            yield Difference(f"{pointer}.path", _shown(expect.path), _shown(path))
        yield from _field_differences(expect.headers, f"{pointer}.headers", fields)
        if expect.body is not None:
            yield from _body_differences(expect.body, f"{pointer}.body", decision.forwarded_body)


def _body_differences(expect: str, pointer: str, body: bytes | None) -> Iterator[Difference]:
    text = (body or b"").decode(errors="replace")
    if body is None or not _matches(expect, text):
        yield Difference(pointer, _shown(expect), "a body that the case does not tell" if body is None else _shown(text))


def _answer_differences(expect: SentAnswer, pointer: str, answer: bytes) -> Iterator[Difference]:
    if not answer:
        yield Difference(pointer, "an answer", "the request is forwarded, and the case does not say what the endpoint answers")
        return
    _, fields, body = _parts(answer)
    yield from _field_differences(expect.headers, f"{pointer}.headers", fields)
    if expect.body is not None and not _matches(expect.body, body):
        yield Difference(f"{pointer}.body", _shown(expect.body), _shown(body))
    if expect.members:
        yield from _member_differences(expect.members, f"{pointer}.members", body)


def _member_differences(expect: dict[str, Any], pointer: str, body: str) -> Iterator[Difference]:
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError as error:
        yield Difference(pointer, "a JSON object", f"{_shown(body)}: {error}")
        return
    for name, wanted in expect.items():
        if name not in members or members[name] != wanted:
            yield Difference(join(pointer, name), _shown(wanted), _shown(members[name]) if name in members else "no such member")


def _parts(message: bytes) -> tuple[str, list[tuple[str, str]], str]:
    head, _, body = message.partition(b"\r\n\r\n")
    line, *fields = head.decode("latin-1").split("\r\n")
    return line, [(name.lower(), value) for name, _, value in (each.partition(": ") for each in fields)], body.decode(errors="replace")


def _field_differences(expect: dict[str, Pattern], pointer: str, fields: list[tuple[str, str]]) -> Iterator[Difference]:
    for name, wanted in expect.items():
        found = [value for key, value in fields if key == name.lower()]
        if not _holds(wanted, found):
            words = {True: "present", False: "absent"}
            shown = words[wanted] if isinstance(wanted, bool) else _shown(wanted)
            yield Difference(join(pointer, name), shown, ", ".join(map(_shown, found)) or "absent")


def _holds(wanted: Pattern, found: list[str]) -> bool:
    if isinstance(wanted, bool):
        return bool(found) is wanted
    return found == wanted if isinstance(wanted, list) else len(found) == 1 and _matches(wanted, found[0])


def _matches(pattern: str, text: str) -> bool:
    return Regex(pattern[1:]).match(text.encode()) if pattern.startswith("~") else pattern == text
