"""The policy `api-key`: where keys are found, what is refused, what origins see of it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gw._fast.shm import Segment
from gw.config import load
from gw.config.model import ApiKey, Consumer
from gw.errors import ConfigError
from gw.observe import open_log_file
from gw.policy import Tools
from gw.policy.api_key import Config, build
from gw.runtime import Engine, compile_snapshot
from gw.store import KeysSource, hashed, pack
from tests.unit.fast.rig import Client, Origin, Rig, behind, until

POINTER = "$.routes[0].policies[0].api-key"
ALICE = Consumer(api_keys=[ApiKey("a1", hashed("secret"))])
EVERYWHERE = "[header:X-API-Key, authorization:Bearer, query:api_key, cookie:key]"
CONSUMERS = f"""
consumers:
  nobody: {{}}
  alice: {{groups: [staff], api_keys: [{{id: a1, hash: '{hashed("secret")}'}}, {{id: a2, hash: '{hashed("a+b c%")}'}}]}}
  bob: {{api_keys: [{{id: b1, hash: '{hashed("hidden")}'}}]}}
"""

Make = Callable[..., Client]


@pytest.fixture
def client(client: Make) -> Make:
    """A client of a gateway whose only route has these policies."""
    return partial(client, more=CONSUMERS)


@pytest.fixture
def everywhere(client: Make) -> Client:
    return client(f"api-key: {{look_in: {EVERYWHERE}}}")


FOUND = [
    ("/", ["X-API-Key: secret"], "a1"),
    ("/", ["x-api-key:   secret  "], "a1"),
    ("/", ["X_API_Key: secret"], "a1"),
    ("/", ["X-API-Key: hidden", "Authorization: Bearer secret"], "b1"),
    ("/", ["Authorization: bearer   secret"], "a1"),
    ("/?api_key=secret", [], "a1"),
    ("/?api_key=a%2Bb+c%25", [], "a2"),
    ("/?x=1&api%5Fkey=secret&y", ["Authorization: Basic c2VjcmV0"], "a1"),
    ("/", ["Cookie: a=b; key=secret"], "a1"),
    ("/", ['Cookie: key="secret"'], "a1"),
    ("/", ["Cookie: a=b", "Cookie: c=d;key=secret"], "a1"),
]


@pytest.mark.parametrize(("path", "fields", "name"), FOUND)
def test_a_key_is_found_and_says_who_calls(everywhere: Client, path: str, fields: list[str], name: str) -> None:
    answer = everywhere.ask(path, *fields)
    assert answer.status == 200
    assert answer.sent("X-Credential") == [name]
    assert answer.sent("X-Consumer") == ["bob" if name == "b1" else "alice"]


REFUSED = [
    ("/", [], "no-credential"),
    ("/?api_keys=secret&key=secret", ["Cookie: api_key=secret; keys=secret; key", "X-Key: secret"], "no-credential"),
    ("/", ["Authorization: Bearersecret"], "no-credential"),
    ("/", ["Authorization: Basic c2VjcmV0"], "no-credential"),
    ("/", ["X-API-Key: Secret"], "invalid-credential"),
    ("/", ["X-API-Key: secre"], "invalid-credential"),
    ("/", ["X-API-Key: secrets"], "invalid-credential"),
    ("/", ["X-API-Key:"], "invalid-credential"),
    ("/", [f"X-API-Key: {hashed('secret')}"], "invalid-credential"),
    ("/", ["X-API-Key: wrong", "Authorization: Bearer secret"], "invalid-credential"),
    ("/", ["X-API-Key: secret", "X-API-Key: secret"], "invalid-credential"),
    ("/", ["X-API-Key: secret", "X_API-Key: hidden"], "invalid-credential"),
    ("/", ["Authorization: Bearer"], "invalid-credential"),
    ("/", ["Authorization: Bearer secret", "Authorization: Bearer hidden"], "invalid-credential"),
    ("/?api_key", [], "invalid-credential"),
    ("/?api_key=%zz", [], "invalid-credential"),
    ("/?api_key=secret&api%5fkey=hidden", [], "invalid-credential"),
    (f"/?api_key={'x' * 2049}", [], "invalid-credential"),
    ("/", ["Cookie: key=secret; key=hidden"], "invalid-credential"),
]


@pytest.mark.parametrize(("path", "fields", "reason"), REFUSED)
def test_anything_else_is_refused_with_its_reason(everywhere: Client, path: str, fields: list[str], reason: str) -> None:
    answer = everywhere.ask(path, *fields)
    assert answer.status == 401
    assert msgspec.json.decode(answer.body)["type"].endswith(reason)
    assert answer.all("WWW-Authenticate") == ['ApiKey realm="gw"', 'Bearer realm="gw"']


HIDDEN = [
    ("/a?x=1&api_key=secret&y=2", [], "/a?x=1&y=2", []),
    ("/a?api_key=secret", [], "/a", []),
    ("/a?api_key=secret&&y", [], "/a?y", []),
    ("/a?y&api%5Fkey=secret", ["Cookie: a=b"], "/a?y", ["a=b"]),
    ("/a?y=1&", ["Cookie: key=secret"], "/a?y=1&", []),
    ("/", ["Cookie: key=secret; a=b;c=d"], "/", ["a=b;c=d"]),
    ("/", ["Cookie: a=b; key=secret; c=d"], "/", ["a=b; c=d"]),
    ("/", ["Cookie: a=b;key=secret", "Cookie: c=d"], "/", ["a=b", "c=d"]),
    ("/?api_key=hidden", ["X-API-Key: secret", "Cookie: key=hidden"], "/", []),
]


@pytest.mark.parametrize(("path", "fields", "kept", "cookies"), HIDDEN)
def test_origins_do_not_see_keys(everywhere: Client, path: str, fields: list[str], kept: str, cookies: list[str]) -> None:
    answer = everywhere.ask(path, *fields)
    assert answer.told["path"] == kept
    assert answer.sent("Cookie") == cookies
    told = str(answer.told)
    assert "secret" not in told
    assert "hidden" not in told


@pytest.mark.parametrize("field", ["X-API-Key: secret", "X_Api_Key: secret", "Authorization: Bearer secret"])
def test_fields_with_keys_go_in_every_spelling(everywhere: Client, field: str) -> None:
    answer = everywhere.ask("/", field, "Accept: text/plain")
    assert "secret" not in str(answer.told)
    assert answer.sent("Accept") == ["text/plain"]


def test_an_authorization_that_is_not_the_key_stays(everywhere: Client) -> None:
    assert everywhere.ask("/", "X-API-Key: secret", "Authorization: Basic eDp5").sent("Authorization") == ["Basic eDp5"]


def test_a_key_can_be_shown_to_the_origin(client: Make) -> None:
    shown = client(f"api-key: {{look_in: {EVERYWHERE}, hide_credential: false}}")
    assert shown.ask("/", "X-API-Key: secret").sent("X-API-Key") == ["secret"]
    assert shown.ask("/?api_key=secret").told["path"] == "/?api_key=secret"


def test_the_next_alternative_sees_what_this_one_refused(client: Make) -> None:
    asked = client("any-of: [{api-key: {look_in: [query:a]}}, {api-key: {look_in: [query:b]}}]")
    answer = asked.ask("/?a=wrong&b=secret")
    assert answer.told["path"] == "/?a=wrong"
    assert answer.sent("X-Consumer") == ["alice"]


PAIRS = st.lists(st.tuples(st.sampled_from(["key", "k", "keys", ""]), st.sampled_from(["secret", "v", ""])), max_size=6)


@given(PAIRS, PAIRS)
def test_cutting_leaves_everything_else_as_it_was(query: list[tuple[str, str]], cookies: list[tuple[str, str]]) -> None:
    """Of any query and cookies around one key."""
    parameters = [f"{name}={value}" for name, value in query if name != "key"]
    pairs = [f"{name}={value}" for name, value in cookies if name not in ("", "key")]
    for at in range(len(parameters) + 1):
        line = "&".join([*parameters[:at], "key=secret", *parameters[at:]])
        cookie = "; ".join([*pairs[: at % (len(pairs) + 1)], "key=hidden", *pairs[at % (len(pairs) + 1) :]])
        head = ENGINE.head(f"/p?{line}", [("Cookie", cookie)])
        assert head.startswith(f"GET /p{'?' if parameters else ''}{'&'.join(parameters)} HTTP/1.1\r\n".encode())
        assert re.findall(rb"^Cookie: *(.*)\r$", head, re.MULTILINE) == (["; ".join(pairs).encode()] if pairs else [])


class Asked:
    """gw explain's engine, made when first asked: heads as they would be forwarded."""

    engine: Engine | None = None

    def head(self, url: str, fields: list[tuple[str, str]]) -> bytes:
        assert self.engine
        return asyncio.run(self.engine.ask("GET", url, fields)).forwarded


