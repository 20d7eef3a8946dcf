"""Logins at a small provider, through a real lane, by a browser that keeps cookies and by curl."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from gw.errors import ConfigError
from gw.policy.session import Seal, TooLarge, joined, split
from tests.unit.fast.rig import Client, Make, Origin, Rig, behind, until
from tests.unit.policy.asking import Service, Told, compiled
from tests.unit.policy.provider import Browser, Provider

KEY = "k" * 32
NOW = int(time.time())


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The wall clock of policies that are built from now on."""
    now = [float(NOW)]
    monkeypatch.setattr("tests.unit.policy.provider.now", lambda: NOW)
    monkeypatch.setattr("gw.policy.provider.Provider.__init__.__defaults__", (lambda: now[0],))
    return now


@pytest.fixture
def provider(service: Service) -> Provider:
    return Provider(service)


def policy(provider: Provider, more: str = "", cookie: str = "", keys: str = KEY) -> str:
    secret = f"client_secret: '{provider.secret}', " if provider.secret else ""
    return f"oidc: {{issuer: '{provider.url}', client_id: app, {secret}cookie: {{keys: [{keys}], {cookie}}}, {more}}}"


@pytest.fixture
def browser(rig: Make, origin: Origin, provider: Provider, clock: list[float]) -> Callable[..., Browser]:
    def make(more: str = "", cookie: str = "", further: str = "", keys: str = KEY) -> Browser:
        return Browser(rig(behind(origin, policy(provider, more, cookie, keys), more=further)).port, provider)

    return make


def test_a_login_from_beginning_to_end(browser: Callable[..., Browser], origin: Origin, provider: Provider) -> None:
    user = browser(further="consumers: {alice: {subjects: [alice-id]}}\nidentity: {method: X-Method, scopes: X-Scopes}")
    first = user.get("/a/b?c=d&e")
    assert (first.status, first.one("Cache-Control")) == (302, "no-store")
    asked = dict(parse_qsl(urlsplit(first.one("Location") or "").query))
    assert (asked["redirect_uri"], asked["scope"], asked["response_type"]) == ("http://h.example/oauth2/callback", "openid", "code")
    assert len({asked["state"], asked["nonce"], asked["code_challenge"]}) == 3
    back = user.get(user.at_provider(first))
    assert (back.status, back.one("Location"), back.one("Cache-Control")) == (302, "/a/b?c=d&e", "no-store")
    assert origin.paths == []
    page = user.get("/a/b?c=d&e", "X-Subject: forged")
    assert page.status == 200
    sent = {name: page.sent(name) for name in ("x-consumer", "x-subject", "x-method", "x-scopes", "cookie", "authorization")}
    assert sent == {"x-consumer": ["alice"], "x-subject": ["alice-id"], "x-method": ["oidc"], "x-scopes": ["openid email"], "cookie": [], "authorization": []}
    (exchange,) = provider.asked("/token")
    assert exchange.form["redirect_uri"] == asked["redirect_uri"]


def test_what_the_cookies_are(browser: Callable[..., Browser]) -> None:
    user = browser()
    first = user.get("/")
    (begun,) = first.all("Set-Cookie")
    name, _, rest = begun.partition("=")
    assert name.startswith("gw_session-login-")
    assert rest.partition("; ")[2] == "Path=/oauth2/callback; Max-Age=600; HttpOnly; SameSite=Lax; Secure"
    gone, kept = user.get(user.at_provider(first)).all("Set-Cookie")
    assert gone == f"{name}=; Path=/oauth2/callback; Max-Age=0; HttpOnly; SameSite=Lax; Secure"
    assert kept.startswith("gw_session=1.")
    assert kept.partition("; ")[2] == "Path=/; Max-Age=43200; HttpOnly; SameSite=Lax; Secure"
    assert "alice" not in kept


def test_other_cookies_reach_the_origin(browser: Callable[..., Browser]) -> None:
    user = browser()
    user.log_in()
    user.cookies["theme"] = "dark", "/"
    assert user.get("/").sent("cookie") == ["theme=dark"]


@pytest.mark.parametrize(
    ("fields", "accept", "method"),
    [
        ([], "application/json", "GET"),
        ([], "*/*", "GET"),
        ([], "text/html", "POST"),
        (["Sec-Fetch-Mode: cors"], "text/html", "GET"),
        (["Sec-Fetch-Mode: no-cors"], "text/html", "GET"),
    ],
)
def test_what_shows_no_pages_is_not_sent_to_the_provider(browser: Callable[..., Browser], origin: Origin, fields: list[str], accept: str, method: str) -> None:
    answer = browser().get("/", *fields, accept=accept, method=method)
    assert (answer.status, answer.told["reason"], answer.one("WWW-Authenticate")) == (401, "no-credential", 'Cookie cookie-name="gw_session"')
    assert answer.all("Set-Cookie") == []
    assert origin.paths == []


