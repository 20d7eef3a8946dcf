"""Log users in at an OpenID provider, and keep them logged in with an encrypted cookie."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gw._fast.keys import NAMES
from gw.config.syntax import is_token
from gw.config.units import Bounds, Duration
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Hooks, Kind, Tools
from gw.policy.login import Login
from gw.policy.provider import Provider
from gw.policy.remote import Reach, Remote, check_url

KIND: Kind = "authentication"
OWN_PARAMETERS = {"response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge", "code_challenge_method"}


class Cookie(Struct, forbid_unknown_fields=True, frozen=True):
    """The session, which the browser keeps: AES-256-GCM, in more than one cookie when it is large. HttpOnly, always."""

    keys: Annotated[
        list[str],
        Meta(min_length=1, max_length=8, description="Secrets of at least 32 characters: `${ENV}` or `file:`. The first seals, every one opens: put a new one first."),
    ]
    name: Annotated[str, Meta(description="Name; further cookies are called `NAME-1` and so on.")] = "gw_session"
    lifetime: Annotated[Duration, Bounds(60, 30 * 86400), Meta(description="From the login to the next one, whatever happens between them.")] = Duration(12 * 3600)
    domain: Annotated[str | None, Meta(description="Hosts below it share the session; unset = this host alone.")] = None
    same_site: Annotated[
        Literal["Lax", "None"], Meta(description="`None` also serves pages inside frames of other sites. `Strict` would not survive the way back from the provider.")
    ] = "Lax"
    secure: Annotated[bool, Meta(description="The browser sends it over https only.")] = True


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """The provider, this gateway's registration there, and the paths on which a login ends and a logout begins. The route must take these paths too."""

    issuer: Annotated[str, Meta(description="URL of the provider, as its tokens write it; `/.well-known/openid-configuration` below it is read.")]
    client_id: Annotated[str, Meta(min_length=1, description="Name of this gateway there.")]
    cookie: Annotated[Cookie, Meta(description="The session.")]
    client_secret: Annotated[str | None, Meta(description="Its secret: `${ENV}` or `file:`; unset for a public client, which PKCE alone protects.")] = None
    scopes: Annotated[list[str], Meta(description="Asked for beside `openid`; `offline_access` gives a refresh token at most providers.")] = field(default_factory=list)
    parameters: Annotated[dict[str, str], Meta(description="Further parameters of the login, such as `prompt` or `audience`.")] = field(default_factory=dict)
    algorithms: Annotated[list[str], Meta(min_length=1, description="That an id_token may be signed with; never a shared secret.")] = field(
        default_factory=lambda: ["RS256", "PS256", "ES256", "EdDSA"]
    )
    origin: Annotated[str | None, Meta(description="Scheme and host as browsers see them, such as `https://app.example`; unset = those of the request.")] = None
    callback: Annotated[str, Meta(pattern="^/[A-Za-z0-9/_.-]*$", description="Path to which the provider sends the browser back.")] = "/oauth2/callback"
    logout: Annotated[str, Meta(pattern="^/[A-Za-z0-9/_.-]*$", description="Path that ends the session, here and at the provider.")] = "/oauth2/logout"
    after_logout: Annotated[str, Meta(pattern="^/(?![/\\\\])[\\x21-\\x7e]*$", description="Path on which the browser then arrives.")] = "/"
    forward: Annotated[
        Literal["nothing", "access-token", "id-token"], Meta(description="What the origin gets as `Authorization: Bearer`, in place of the client's own field.")
    ] = "nothing"
    renew: Annotated[Duration, Bounds(0, 3600), Meta(description="How long before its end an access token is renewed, where there is a refresh token.")] = Duration(60)
    leeway: Annotated[Duration, Bounds(0, 600), Meta(description="By how much the provider's clock and ours may differ.")] = Duration(30)
    reach: Annotated[Reach, Meta(description="How the provider is reached.")] = field(default_factory=Reach)


def build(config: Config, tools: Tools) -> Hooks:
    """Raises ConfigError for URLs, keys and names that cannot work."""
    check_url(config.issuer, f"{tools.pointer}.issuer")
    if config.origin is not None:
        check_url(config.origin, f"{tools.pointer}.origin")
    problems = [Problem(message=message, pointer=f"{tools.pointer}.{key}", hint=hint) for key, message, hint in _flaws(config)]
    if problems:
        raise ConfigError(problems)
    remote = Remote("oidc", config.reach, tools.base, f"{tools.pointer}.reach.ca")
    provider = Provider(remote, config.issuer, config.client_id, config.client_secret, config.algorithms, round(config.leeway))
    login = Login(config, provider, tools.subjects, challenge(config))
    return Hooks(request=login.request, response=login.response, attached=remote.attach)


def challenge(config: Config) -> Challenge:
    """What a request without a credential is asked for."""
    return {"WWW-Authenticate": f'Cookie cookie-name="{config.cookie.name}"'}


def _flaws(config: Config) -> list[tuple[str, str, str]]:
    """(key, message, hint)"""
    cookie = config.cookie
    flaws = [(f"cookie.keys[{index}]", "a key is too short", "at least 32 characters: openssl rand -base64 32") for index, key in enumerate(cookie.keys) if len(key) < 32]
    if not is_token(cookie.name):
        flaws.append(("cookie.name", f"'{cookie.name}' is not a name", "letters, digits, - and _"))
    if cookie.name.startswith("__Host-") and (not cookie.secure or cookie.domain):
        flaws.append(("cookie.name", "browsers drop a cookie named __Host- that is not secure, or has a domain", "another name, or secure: true and no domain"))
    if cookie.same_site == "None" and not cookie.secure:
        flaws.append(("cookie.same_site", "browsers drop a cookie with SameSite=None that is not secure", "secure: true"))
    if cookie.domain is not None and not is_token(cookie.domain):
        flaws.append(("cookie.domain", f"'{cookie.domain}' is not a domain", "app.example"))
    public = {"EdDSA", *(name for name in NAMES if not name.startswith("HS"))}
    flaws += [("algorithms", f"'{name}' is not an algorithm of public keys", ", ".join(sorted(public))) for name in config.algorithms if name not in public]
    flaws += [("parameters", f"'{name}' is gw's to set", "leave it out") for name in config.parameters if name in OWN_PARAMETERS]
    if config.callback == config.logout:
        flaws.append(("logout", "callback and logout are the same path", "two paths"))
    if config.origin is not None and config.origin.count("/") > 2 + config.origin.endswith("/"):
        flaws.append(("origin", "an origin has no path", "https://app.example"))
    return flaws
