"""The policy `basic`: passwords, what is refused, what a verification costs whom."""

from __future__ import annotations

import asyncio
import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import argon2
import bcrypt
import pytest

from gw._fast.shm import Segment
from gw.config import load
from gw.config.model import Consumer, Password
from gw.errors import ConfigError
from gw.policy import Tools, basic
from gw.policy.basic import Config, Passwords, User, build, credentials, matches
from gw.runtime import Engine, compile_snapshot
from tests.unit.fast.rig import Client, Origin, Rig, behind

POINTER = "$.routes[0].policies[0].basic"
CHEAP = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ARGON2 = CHEAP.hash("grün:zeug")
BCRYPT = bcrypt.hashpw(b"swordfish", bcrypt.gensalt(4)).decode()
CONSUMERS = f"""
consumers:
  nobody: {{}}
  alice: {{groups: [staff], passwords: [{{user: al, hash: '{ARGON2}'}}]}}
  bob: {{passwords: [{{user: bób, hash: '{BCRYPT.replace("$2b$", "$2y$")}'}}]}}
"""


def field(user: str, password: str, scheme: str = "Basic") -> str:
    return f"Authorization: {scheme} {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """A client of a gateway whose only route has these policies."""
    origin = Origin()
    open_now: list[Client | Rig] = []

    def make(*policies: str) -> Client:
        rig = Rig(tmp_path, behind(origin, *policies, more=CONSUMERS))
        asking = Client(rig.port)
        open_now.extend((asking, rig))
        return asking

    yield make
    for each in [*open_now, origin]:
        each.close()


@pytest.mark.parametrize(("user", "password", "consumer"), [("al", "grün:zeug", "alice"), ("bób", "swordfish", "bob")])
@pytest.mark.parametrize("scheme", ["Basic", "bASIC", "Basic  "])
def test_a_user_with_the_password_passes(client: Callable[..., Client], user: str, password: str, consumer: str, scheme: str) -> None:
    asking = client("basic")
    for _ in range(2):
        answer = asking.ask("/", field(user, password, scheme))
        assert answer.status == 200
        assert answer.sent("X-Consumer") == [consumer]
        assert [sent.encode("latin-1").decode() for sent in answer.sent("X-Subject")] == [user]
        assert answer.sent("Authorization") == []


REFUSED = [
    ([], "no-credential"),
    (["Authorization: Bearer abc"], "no-credential"),
    (["Authorization: Basic"], "no-credential"),
    ([field("al", "wrong")], "invalid-credential"),
    ([field("al", "")], "invalid-credential"),
    ([field("nobody", "grün:zeug")], "invalid-credential"),
    ([field("bób", "grün:zeug")], "invalid-credential"),
    ([field("al", "grün:zeug"), field("al", "grün:zeug")], "invalid-credential"),
    (["Authorization: Basic YWw="], "invalid-credential"),
    (["Authorization: Basic YWw6e!!"], "invalid-credential"),
    (["Authorization: Basic /////w=="], "invalid-credential"),
]


@pytest.mark.parametrize(("fields", "reason"), REFUSED)
def test_anything_else_is_refused_with_its_reason(client: Callable[..., Client], fields: list[str], reason: str) -> None:
    answer = client("basic: {realm: the office}").ask("/", *fields)
    assert answer.status == 401
    assert reason.encode() in answer.body
    assert answer.one("WWW-Authenticate") == 'Basic realm="the office", charset="UTF-8"'


def test_the_origin_sees_the_credential_only_if_it_may(client: Callable[..., Client]) -> None:
    sent = field("al", "grün:zeug")
    assert client("basic: {hide_credential: false}").ask("/", sent).sent("Authorization") == [sent.removeprefix("Authorization: ")]


@pytest.mark.parametrize("text", ["a\0b:c", "a:b\x7f", "a:\n", "no colon"])
def test_what_rfc_7617_forbids_is_no_credential(text: str) -> None:
    assert credentials("Basic " + base64.b64encode(text.encode()).decode()) is None


def test_a_colon_belongs_to_the_password() -> None:
    assert credentials("Basic " + base64.b64encode(b"user:a:b").decode()) == ("user", "a:b")
    assert credentials("Basic " + base64.b64encode(b":").decode()) == ("", "")


def test_bcrypt_passwords_that_would_be_cut_do_not_match() -> None:
    kept = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    assert matches(kept, "x" * 72)
    assert not matches(kept, "x" * 73)


# What verifications cost


class Counted:
    """Stands where `matches` does: counts, and waits when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        monkeypatch.setattr(basic, "matches", self)

    def __call__(self, kept: str, password: str) -> bool:
        self.asked.append(kept)
        self.go_on.wait(10)
        return password == "right"


