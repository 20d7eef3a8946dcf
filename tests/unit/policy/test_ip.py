"""The policy `ip`: where a client may come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from gw.policy import Tools
from gw.policy.ip import Config, build
from tests.unit.fast.rig import Client, Origin, Rig, behind
from tests.unit.policy.callers import explained, outcome, problems_of, served

REFUSED = "address-denied"
PROXIES = "trusted_proxies: [127.0.0.1, 10.0.0.0/8]"


def verdict(tmp_path: Path, settings: str, client: str) -> str:
    [found] = explained(tmp_path, f"routes: [{{path: /, respond: {{}}, policies: [ip: {settings}]}}]", client=client)
    assert found.told == f"client {client}"
    return found.reason or "passed"


@pytest.mark.parametrize(
    ("settings", "client", "expected"),
    [
        ("{allow: [192.0.2.0/24]}", "192.0.2.255", "passed"),
        ("{allow: [192.0.2.0/24]}", "192.0.3.0", REFUSED),
        ("{allow: [192.0.2.0/24]}", "::ffff:192.0.2.1", "passed"),
        ("{allow: ['::ffff:192.0.2.0/120']}", "192.0.2.1", "passed"),
        ("{allow: ['2001:db8::/32']}", "2001:db8:ffff::1", "passed"),
        ("{allow: ['2001:db8::/32']}", "2001:db9::", REFUSED),
        ("{allow: ['::/0']}", "192.0.2.1", REFUSED),
        ("{deny: ['::/0']}", "192.0.2.1", "passed"),
        ("{deny: [0.0.0.0/0]}", "2001:db8::1", "passed"),
        ("{deny: [192.0.2.7]}", "192.0.2.7", REFUSED),
        ("{deny: [192.0.2.7]}", "192.0.2.8", "passed"),
        ("{allow: [192.0.2.0/24], deny: [192.0.2.7]}", "192.0.2.7", REFUSED),
        ("{allow: [192.0.2.7], deny: [192.0.2.0/24]}", "192.0.2.7", REFUSED),
        ("{deny: [192.0.2.7]}", "unix:", REFUSED),
    ],
)
def test_who_passes(tmp_path: Path, settings: str, client: str, expected: str) -> None:
    assert verdict(tmp_path, settings, client) == expected


def test_the_refusal_is_a_403(tmp_path: Path) -> None:
    with served(tmp_path, "ip: {deny: [127.0.0.0/8]}") as client:
        answer = client.ask("/")
    assert (answer.status, outcome(answer)) == (403, REFUSED)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], REFUSED),
        (["192.0.2.1"], "passed"),
        (["203.0.113.1"], REFUSED),
        (["192.0.2.1, 203.0.113.1"], REFUSED),
        (["203.0.113.1, 192.0.2.1"], "passed"),
        (["192.0.2.1, 10.0.0.1"], "passed"),
        (["192.0.2.1", "10.0.0.1, 10.0.0.2"], "passed"),
        (["192.0.2.1", "203.0.113.1"], REFUSED),
        (["203.0.113.1", "10.0.0.1"], REFUSED),
        (["::ffff:192.0.2.1"], "passed"),
        (["192.0.2.1, unknown"], REFUSED),
        (["192.0.2.1", "nonsense", "10.0.0.1"], REFUSED),
        (["192.0.2.1,"], REFUSED),
    ],
)
def test_behind_trusted_proxies_the_client_is_whom_they_name(tmp_path: Path, fields: list[str], expected: str) -> None:
    with served(tmp_path, "ip: {allow: [192.0.2.0/24]}", more=PROXIES) as client:
        assert outcome(client.ask("/", *(f"X-Forwarded-For: {value}" for value in fields))) == expected


def test_what_a_stranger_claims_is_not_believed(tmp_path: Path) -> None:
    with served(tmp_path, "ip: {allow: [192.0.2.0/24]}", more="trusted_proxies: [10.0.0.0/8]") as client:
        assert outcome(client.ask("/", "X-Forwarded-For: 192.0.2.1")) == REFUSED


def test_a_file_is_read_again_at_a_reload(tmp_path: Path) -> None:
    listed, origin = tmp_path / "office.txt", Origin()
    config = behind(origin, "ip: {allow_files: [office.txt]}")
    listed.write_text("# the office\n\n198.51.100.0/24 ; Vienna\n  127.0.0.1  # here\n")
    made = Rig(tmp_path, config)
    with Client(made.port) as client:
        assert outcome(client.ask("/")) == "passed"
        listed.write_text("# nobody\n")
        assert outcome(client.ask("/")) == "passed"
        made.reload(config)
        assert outcome(client.ask("/")) == REFUSED
    made.close()
    origin.close()


def test_files_and_lists_count_together(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("192.0.2.7\n")
    assert verdict(tmp_path, "{deny: [192.0.2.1], deny_files: [bad.txt]}", "192.0.2.7") == REFUSED


def test_what_cannot_work_is_refused_where_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("10.0.0.1\nten\n")
    (tmp_path / "binary").write_bytes(b"\xff")
    config = Config(allow=["10.0.0.1/8", "10.0.0.0/8"], deny=["", "10.0.0.0/33"], deny_files=["bad.txt", "none.txt", "binary"])
    assert problems_of(build, config, Tools("all", "$.p", base=tmp_path)) == [
        (".allow[0]", "'10.0.0.1/8' has bits set behind its prefix"),
        (".deny_files[1]", f"cannot read {tmp_path}/none.txt: No such file or directory"),
        (".deny_files[2]", f"cannot read {tmp_path}/binary: it is not text in UTF-8"),
        (".deny[0]", "'' is not an IP address or CIDR block"),
        (".deny[1]", "'10.0.0.0/33' is not an IP address or CIDR block"),
        (".deny_files[0]", f"{tmp_path}/bad.txt:2: 'ten' is not an IP address or CIDR block"),
    ]
    assert problems_of(build, Config(), Tools("all", "$.p")) == [("", "no address is allowed or denied")]