def changed(pairs: dict[str, str], path: str) -> str:
    """The callback with other parameters; an empty one goes."""
    parts = urlsplit(path)
    query = dict(parse_qsl(parts.query)) | pairs
    return f"{parts.path}?{'&'.join(f'{name}={value}' for name, value in query.items() if value)}"


@pytest.mark.parametrize(
    ("pairs", "status", "reason"),
    [
        ({"state": "another"}, 401, "invalid-credential"),
        ({"state": ""}, 401, "invalid-credential"),
        ({"code": "another"}, 401, "invalid-credential"),
        ({"code": ""}, 403, "not-permitted"),
        ({"error": "access_denied"}, 403, "not-permitted"),
        ({"iss": "https://evil.example"}, 401, "invalid-credential"),
        ({"iss": ""}, 302, ""),
        ({"x": "1&code=a&code=b"}, 401, "invalid-credential"),
    ],
)
def test_what_comes_back_must_answer_what_was_asked(browser: Callable[..., Browser], pairs: dict[str, str], status: int, reason: str) -> None:
    user = browser()
    answer = user.get(changed(pairs, user.at_provider(user.get("/"))))
    assert answer.status == status
    if reason:
        assert answer.told["reason"] == reason
        assert user.get("/").status == 302  # nobody is logged in


def test_a_login_belongs_to_the_browser_that_began_it(browser: Callable[..., Browser], provider: Provider) -> None:
    victim = browser()
    attacker = Browser(victim.port, provider)
    victim.get("/")
    back = attacker.at_provider(attacker.get("/"))
    assert victim.get(back).told["reason"] == "invalid-credential"
    assert provider.asked("/token") == []


def test_a_login_ends_once_and_in_time(browser: Callable[..., Browser], clock: list[float]) -> None:
    user = browser()
    first = user.get("/")
    cookies = dict(user.cookies)
    back = user.at_provider(first)
    assert user.get(back).status == 302
    user.cookies.update(cookies)
    assert user.get(back).told["reason"] == "invalid-credential"  # the provider takes a code once
    back = user.at_provider(Browser.get(other := Browser(user.port, user.provider), "/"))
    clock[0] += 600
    assert other.get(back).told["reason"] == "invalid-credential"


def test_two_tabs_log_in_side_by_side(browser: Callable[..., Browser]) -> None:
    user = browser()
    first, second = user.get("/one"), user.get("/two")
    assert user.get(user.at_provider(second)).one("Location") == "/two"
    assert user.get(user.at_provider(first)).one("Location") == "/one"


@pytest.mark.parametrize(("wanted", "back"), [("/a?b=//evil.example", "/a?b=//evil.example"), ("//evil.example/", "/evil.example/"), ("/" + "a" * 2000, "/")])
def test_the_way_back_never_leaves_this_host(browser: Callable[..., Browser], wanted: str, back: str) -> None:
    assert browser().log_in(wanted).one("Location") == back


