"""The policies of a route, built into steps in the order they are read: the gateway's, the service's, the route's; and those of a consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from gw._fast.alternative import ForgetStep, MarkStep
from gw._fast.hooks import check_fields
from gw._fast.identity import FIELDS, IdentityStep
from gw._fast.python_step import PythonStep
from gw._fast.shm import Segment
from gw._fast.step import HeaderStep, Step
from gw.config import Config, convert, policies_of, written_policies
from gw.config.model import Route
from gw.config.node import join
from gw.config.policies import ALL, ANY, WrittenPolicy, leaves
from gw.errors import ConfigError, Problem
from gw.policy import Challenge, Hooks, Kind, Policy, Tools, find, load_shed
from gw.store import Source

ANONYMOUS = "anonymous"  # the policy that takes whoever presents no credential


class Place:
    """A position among steps that is not known yet."""

    def __init__(self) -> None:
        self.position = 0


class Plan(Struct):
    """Steps, and where to go on behind those that are alternatives: position -> (when it passes, when it refuses); None = as usual."""

    steps: list[Step] = []
    places: dict[int, tuple[Place | None, Place | None]] = {}

    @property
    def jumps(self) -> dict[int, tuple[int, int]]:
        """As Snapshot takes them: 0 = as usual."""
        return {at: (then.position if then else 0, other.position if other else 0) for at, (then, other) in self.places.items()}

    def guard(self) -> None:
        """Drop a client's own copies of fields that a step sets which may be passed over: first of all, so that no policy believes them."""
        owned = sorted({name for step in self.steps for name in step.owns})
        if not owned or not self.places:
            return
        self.steps.insert(0, HeaderStep("identity", [("remove", name, "") for name in owned], []))
        for place in {place for pair in self.places.values() for place in pair if place}:
            place.position += 1
        self.places = {at + 1: pair for at, pair in self.places.items()}


