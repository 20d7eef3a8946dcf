"""When a dead worker is replaced, and when a silent one is killed."""

from __future__ import annotations

import signal
import subprocess

import pytest

from gw.server.slots import KILL_AFTER, LAST_DELAY, LOOP_DEATHS, LOOP_LIFE, STUCK_AFTER, TICK_MAX, Backoff, Exit, Pulse


def test_the_first_deaths_are_answered_at_once() -> None:
    backoff = Backoff()
    assert [backoff.died(0.1, served=False) for _ in range(LOOP_DEATHS - 1)] == [0.0] * (LOOP_DEATHS - 1)


def test_a_loop_is_slowed_down_to_a_bound() -> None:
    backoff = Backoff()
    delays = [backoff.died(0.1, served=False) for _ in range(15)][LOOP_DEATHS - 1 :]
    assert delays[:4] == [0.2, 0.4, 0.8, 1.6]
    assert delays == sorted(delays)
    assert delays[-1] == LAST_DELAY


@pytest.mark.parametrize(("lived", "served"), [(LOOP_LIFE + 0.1, False), (0.1, True)])
def test_a_long_life_or_a_useful_one_ends_the_loop(lived: float, served: bool) -> None:
    backoff = Backoff()
    for _ in range(10):
        backoff.died(0.1, served=False)
    assert backoff.died(lived, served) == 0.0
    assert backoff.died(0.1, served=False) == 0.0


def test_a_beating_heart_is_alive() -> None:
    pulse = Pulse()
    assert {pulse.look(beat, float(beat)) for beat in range(1, 100)} == {"alive"}


def test_a_silence_is_said_once_and_ends_in_a_kill() -> None:
    pulse = Pulse()
    said = [pulse.look(7, float(now)) for now in range(1, 40)]
    assert said.count("stuck") == 1
    assert said.index("stuck") == STUCK_AFTER
    assert said.index("dead") == KILL_AFTER


def test_a_heart_that_beats_again_may_stop_again() -> None:
    pulse = Pulse()
    first = [pulse.look(7, float(now)) for now in range(1, 10)]
    second = [pulse.look(8, float(now)) for now in range(10, 20)]
    assert "stuck" in first
    assert second[0] == "alive"
    assert "stuck" in second


def test_a_pause_of_the_watcher_blames_nobody() -> None:
    pulse = Pulse()
    pulse.look(7, 1.0)
    assert pulse.look(7, 1000.0) == "alive"
    assert pulse.look(7, 1000.0 + TICK_MAX) == "alive"


@pytest.mark.parametrize(("command", "expected"), [("exit 3", Exit(3, None)), ("kill -9 $$", Exit(None, "SIGKILL"))])
def test_how_a_process_ended(command: str, expected: Exit) -> None:
    done = subprocess.run(["/bin/sh", "-c", command], check=False)
    status = done.returncode << 8 if done.returncode >= 0 else -done.returncode
    assert Exit.of(status) == expected


def test_a_realtime_signal_has_a_name_or_number() -> None:
    assert Exit.of(int(signal.SIGRTMIN) + 2).signal == str(int(signal.SIGRTMIN) + 2)