def test_the_way_back_where_slashes_are_kept(browser: Callable[..., Browser]) -> None:
    assert browser(further="path: {merge_slashes: false}").log_in("//evil.example/").one("Location") == "/"


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "other"},
        {"aud": None},
        {"aud": ["app", "other"]},
        {"azp": "other"},
        {"exp": NOW - 31},
        {"exp": None},
        {"iat": None},
        {"nonce": "another"},
        {"nonce": None},
        {"sub": None},
        {"sub": ""},
        {"nbf": NOW + 99},
    ],
)
def test_an_id_token_is_looked_at_closely(browser: Callable[..., Browser], provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    user = browser()
    answer = user.log_in()
    assert (answer.status, answer.told["reason"]) == (401, "invalid-credential")
    assert not [name for name in user.cookies if "login" not in name]


@pytest.mark.parametrize("claims", [{"aud": ["app"]}, {"aud": ["app", "other"], "azp": "app"}, {"azp": "app"}, {"exp": NOW - 29}])
def test_an_id_token_that_is_for_us(browser: Callable[..., Browser], provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    assert browser().log_in().status == 302


def test_a_token_signed_by_nobody(browser: Callable[..., Browser], provider: Provider) -> None:
    user = browser()
    provider.tokens = {"id_token": "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhIn0."}
    assert user.log_in().told["reason"] == "invalid-credential"
    provider.tokens = {"id_token": None}
    assert user.log_in().told["reason"] == "invalid-credential"


@pytest.mark.parametrize(
    ("path", "told", "status"),
    [
        ("/.well-known/openid-configuration", Told(500), 503),
        ("/.well-known/openid-configuration", Told(200, b"{}"), 503),
        ("/jwks", Told(200, b'{"keys": []}'), 503),
        ("/jwks", Told(404), 503),
    ],
)
def test_a_provider_that_cannot_be_used(browser: Callable[..., Browser], provider: Provider, path: str, told: Told, status: int) -> None:
    provider.broken[path] = told
    user = browser()
    answer = user.get("/")
    assert (answer.status, answer.told["reason"]) == (status, "decision-unavailable")
    provider.broken.clear()
    assert user.log_in().status == 302


@pytest.mark.parametrize("document", [{"issuer": "https://other.example"}, {"authorization_endpoint": "javascript:alert(1)"}, {"token_endpoint": "http://a b/"}])
def test_a_document_that_is_not_the_issuers(browser: Callable[..., Browser], provider: Provider, document: dict[str, Any]) -> None:
    provider.document = document
    assert browser().get("/").told["reason"] == "decision-unavailable"


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        *((told, "decision-unavailable") for told in (Told(500), Told(401), Told(429), Told(200, b"{"))),
        (Told(400), "invalid-credential"),
    ],
)
def test_a_token_endpoint_that_does_not_help(browser: Callable[..., Browser], provider: Provider, told: Told, reason: str) -> None:
    user = browser()
    back = user.at_provider(user.get("/"))
    provider.broken["/token"] = told
    assert user.get(back).told["reason"] == reason


@pytest.mark.parametrize("document", [{"token_endpoint_auth_methods_supported": ["client_secret_post"]}, {"token_endpoint_auth_methods_supported": None}])
def test_how_this_gateway_names_itself(browser: Callable[..., Browser], provider: Provider, document: dict[str, Any]) -> None:
    provider.document = document
    assert browser().log_in().status == 302
    assert ("client_secret" in provider.asked("/token")[0].form) == (document["token_endpoint_auth_methods_supported"] is not None)


def test_a_public_client(browser: Callable[..., Browser], provider: Provider) -> None:
    provider.secret = None
    assert browser().log_in().status == 302