USERS = {f"user-{number}": User("someone", f"hash-{number}") for number in range(50)}


def test_only_the_first_request_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)

    async def ask() -> list[bool | None]:
        passwords = Passwords(USERS)
        return [await passwords.verify("user-1", "right") for _ in range(3)]

    assert asyncio.run(ask()) == [True] * 3
    assert counted.asked == ["hash-1"]


def test_those_that_come_together_wait_for_one_verification(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)

    async def ask(password: str) -> list[bool | None]:
        passwords = Passwords(USERS)
        return list(await asyncio.gather(*(passwords.verify("user-1", password) for _ in range(20))))

    assert asyncio.run(ask("right")) == [True] * 20
    assert asyncio.run(ask("wrong")) == [False] * 20
    assert len(counted.asked) == 2


def test_an_unknown_user_costs_what_a_known_one_does_and_never_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)

    async def ask() -> list[bool | None]:
        passwords = Passwords(USERS)
        return [await passwords.verify("stranger", "right") for _ in range(3)]

    assert asyncio.run(ask()) == [False] * 3
    assert len(counted.asked) == 3
    assert len(set(counted.asked)) == 1
    assert counted.asked[0].startswith("hash-")


def test_guesses_beyond_the_queue_are_turned_away(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.go_on.clear()

    async def ask() -> tuple[list[bool | None], bool | None, bool | None]:
        passwords = Passwords(USERS)
        waiting = [asyncio.create_task(passwords.verify("user-1", f"guess {number}")) for number in range(basic.WAITING_MAX)]
        await asyncio.sleep(0)
        beyond = await passwords.verify("user-1", "right")
        counted.go_on.set()
        return list(await asyncio.gather(*waiting)), beyond, await passwords.verify("user-1", "right")

    guesses, beyond, afterwards = asyncio.run(ask())
    assert guesses == [False] * basic.WAITING_MAX
    assert beyond is None
    assert afterwards is True


def test_what_is_remembered_is_bounded_and_the_oldest_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    monkeypatch.setattr(basic, "REMEMBERED", 2)

    async def ask() -> None:
        passwords = Passwords(USERS)
        for user in ("user-1", "user-2", "user-1", "user-3", "user-1", "user-2"):
            assert await passwords.verify(user, "right")

    asyncio.run(ask())
    assert counted.asked == ["hash-1", "hash-2", "hash-3", "hash-2"]


def test_a_caller_that_leaves_does_not_take_the_verification_along(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.go_on.clear()

    async def ask() -> bool | None:
        passwords = Passwords(USERS)
        first, second = (asyncio.create_task(passwords.verify("user-1", "right")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        counted.go_on.set()
        return await second

    assert asyncio.run(ask()) is True


def test_the_loop_goes_on_meanwhile(client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Counted(monkeypatch)
    counted.go_on.clear()
    asking = client("any-of: [basic, anonymous]")
    asking.send("/", field("al", "right"))
    with Client(asking.sock.getpeername()[1]) as other:
        assert other.ask("/").status == 200
    counted.go_on.set()
    assert asking.read().sent("X-Consumer") == ["alice"]


def test_explain_verifies_too(tmp_path: Path) -> None:
    path = tmp_path / "gw.yaml"
    path.write_text(f"listeners: [{{bind: '127.0.0.1:1'}}]\nroutes: [{{path: /, respond: {{}}, policies: [basic]}}]\n{CONSUMERS}")
    segment = Segment(1, 64, 64)
    engine = Engine(compile_snapshot(load(path).config, 1, segment, tmp_path), segment)
    name, _, value = field("al", "grün:zeug").partition(": ")
    found = asyncio.run(engine.ask("GET", "/", [(name, value)]))
    engine.close()
    assert found.identity == {"method": "basic", "consumer": "alice", "subject": "al", "credential": "al"}


@pytest.mark.parametrize("kept", [ARGON2[:-60], "$argon2id$x", BCRYPT[:-1], "$2b$04$" + "!" * 53])
def test_a_hash_that_is_no_hash_is_found_before_anyone_asks(kept: str) -> None:
    consumers = {"al": Consumer(passwords=[Password("fine", ARGON2), Password("al", kept)])}
    with pytest.raises(ConfigError, match="the hash of 'al' is cut or malformed") as raised:
        build(Config(), Tools("a", POINTER, consumers=consumers))
    assert [problem.pointer for problem in raised.value.problems] == ["$.consumers.al.passwords[1].hash"]


def test_a_gateway_without_passwords_says_so() -> None:
    with pytest.raises(ConfigError, match="no consumer has a password"):
        build(Config(), Tools("a", POINTER, consumers={"bob": Consumer()}))