ENGINE = Asked()


@pytest.fixture(scope="module", autouse=True)
def _engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("engine")
    policy = "api-key: {look_in: [query:key, cookie:key]}"
    (folder / "gw.yaml").write_text(
        f"listeners: [{{bind: '127.0.0.1:1'}}]\nservices: {{one: {{endpoints: ['127.0.0.1:1']}}}}\nroutes: [{{path: /, service: one, policies: [{policy}]}}]\n{CONSUMERS}"
    )
    segment = Segment(1, 64, 64)
    ENGINE.engine = Engine(compile_snapshot(load(folder / "gw.yaml").config, 1, segment, folder), segment)
    yield
    ENGINE.engine.close()


def test_explain_says_which_key_it_was() -> None:
    def told(url: str) -> tuple[str, str]:
        assert ENGINE.engine
        verdict = asyncio.run(ENGINE.engine.ask("GET", url)).verdicts[0]
        return verdict.told, verdict.reason

    assert told("/?key=secret") == ("key a1 of alice", "")
    assert told("/") == ("no key in query key, cookie key", "no-credential")
    assert told("/?key=x") == ("a key that nobody has, or more than one", "invalid-credential")


# Keys of the store


def test_keys_of_the_store_expire_by_the_wall_clock_and_lose_against_the_config(tmp_path: Path) -> None:
    segment = Segment(1, 64, 64)
    path = tmp_path / "gw.yaml"
    path.write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nstore: {{}}\nroutes: [{{path: /, respond: {{}}, policies: [api-key: {{}}]}}]\n{CONSUMERS}")
    snapshot = compile_snapshot(load(path).config, 1, segment, tmp_path)
    engine = Engine(snapshot, segment)

    def ask(key: str, wall: float = 0) -> tuple[str, str]:
        found = asyncio.run(engine.ask("GET", "/", [("X-API-Key", key)], wall=wall))
        return found.reason, found.identity.get("credential", "")

    [(source, take)] = snapshot.settings["sources"]
    assert source == KeysSource(str(tmp_path / "gw.db"))
    assert ask("secret") == ("", "a1")
    assert ask("run-time") == ("decision-unavailable", "")
    take(msgspec.msgpack.encode(pack([("s1", "bob", hashed("run-time"), 1000), ("s2", "nobody here", hashed("lost"), None), ("s3", "bob", hashed("secret"), None)])))
    assert ask("run-time", 999) == ("", "s1")
    assert ask("run-time", 1000) == ("expired-credential", "")
    assert ask("lost") == ("invalid-credential", "")
    assert ask("secret") == ("", "a1")
    take(msgspec.msgpack.encode(pack([])))
    assert ask("run-time") == ("invalid-credential", "")
    assert ask("secret") == ("", "a1")
    engine.close()