def test_keys_that_were_exchanged(browser: Callable[..., Browser], provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gw.policy.provider.AGAIN", 0.0)
    user = browser()
    assert user.log_in().status == 302
    provider.kid = "second"
    user.cookies.clear()
    assert user.log_in().status == 302
    assert len(provider.asked("/jwks")) == 2


def test_unknown_keys_are_not_looked_for_all_the_time(browser: Callable[..., Browser], provider: Provider) -> None:
    user = browser()
    user.get("/")
    provider.kid = "second"
    for _ in range(3):
        assert user.log_in().told["reason"] == "invalid-credential"
    assert len(provider.asked("/jwks")) == 1


def test_a_session_ends(browser: Callable[..., Browser], clock: list[float]) -> None:
    user = browser(cookie="lifetime: 1h")
    user.log_in()
    clock[0] += 3599
    assert user.get("/").status == 200
    clock[0] += 1
    assert user.get("/").status == 302
    assert user.get("/", accept="application/json").status == 401


def test_tokens_are_renewed_before_they_end(browser: Callable[..., Browser], provider: Provider, clock: list[float]) -> None:
    provider.tokens = {"expires_in": 300, "refresh_token": "refresh-0"}
    user = browser("forward: access-token")
    user.log_in()
    assert user.get("/").sent("authorization") == ["Bearer access-0"]
    clock[0] += 239
    assert user.get("/").sent("authorization") == ["Bearer access-0"]
    assert provider.refreshed == 0
    clock[0] += 1
    provider.claims = {"nonce": None}
    provider.tokens = {"expires_in": 300, "refresh_token": "refresh-1"}
    before = user.cookies["gw_session"]
    answer = user.get("/")
    assert answer.sent("authorization") == ["Bearer access-1"]
    assert provider.refreshed == 1
    assert user.cookies["gw_session"] != before
    assert user.get("/").all("Set-Cookie") == ["a=1", "b=2"]  # the origin's alone
    user.cookies["gw_session"] = before
    assert user.get("/").sent("authorization") == ["Bearer access-1"]  # one that comes late with the old cookie
    assert provider.refreshed == 1


def test_requests_that_come_together_renew_once(browser: Callable[..., Browser], provider: Provider, service: Service, clock: list[float]) -> None:
    provider.tokens = {"expires_in": 300, "refresh_token": "refresh-0"}
    user = browser("forward: access-token")
    user.log_in()
    clock[0] += 290
    service.go_on.clear()
    cookie = f"Cookie: gw_session={user.cookies['gw_session'][0]}"
    clients = [Client(user.port) for _ in range(5)]
    for client in clients:
        client.send("/", cookie)
    until(lambda: len(provider.asked("/token")) == 2, "one asks")
    service.go_on.set()
    answers = [client.read() for client in clients]
    for client in clients:
        client.close()
    assert [answer.sent("authorization") for answer in answers] == [["Bearer access-1"]] * 5
    assert provider.refreshed == 1


@pytest.mark.parametrize(("told", "early", "late"), [(Told(500), 200, 503), (Told(400), 200, 302)])
def test_tokens_that_cannot_be_renewed_hold_until_they_end(
    browser: Callable[..., Browser], provider: Provider, clock: list[float], told: Told, early: int, late: int
) -> None:
    provider.tokens = {"expires_in": 300, "refresh_token": "refresh-0"}
    user = browser()
    user.log_in()
    provider.broken["/token"] = told
    clock[0] += 299
    assert user.get("/").status == early
    clock[0] += 1
    assert user.get("/").status == late


def test_tokens_are_not_renewed_for_somebody_else(browser: Callable[..., Browser], provider: Provider, clock: list[float]) -> None:
    provider.tokens = {"expires_in": 300, "refresh_token": "refresh-0"}
    user = browser()
    user.log_in()
    provider.user = "mallory"
    clock[0] += 300
    assert user.get("/").status == 302


def test_the_id_token_can_be_forwarded(browser: Callable[..., Browser]) -> None:
    user = browser("forward: id-token")
    user.log_in()
    (sent,) = user.get("/", "Authorization: Basic forged").sent("authorization")
    assert sent.startswith("Bearer ey")


def test_a_large_session_takes_several_cookies(browser: Callable[..., Browser], provider: Provider, clock: list[float]) -> None:
    provider.claims = {"groups": [f"group-{number}" for number in range(400)]}
    user = browser()
    user.log_in()
    assert sorted(user.cookies) == ["gw_session", "gw_session-1", "gw_session-2"]
    assert user.get("/").sent("cookie") == []
    half = dict(user.cookies)
    del half["gw_session-1"]
    user.cookies, whole = half, user.cookies
    assert user.get("/").status == 302
    user.cookies = {**whole}
    provider.claims = {}
    user.cookies.pop("gw_session-1")
    user.log_in()
    assert sorted(user.cookies) == ["gw_session"]  # what was left of the longer one has gone


def test_a_session_that_fits_nowhere_says_so(rig: Make, origin: Origin, provider: Provider) -> None:
    provider.claims = {"groups": ["x" * 100] * 110}
    made: Rig = rig(behind(origin, policy(provider)))
    answer = Browser(made.port, provider).log_in()
    assert (answer.status, answer.told["reason"]) == (500, "hook-failed")
    assert "does not fit into 4 cookies" in made.said("hook-failed")[0]["error"]


def test_keys_are_exchanged_without_a_login(rig: Make, origin: Origin, provider: Provider) -> None:
    old, new = "o" * 32, "n" * 32
    made: Rig = rig(behind(origin, policy(provider, keys=old)))
    user = Browser(made.port, provider)
    user.log_in()
    for keys, status in ((f"{new}, {old}", 200), (new, 302)):
        made.reload(behind(origin, policy(provider, keys=keys)))
        assert user.get("/").status == status


def test_a_session_is_for_one_policy(rig: Make, origin: Origin, provider: Provider) -> None:
    made: Rig = rig(behind(origin, policy(provider)))
    user = Browser(made.port, provider)
    user.log_in()
    made.reload(behind(origin, policy(provider).replace("client_id: app", "client_id: other")))
    assert user.get("/").status == 302


def test_a_session_of_another_version_is_none(browser: Callable[..., Browser]) -> None:
    user = browser()
    for data in (b"", b"\xc1", b"\x93\x01\x02\x03"):
        user.cookies["gw_session"] = f"1.{Seal([KEY], 'session app gw_session').seal(data)}", "/"
        assert user.get("/").status == 302


def test_logout_ends_the_session_here_and_there(browser: Callable[..., Browser], provider: Provider) -> None:
    user = browser("after_logout: /bye, origin: 'https://app.example'")
    user.log_in()
    answer = user.get("/oauth2/logout")
    assert answer.status == 302
    location = urlsplit(answer.one("Location") or "")
    asked = dict(parse_qsl(location.query))
    assert f"{location.scheme}://{location.netloc}{location.path}" == f"{provider.url}/end"
    assert (asked["post_logout_redirect_uri"], asked["client_id"], asked["id_token_hint"][:2]) == ("https://app.example/bye", "app", "ey")
    assert user.cookies == {}
    assert user.get("/").status == 302
    assert user.get("/oauth2/logout").one("Location") == "/bye"


def test_logout_without_a_provider(browser: Callable[..., Browser], provider: Provider) -> None:
    provider.document = {"end_session_endpoint": None}
    user = browser()
    user.log_in()
    assert user.get("/oauth2/logout", "Sec-Fetch-Site: cross-site").told["reason"] == "cross-origin"
    assert user.get("/").status == 200
    assert (user.get("/oauth2/logout").one("Location"), user.cookies) == ("/", {})


@pytest.mark.speed  # curl has ten seconds
def test_curl_goes_the_whole_way(rig: Make, origin: Origin, provider: Provider, tmp_path: Path) -> None:
    made: Rig = rig(behind(origin, policy(provider, cookie="secure: false")))
    command = ["curl", "-sSL", "--max-time", "10", "-b", "", "-c", str(tmp_path / "jar"), "-H", "Accept: text/html", f"http://127.0.0.1:{made.port}/page"]
    first = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    assert first["path"] == "/page"
    assert ["X-Subject", "alice-id"] in first["headers"]
    assert len(provider.asked("/authorize")) == 1
    command[command.index("-b") + 1] = str(tmp_path / "jar")
    assert json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["path"] == "/page"
    assert len(provider.asked("/authorize")) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("issuer: 'x'", "is not a URL"),
        ("cookie: {keys: [short]}", "a key is too short"),
        ("cookie: {keys: [KEY], name: 'a b'}", "'a b' is not a name"),
        ("cookie: {keys: [KEY], name: __Host-a, secure: false}", "browsers drop"),
        ("cookie: {keys: [KEY], same_site: None, secure: false}", "browsers drop"),
        ("cookie: {keys: [KEY], domain: 'a;b'}", "is not a domain"),
        ("algorithms: [HS256]", "'HS256' is not an algorithm of public keys"),
        ("algorithms: [none]", "'none' is not an algorithm of public keys"),
        ("parameters: {state: x}", "'state' is gw's to set"),
        ("callback: /a, logout: /a", "are the same path"),
        ("origin: 'https://a/b'", "an origin has no path"),
        ("after_logout: //evil.example", "after_logout"),
    ],
)
def test_what_cannot_work_is_said_before_it_runs(tmp_path: Path, settings: str, said: str) -> None:
    known = {"issuer": "'http://x'", "cookie": f"{{keys: [{KEY}]}}", "client_id": "app"}
    name = settings.partition(":")[0]
    rest = ", ".join(f"{key}: {value}" for key, value in known.items() if key != name)
    with pytest.raises(ConfigError, match=said):
        compiled(tmp_path, f"oidc: {{{rest}, {settings.replace('KEY', KEY)}}}")


def test_a_seal_opens_what_it_sealed_and_nothing_else() -> None:
    seal = Seal([KEY], "a")
    text = seal.seal(b"data")
    assert seal.open(text) == b"data"
    assert seal.seal(b"data") != text
    assert Seal([KEY], "b").open(text) is None
    assert Seal(["x" * 32], "a").open(text) is None
    for at in range(len(text)):
        other = "B" if text[at] == "A" else "A"
        assert seal.open(text[:at] + other + text[at + 1 :]) is None
        assert seal.open(text[:at]) is None
    for wrong in ("", "=", "é", text + "=", text + "A", "\x00"):
        assert seal.open(wrong) is None


def test_pieces_come_together_again() -> None:
    for size in (1, 3499, 3500, 3501, 14000):
        pieces = split("s", "x" * size)
        assert joined("s", reversed(pieces)) == "x" * size
        assert joined("s", pieces[:-1]) is None
    with pytest.raises(TooLarge):
        split("s", "x" * 14001)
    for wrong in ("", "x", ".x", "0.x", "5.x", "01.x", "2.x", "1."):
        assert joined("s", [("s", wrong)]) is None
    assert joined("s", [("s", "1.a"), ("s", "1.b")]) == "a"