class StepBuilder:
    """Finds each policy once per snapshot and builds it once per route or consumer."""

    def __init__(self, config: Config, base: Path, segment: Segment) -> None:
        self.config = config
        self.base = base
        self.segment = segment
        self.folders = [base / folder for folder in config.modules]
        self.found: dict[str, Policy] = {}
        self.sources: list[tuple[Source, Callable[[bytes], None]]] = []
        self.store = base / config.store.file if config.store and config.store.file else None
        self.shared = config.store is not None and config.store.redis is not None
        self.made: dict[str, Any] = {}
        self.challenges: dict[str, Challenge] = {}  # by the pointer of the policy
        self.tells = IdentityStep({field: getattr(config.identity, field) for field in FIELDS})
        self.authenticates = any(self._kind(each) == "authentication" for each in written_policies(config))

    @property
    def files(self) -> list[Path]:
        """Modules of the operator's own that were read, for watching."""
        return [policy.file for policy in self.found.values() if policy.file]

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each policy that was built is for, by its name."""
        return {name: policy.kind for name, policy in self.found.items()}

    def of(self, route: Route, index: int, name: str, params: Sequence[str]) -> Plan:
        """The steps of a route with these path parameters. Raises ConfigError."""
        written = written_for(self.config, index)
        if self.config.access == "deny" and not (route.public or any(map(self._guards, written))):
            raise ConfigError([_unguarded(index, name)])
        plan = self._plan(written, self._tools(name, route.service or "", params, self._challenges(written)))
        plan.guard()
        if self.authenticates:
            plan.steps.append(self.tells)
        return plan

    def of_consumer(self, name: str) -> Plan:
        """The steps that run behind any route's once this consumer is known. Raises ConfigError."""
        written = policies_of(self.config.consumers[name].policies, f"$.consumers.{name}.policies")
        return self._plan(written, self._tools(f"consumer:{name}", "", (), self._all_challenges)) if written else Plan()

    def _kind(self, written: WrittenPolicy) -> str:
        try:
            return self._find(written).kind
        except ConfigError:  # told when the route that uses it is built
            return "custom"

    def _guards(self, written: WrittenPolicy) -> bool:
        """Whether not everybody may pass; of alternatives each one must see to that."""
        if written.members:
            return (all if written.name == ANY else any)(map(self._guards, written.members))
        return written.name != ANONYMOUS and self._find(written).kind in ("authentication", "authorisation")

    def _find(self, written: WrittenPolicy) -> Policy:
        policy = self.found.get(written.name) or find(written.name, self.folders, written.pointer)
        self.found[written.name] = policy
        return policy

    def _tools(self, route: str, service: str, params: Sequence[str], challenges: list[tuple[str, Challenge]]) -> Tools:
        return Tools(route, "", service, self.base, self.segment, self.config.consumers, self.sources, params, self.store, self.shared, self.made, challenges)

    @cached_property
    def _all_challenges(self) -> list[tuple[str, Challenge]]:
        return self._challenges(written_policies(self.config))

    def _challenges(self, written: Iterable[WrittenPolicy]) -> list[tuple[str, Challenge]]:
        found = []
        for each in leaves(written):
            with suppress(ConfigError):  # told when its step is built
                found.append((each.name, self._challenge(each)))
        return [(name, challenge) for name, challenge in found if challenge]

    def _challenge(self, written: WrittenPolicy) -> Challenge:
        if written.pointer not in self.challenges:
            policy = self._find(written)
            self.challenges[written.pointer] = _asked(policy, convert(written.config, policy.config, written.pointer), written.pointer) if policy.challenge else {}
        return self.challenges[written.pointer]

    def _plan(self, written: Sequence[WrittenPolicy], tools: Tools) -> Plan:
        plan = Plan()
        for each in written:
            self._add(plan, each, tools, None, None)
        return plan

    def _add(self, plan: Plan, written: WrittenPolicy, tools: Tools, then: Place | None, other: Place | None) -> None:
        """Append one policy, or a combination of several: behind it goes on at `then` when it passes, at `other` when it refuses."""
        if written.name == ALL:
            for member in written.members:
                self._add(plan, member, tools, then if member is written.members[-1] else None, other)
        elif written.name == ANY:
            end = then or Place()
            self._add_any(plan, written, tools, end, other)
            if then is None:
                end.position = len(plan.steps)
        else:
            if then or other:
                self._may_be_alternative(written)
                plan.places[len(plan.steps)] = (then, other)
            plan.steps.append(self._step(written, tools))

    def _add_any(self, plan: Plan, written: WrittenPolicy, tools: Tools, end: Place, other: Place | None) -> None:
        for member in written.members:
            last = member is written.members[-1]
            following = other if last else Place()
            if following and self._leaves_traces(member):
                self._add_traceless(plan, member, tools, end, following)
            else:
                self._add(plan, member, tools, end, following)
            if not last and following:
                following.position = len(plan.steps)

    def _add_traceless(self, plan: Plan, member: WrittenPolicy, tools: Tools, end: Place, following: Place) -> None:
        """As _add, but what it did before it refuses is undone."""
        mark, refused = MarkStep(ANY), Place()
        plan.steps.append(mark)
        self._add(plan, member, tools, end, refused)
        refused.position = len(plan.steps)
        plan.places[len(plan.steps)] = (None, following)
        plan.steps.append(ForgetStep(ANY, mark))

    def _leaves_traces(self, member: WrittenPolicy) -> bool:
        """Whether it may have edited heads or named a caller, and refuse all the same: compiled policies by themselves do not."""
        return member.name == ALL or (member.name != ANY and self._find(member).file is not None)

    def _may_be_alternative(self, written: WrittenPolicy) -> None:
        if self._find(written).kind != "authentication":
            raise ConfigError([Problem(message=f"policy '{written.name}' does not authenticate: it cannot be an alternative in any-of", pointer=written.pointer, at_key=True)])

    def _step(self, written: WrittenPolicy, tools: Tools) -> Step:
        policy = self._find(written)
        config = convert(written.config, policy.config, written.pointer)
        self._challenge(written)
        built = self._built(policy, config, replace(tools, pointer=written.pointer))
        if isinstance(built, Step):
            return _placed(built, written)
        if not isinstance(built, Hooks):
            raise ConfigError([Problem(message=f"policy '{policy.name}': build() returned {type(built).__name__}, expected Hooks", pointer=written.pointer)])
        try:
            step = PythonStep(
                policy.name,
                built.request,
                built.response,
                built.done,
                built.attached,
                self._slot(written),
                self._budget(policy),
                request_body=built.request_body,
                origin_request=built.origin_request,
                response_body=built.response_body,
                body_limit=built.body_limit,
            )
            return _placed(step, written)
        except (TypeError, ValueError) as error:
            raise ConfigError([Problem(message=str(error), pointer=written.pointer)]) from None

    def _slot(self, written: WrittenPolicy) -> int:
        try:
            return self.segment.policy_slot(policy_key(written.name))
        except OverflowError as error:
            raise ConfigError([Problem(message=str(error), pointer=written.pointer, hint="names of earlier revisions count: restart gw")]) from None

    def _budget(self, policy: Policy) -> dict[str, int] | None:
        """The fields of a compiled Budget."""
        budget = self.config.budgets.get(policy.name, self.config.process.hook_budget)
        if budget is None:
            return None
        skips = policy.kind not in ("authentication", "authorisation") if budget.quarantined is None else budget.quarantined == "skip"
        most = int(budget.over * budget.window)
        return {"time_us": round(budget.time * 1_000_000), "window": budget.window, "most": most, "quarantine": budget.action == "quarantine", "skips": skips}

    def _built(self, policy: Policy, config: Any, tools: Tools) -> Any:
        try:
            return policy.build(config, tools)
        except ConfigError:
            raise
        except Exception as error:
            if policy.file is None:
                raise
            raise ConfigError([Problem(message=f"policy '{policy.name}': build() raised {type(error).__name__}: {error}", pointer=tools.pointer)]) from error


