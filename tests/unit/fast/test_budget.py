"""What Python hooks cost: times by policy and phase, budgets, and policies that are set aside until the next reload; through real sockets."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.fast.rig import Client, Make, Origin, Rig, behind

# Holds the worker up for 20 ms in the hook that `text` names.
SLOW = """
import time

def build(config: Config, tools: Tools) -> Hooks:
    def hold(phase):
        def hook(request: Request) -> None:
            SEEN.append(phase)
            if config.text == phase:
                time.sleep(0.02)
        return hook
    async def turns(request: Request) -> None:
        await asyncio.sleep(0)
        hold("turns")(request)
    return Hooks(request=turns if config.text == "turns" else hold("request"), response=hold("response"), done=hold("done"))
"""
GUARD = "KIND = 'authentication'\n" + SLOW
BUDGET = "process: {hook_budget: {time: 10ms, window: 4, over: 0.25, action: %s}}"


def totals(rig: Rig, name: str = "slow") -> dict[str, Any]:
    slot = rig.segment.find_policy(f"policy:{name}".encode())
    assert slot is not None
    found: dict[str, Any] = rig.segment.policy_totals(slot)
    return found


def slow(phase: str = "request") -> str:
    return f"slow: {{text: {phase}}}"


@pytest.mark.parametrize("phase", ["request", "response", "done"])
def test_times_are_counted_by_phase(rig: Make, origin: Origin, phase: str) -> None:
    made = rig(behind(origin, slow(phase)), slow=SLOW)
    with Client(made.port) as client:
        for _ in range(3):
            assert client.ask("/").status == 200
    made.quiet()
    found = totals(made)
    assert [found[each].count for each in ("request", "response", "done")] == [3, 3, 3]
    for each in ("request", "response", "done"):
        assert (found[each].sum_us >= 60_000) is (each == phase)
    assert (found["over"], found["skipped"], found["quarantined"]) == (0, 0, [0])


def test_an_asynchronous_hook_counts_by_its_turns(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, slow("turns"), more=BUDGET % "warn"), slow=SLOW)
    with Client(made.port) as client:
        assert client.ask("/").status == 200
    made.quiet()
    found = totals(made)
    assert found["request"].count >= 2
    assert found["over"] == 1


def test_one_policy_on_two_routes_is_counted_together_and_a_compiled_one_not_at_all(rig: Make, origin: Origin) -> None:
    config = "routes: [{path: /a, respond: {}, policies: [slow, headers]}, {path: /b, respond: {}, policies: [slow]}]"
    made = rig(config, slow=SLOW)
    with Client(made.port) as client:
        assert [client.ask(path).status for path in ("/a", "/b")] == [200, 200]
    made.quiet()
    assert totals(made)["request"].count == 2
    assert made.segment.find_policy(b"policy:headers") is None


def test_too_many_slow_calls_are_named_once_for_a_window(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, slow(), more=BUDGET % "warn"), slow=SLOW)
    with Client(made.port) as client:
        for _ in range(4):
            assert client.ask("/").status == 200
    made.quiet()
    events = made.said("hook-budget")
    assert [(each["policy"], each["budget_us"], each["over"], each["requests"]) for each in events] == [("slow", 10_000, 2, "none")]
    assert totals(made)["over"] == 4
    assert totals(made)["quarantined"] == [0]


def test_calls_within_the_budget_say_nothing(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, slow("none"), more="process: {hook_budget: {time: 5s, window: 4, over: 0, action: quarantine}}"), slow=SLOW)
    with Client(made.port) as client:
        for _ in range(9):
            assert client.ask("/").status == 200
    made.quiet()
    assert made.said("hook-budget") == []
    assert totals(made)["over"] == 0


def test_a_policy_is_set_aside_until_the_next_reload(rig: Make, origin: Origin) -> None:
    config = behind(origin, slow(), more=BUDGET % "quarantine")
    made = rig(config, slow=SLOW)
    with Client(made.port) as client:
        for _ in range(5):
            assert client.ask("/").status == 200
        made.quiet()
        ran = made.module("slow").SEEN.count("request")
        assert ran == 2
        assert [each["requests"] for each in made.said("hook-budget")] == ["skipped"]
        assert totals(made)["quarantined"] == [1]
        assert totals(made)["skipped"] >= 3 * 3
        made.reload(config)
        assert client.ask("/").status == 200
        made.quiet()
        assert made.module("slow").SEEN == ["request", "response", "done"]


def test_a_policy_that_guards_refuses_what_it_cannot_see_to(rig: Make, origin: Origin) -> None:
    made = rig(behind(origin, "guard: {text: request}", more=BUDGET % "quarantine"), guard=GUARD)
    with Client(made.port) as client:
        assert [client.ask("/").status for _ in range(2)] == [200, 503]
        answer = client.ask("/")
    assert answer.status == 503
    assert b"What decides about this request cannot be asked" in answer.body
    assert [each["requests"] for each in made.said("hook-budget")] == ["refused"]


# The first request spends the budget in its request hook: its own answer does not pass unseen either.
@pytest.mark.parametrize(("quarantined", "statuses"), [("refuse", [503, 503, 503]), ("skip", [200, 200, 200])])
def test_what_requests_get_can_be_said_and_a_policys_own_budget_wins(rig: Make, origin: Origin, quarantined: str, statuses: list[int]) -> None:
    own = f"budgets: {{slow: {{time: 10ms, over: 0, action: quarantine, quarantined: {quarantined}}}}}\nprocess: {{hook_budget: {{time: 5s}}}}"
    made = rig(behind(origin, slow(), more=own), slow=SLOW)
    with Client(made.port) as client:
        assert [client.ask("/").status for _ in range(3)] == statuses


def test_a_response_hook_that_must_see_every_answer_lets_none_pass_unseen(rig: Make, origin: Origin) -> None:
    own = "budgets: {slow: {time: 10ms, over: 0, action: quarantine, quarantined: refuse}}"
    only = SLOW.replace('Hooks(request=turns if config.text == "turns" else hold("request"), response', "Hooks(response")
    made = rig(behind(origin, slow("response"), more=own), slow=only)
    with Client(made.port) as client:
        assert client.ask("/").status == 200
        answer = client.ask("/")
        assert (answer.status, answer.all("X-Origin")) == (503, [])
