"""Keys that are made and revoked while gw runs: every worker knows within a second. See docs/policies/api-key.md."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from http.client import HTTPConnection

from gw.store import hashed
from tests.integration.conftest import Gateway, until

SOON = 1.0  # seconds
ROUTES = f"""
store: {{file: gw.db}}
consumers:
  alice: {{api_keys: [{{id: fixed, hash: '{hashed("fixed")}'}}]}}
routes: [{{path: /, respond: {{body: in}}, policies: [api-key: {{}}]}}]
"""


def keys(gateway: Gateway, *arguments: str) -> str:
    return subprocess.run([*gateway.command, "keys", *arguments, "--config", str(gateway.config)], check=True, capture_output=True, text=True).stdout.strip()


class Everyone:
    """A connection to each worker: the one that a worker's access shows in is not known, so there are many."""

    def __init__(self, gateway: Gateway, count: int = 16) -> None:
        self.connections = [HTTPConnection("127.0.0.1", gateway.port, timeout=5) for _ in range(count)]

    def close(self) -> None:
        for connection in self.connections:
            connection.close()

    def statuses(self, key: str) -> set[int]:
        found = set()
        for connection in self.connections:
            connection.request("GET", "/", headers={"X-API-Key": key})
            answer = connection.getresponse()
            answer.read()
            found.add(answer.status)
        return found


def served(gateway: Gateway) -> list[int]:
    return [worker["connections"] for worker in gateway.call("status")["workers"]]


def test_created_keys_work_and_revoked_ones_do_not_on_every_worker_within_a_second(gateway: Gateway) -> None:
    gateway.write(ROUTES)
    gateway.start()
    everyone = Everyone(gateway)
    assert everyone.statuses("fixed") == {200}
    until(lambda: all(served(gateway)), 10, "every worker has a connection")
    key = keys(gateway, "create", "alice")
    made = time.monotonic()
    until(lambda: everyone.statuses(key) == {200}, 5, "every worker knows the key")
    assert time.monotonic() - made < SOON
    keys(gateway, "revoke", key.split("_")[1])
    revoked = time.monotonic()
    until(lambda: everyone.statuses(key) == {401}, 5, "every worker refuses the key")
    assert time.monotonic() - revoked < SOON
    assert everyone.statuses("fixed") == {200}
    everyone.close()


def test_keys_outlive_reloads_workers_and_restarts(gateway: Gateway) -> None:
    gateway.write(ROUTES)
    gateway.start()
    key = keys(gateway, "create", "alice", "--expires", "1h")
    everyone = Everyone(gateway)
    until(lambda: everyone.statuses(key) == {200}, 5, "every worker knows the key")
    assert gateway.call("reload")["ok"]
    assert everyone.statuses(key) == {200}
    everyone.close()
    for pid in gateway.workers():
        os.kill(pid, 9)
    until(lambda: gateway.restarts() == 2 and gateway.call("status")["ready"], 10, "new workers")
    fresh = Everyone(gateway)
    assert fresh.statuses(key) == {200}
    fresh.close()
    gateway.call("stop", seconds=None)
    gateway.ends()
    gateway.start()
    until(lambda: len(gateway.said("serving")) == 2, 20, "it serves again")
    again = Everyone(gateway)
    assert again.statuses(key) == {200}
    again.close()


def test_a_gateway_that_follows_a_source_ends_without_a_complaint(gateway: Gateway) -> None:
    gateway.write(ROUTES)
    gateway.start()
    gateway.hears(signal.SIGTERM)
    gateway.ends()
    assert gateway.events()[-1]["event"] == "stopped"