def policy_key(name: str) -> bytes:
    """Under which the segment counts what a policy's Python hooks take."""
    return f"policy:{name}".encode()


def _asked(policy: Policy, config: Any, pointer: str) -> Challenge:
    """What the module says, if it can be sent."""
    try:
        asked = policy.challenge(config) if policy.challenge else {}
        check_fields(asked)
    except Exception as error:
        if policy.file is None:
            raise
        raise ConfigError([Problem(message=f"policy '{policy.name}': challenge(): {type(error).__name__}: {error}", pointer=pointer)]) from error
    return asked


def loads_of(config: Config) -> dict[tuple[str, str, str, str], bytes]:
    """What `load-shed` learns with: service, `least`, `most` and `tolerance`, and under which key the segment shows it."""
    found = {}
    for index, route in enumerate(config.routes):
        for each in leaves(written_for(config, index)) if route.service else ():
            if each.name == "load-shed":
                settings = convert(each.config, load_shed.Config, each.pointer)
                found[route.service or "", str(settings.least), str(settings.most), f"{settings.tolerance:g}"] = load_shed.load_key(route.service or "", settings)
    return found


def _placed(step: Step, written: WrittenPolicy) -> Step:
    step.pointer = written.pointer
    return step


def written_for(config: Config, index: int) -> list[WrittenPolicy]:
    """The policies of a route in the order in which they run: the gateway's, its service's, its own."""
    route = config.routes[index]
    service = policies_of(config.services[route.service].policies, f"{join('$.services', route.service)}.policies") if route.service else []
    return [*policies_of(config.policies, "$.policies"), *service, *policies_of(route.policies, f"$.routes[{index}].policies")]


def _unguarded(index: int, name: str) -> Problem:
    hint = "add a policy that authenticates or authorises, or say `public: true` on the route"
    return Problem(message=f"`access: deny`, and nothing guards route '{name}'", pointer=f"$.routes[{index}]", hint=hint)
