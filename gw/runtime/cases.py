"""What a file of cases says: requests with a clock, and what is expected of them. `gw schema --tests` is made from here."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from gw.config.units import Bounds, Duration

SPAN = Bounds(0, 366 * 86400.0)
MATCH = "A value, `~regex` over the whole value, `true` present, `false` absent, or a list of all values in order."


class CaseRequest(Struct, forbid_unknown_fields=True, frozen=True):
    """One request."""

    method: Annotated[str, Meta(description="GET, POST ...")] = "GET"
    url: Annotated[str, Meta(min_length=1, description="A path such as `/users/7?x=1`, or a whole URL; `https://` counts as TLS.")] = "/"
    headers: Annotated[dict[str, str | list[str]], Meta(description="Header fields; a list is a field for each of its values.")] = field(default_factory=dict)
    body: Annotated[str | None, Meta(description="The body; `file:PATH` is the content of a file. Unset means that only the head is told.")] = None
    client: Annotated[str, Meta(min_length=1, description="Address of the client.")] = "127.0.0.1"


class OriginAnswer(Struct, forbid_unknown_fields=True, frozen=True):
    """What the endpoint is said to answer."""

    status: Annotated[int, Meta(ge=200, le=599, description="A final status.")] = 200
    headers: Annotated[dict[str, str | list[str]], Meta(description="Header fields; a list is a field for each of its values.")] = field(default_factory=dict)
    body: Annotated[str, Meta(description="The body; `file:PATH` is the content of a file.")] = ""


class Sent(Struct, forbid_unknown_fields=True, frozen=True):
    """What the endpoint would get."""

    path: Annotated[str | None, Meta(description="Path and query.")] = None
    headers: Annotated[dict[str, str | bool | list[str]], Meta(description=MATCH)] = field(default_factory=dict)
    body: Annotated[str | None, Meta(description="The whole body, or `~regex` over it.")] = None


class SentAnswer(Struct, forbid_unknown_fields=True, frozen=True):
    """The answer that the client gets, response hooks applied: gw's own, or the endpoint's where a case says it."""

    headers: Annotated[dict[str, str | bool | list[str]], Meta(description=MATCH)] = field(default_factory=dict)
    body: Annotated[str | None, Meta(description="The whole body, or `~regex` over it.")] = None
    members: Annotated[dict[str, Any], Meta(description="Members that the body has, which is a JSON object.")] = field(default_factory=dict)


class Caller(Struct, forbid_unknown_fields=True, frozen=True):
    """Who calls, as far as policies found out; empty = not known."""

    method: Annotated[str | None, Meta(description="Policy that proved it.")] = None
    subject: Annotated[str | None, Meta(description="What the credential names.")] = None
    credential: Annotated[str | None, Meta(description="Id of the credential.")] = None
    groups: Annotated[str | None, Meta(description="Groups of the credential, comma-separated.")] = None
    scopes: Annotated[str | None, Meta(description="Scopes of the token, space-separated.")] = None


class Expected(Struct, forbid_unknown_fields=True, frozen=True):
    """What must hold. A key that is left out is not looked at."""

    status: Annotated[int | None, Meta(description="Status that the client gets; 0 = the request is forwarded, and the case does not say what the endpoint answers.")] = None
    reason: Annotated[str | None, Meta(description="Why gw refuses, from the closed list of reasons; empty = it does not.")] = None
    route: Annotated[str | None, Meta(description="Name of the route that takes the request, as in logs; empty = none does.")] = None
    service: Annotated[str | None, Meta(description="Service the request is forwarded to; empty = it is not forwarded.")] = None
    endpoint: Annotated[str | None, Meta(description="Endpoint it is forwarded to, as written in the service.")] = None
    consumer: Annotated[str | None, Meta(description="Name of the consumer that calls; empty = none is known.")] = None
    identity: Annotated[Caller, Meta(description="What else is known of the caller.")] = field(default_factory=Caller)
    policies: Annotated[
        list[dict[str, Literal["pass", "next", "answer"]]] | None,
        Meta(
            description="Policies that run, in order, with what each does: `pass`, `next` (refuses, and the next alternative is tried), `answer` (ends the exchange). "
            "Hooks behind the head's are written with their phase, as `name.request_body`."
        ),
    ] = None
    origin: Annotated[Sent | bool | None, Meta(description="What the endpoint would get; `true` = anything, `false` = nothing.")] = None
    answer: Annotated[SentAnswer | None, Meta(description="What the client gets.")] = None


class Turn(Struct, forbid_unknown_fields=True, frozen=True):
    """A further request of a case: limits and policies remember those before it."""

    request: Annotated[CaseRequest | None, Meta(description="Unset means the same as before.")] = None
    origin_answer: Annotated[OriginAnswer | None, Meta(description="What the endpoint answers if it is asked. Unset means the same as before.")] = None
    after: Annotated[Duration, SPAN, Meta(description="How far the clocks go on before it.")] = Duration(0)
    repeat: Annotated[int, Meta(ge=1, le=100_000, description="How many times it is made; what is expected must hold every time.")] = 1
    expect: Annotated[Expected, Meta(description="What must hold.")] = field(default_factory=Expected)


class Case(Struct, forbid_unknown_fields=True, frozen=True):
    """One request, or several in turn, before a gw that has just started."""

    name: Annotated[str, Meta(min_length=1, description="What it shows.")]
    request: Annotated[CaseRequest, Meta(description="The request.")] = field(default_factory=CaseRequest)
    origin_answer: Annotated[OriginAnswer | None, Meta(description="What the endpoint answers if it is asked. Unset means that nobody knows.")] = None
    clock: Annotated[str | None, Meta(description="Date and time at its beginning, with a zone: `2026-01-01T12:00:00Z`. Unset means the file's.")] = None
    repeat: Annotated[int, Meta(ge=1, le=100_000, description="How many times it is made; what is expected must hold every time.")] = 1
    expect: Annotated[Expected, Meta(description="What must hold.")] = field(default_factory=Expected)
    then: Annotated[list[Turn], Meta(description="Further requests.")] = field(default_factory=list)

    @property
    def turns(self) -> list[tuple[str, Turn]]:
        """Every turn with its pointer below the case's own, the first one included."""
        return [("", Turn(self.request, self.origin_answer, Duration(0), self.repeat, self.expect)), *((f".then[{index}]", turn) for index, turn in enumerate(self.then))]


class GivenSource(Struct, forbid_unknown_fields=True, frozen=True):
    """Data in place of what a policy would have fetched."""

    data: Annotated[str, Meta(description="The data; `file:PATH` is the content of a file.")]
    match: Annotated[dict[str, Any], Meta(description="Settings of the sources meant, such as `url`; empty means all.")] = field(default_factory=dict)

    def is_for(self, settings: dict[str, Any]) -> bool:
        """Whether a source with these settings is meant."""
        return all(name in settings and settings[name] == value for name, value in self.match.items())


class CaseFile(Struct, forbid_unknown_fields=True, frozen=True):
    """A file `*.test.yaml` (or `.json`, `.toml`)."""

    cases: Annotated[list[Case], Meta(min_length=1, description="Each begins anew: nothing that one does is seen by another.")]
    config: Annotated[str | None, Meta(description="Config the cases are about, relative to this file. Unset means the one beside it, or above its folder `tests`.")] = None
    clock: Annotated[str, Meta(description="Date and time at which cases begin that set none.")] = "2026-01-01T00:00:00Z"
    sources: Annotated[list[GivenSource], Meta(description="Data of sources that the supervisor would follow; the first that matches counts.")] = field(default_factory=list)