def test_exchanges_outlive_the_keys_they_came_with(origin: Origin, tmp_path: Path) -> None:
    """The id of a key that is told to the origin and logged belongs to the table, which goes when keys change."""
    rig = Rig(tmp_path, behind(origin, "api-key: {}", more=f"store: {{}}\naccess_log: {{}}\n{CONSUMERS}"))
    [(_, take)] = rig.lane.current.settings["sources"]
    log = tmp_path / "access.log"
    rig.call(lambda: rig.lane.reopen_log(open_log_file(str(log))))

    def put(name: str) -> None:
        rig.call(lambda: take(msgspec.msgpack.encode(pack([(name, "bob", hashed("run-time"), None)]))))

    put("the-first")
    with Client(rig.port) as client:
        client.send("/slow", "X-API-Key: run-time")
        until(lambda: "/slow" in origin.paths, "the request is at the origin")
        for number in range(100):
            put(f"other-{number:03}")
        origin.go_on.set()
        assert client.read().sent("X-Credential") == ["the-first"]
    rig.close()
    assert msgspec.json.decode(log.read_bytes())["credential"] == "the-first"


def test_routes_of_a_snapshot_share_one_table() -> None:
    tools = Tools("a", POINTER, consumers={"alice": ALICE}, store=Path("x.db"))
    build(Config(), tools)
    build(Config(), tools)
    assert len(tools.sources) == 1


@pytest.mark.parametrize(
    ("places", "message", "hint"),
    [
        (["headr:X"], "'headr:X' is no place for a key", "did you mean 'header:X'?"),
        (["X-API-Key"], "'X-API-Key' is no place for a key", "expected header:NAME, authorization:NAME, query:NAME, cookie:NAME"),
        (["header:"], "'header:' is no place for a key", "did you mean 'header:NAME'?"),
        (["header:X Key"], "'X Key' cannot be the name of a header", "letters"),
        (["cookie:a=b"], "'a=b' cannot be the name of a cookie", "letters"),
        (["header:Authorization"], "field 'Authorization' cannot carry a key", "authorization:SCHEME"),
        (["header:content-length"], "field 'content-length' cannot carry a key", "authorization:SCHEME"),
    ],
)
def test_places_that_are_none(places: list[str], message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as raised:
        build(Config(look_in=["query:k", *places]), Tools("a", POINTER, consumers={"alice": ALICE}))
    (problem,) = raised.value.problems
    assert problem.message == message
    assert str(problem.hint).startswith(hint) or hint in str(problem.hint)
    assert problem.pointer == f"{POINTER}.look_in[1]"


def test_a_gateway_without_keys_says_so() -> None:
    with pytest.raises(ConfigError, match="no consumer has an API key"):
        build(Config(), Tools("a", POINTER, consumers={"bob": Consumer()}))
