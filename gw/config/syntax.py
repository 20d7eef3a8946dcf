"""The small grammars that values of a config follow: field names and values, hosts, paths and templates."""

from __future__ import annotations

import ipaddress
import re

# RFC 9110 section 5.6.2.
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
# RFC 9110 section 5.5: no control byte but TAB, no white space at the ends.
_FIELD_VALUE = re.compile(r"(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?")
_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*", re.ASCII)
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
# The scheme of an extension or an app has no rules for its host; those of the web are what a server can know.
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(\[[0-9A-Fa-f:.]+\]|[^/:?#\[\]@]+)(?::([0-9]{1,5}))?", re.ASCII)
_BRACES = re.compile(r"\{([^{}]*)\}")

# Path parameters of one route: MAX_PARAMS in gw/_fast/radix.pxd.
PARAMETERS_MAX = 16
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "CONNECT", "TRACE")
# Fields that frame the message or belong to the connection; gw writes them itself.
FRAMING_FIELDS = frozenset({"connection", "content-length", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"})


def is_token(text: str) -> bool:
    """Whether the text can be a field name, method or protocol."""
    return _TOKEN.fullmatch(text) is not None


def is_field_value(text: str) -> bool:
    """Whether the text can stand after a field name as it is."""
    return _FIELD_VALUE.fullmatch(text) is not None


def is_latin(text: str) -> bool:
    """Whether gw can write the text into a head: ISO 8859-1 (RFC 9110 section 5.5)."""
    return all(letter <= "\xff" for letter in text)


def host_flaw(host: str) -> str | None:
    """Why this is not a host name or address, or None."""
    if host.startswith("[") or re.fullmatch(r"[0-9.]+", host):
        try:
            ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        except ValueError:
            return f"'{host}' is not an IP address"
        return None
    if not host.isascii():
        return f"'{host}' is not in ASCII form"
    return None if len(host) <= 253 and _HOST.fullmatch(host) else f"'{host}' is not a host name"


def network_flaw(text: str) -> tuple[str, str] | None:
    """Why this is not an IP address or CIDR block, with advice, or None."""
    if "%" in text:
        return f"'{text}' names a zone, which is not known of a client", f"leave '%{text.partition('%')[2].partition('/')[0]}' out"
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            network = ipaddress.ip_network(text, strict=False)
        except ValueError:
            return f"'{text}' is not an IP address or CIDR block", "such as 10.0.0.0/8 or 2001:db8::1"
        return f"'{text}' has bits set behind its prefix", f"did you mean {network}?"
    return None


def host_pattern_flaw(pattern: str) -> tuple[str, str | None] | None:
    """Why this cannot be in `hosts` of a route, with advice, or None."""
    if pattern == "*":
        return "'*' is not a host pattern", "leave `hosts` out to take any host"
    name = pattern.removeprefix("*.")
    if re.search(r":[0-9]+$", name) and not name.endswith("]") and name.count(":") == 1:
        return f"'{pattern}' holds a port", "a route takes the host on every port; leave the port out"
    if "*" in name:
        return f"'{pattern}' is not a host pattern", "a wildcard is the whole first label: *.example.com"
    flaw = host_flaw(name)
    return (flaw, _ascii_form(name)) if flaw else None


def _ascii_form(name: str) -> str | None:
    try:
        return None if name.isascii() else f"write {name.encode('idna').decode()}"
    except UnicodeError:
        return None


def origin_flaw(origin: str) -> tuple[str, str | None] | None:
    """Why this is no web origin (RFC 6454 section 6.2), or none with `*.` in front of its host, with advice; or None."""
    found = _ORIGIN.fullmatch(origin)
    if found is None:
        return f"'{origin}' is not an origin", "scheme and host as browsers send them, without a path: https://app.example"
    scheme, host, port = found.groups()
    if origin != origin.lower():
        return f"'{origin}' is not in lower case", f"browsers send {origin.lower()}"
    if (scheme, port) in (("https", "443"), ("http", "80")):
        return f"'{origin}' names the default port", "browsers leave it out"
    flaw = host_flaw(host.removeprefix("*."))
    return (flaw, None) if flaw else None


def path_flaw(path: str) -> tuple[str, str | None] | None:
    """Why this cannot be `path` or `exact` of a route, with advice, or None."""
    if not path.startswith("/"):
        return f"'{path}' does not begin with /", f"did you mean '/{path}'?" if re.match(r"[A-Za-z0-9_{-]", path) else None
    if "?" in path or "#" in path:
        return "a path holds no query or fragment", "match query parameters with `query`"
    if re.search(r"[\x00-\x20\x7f]", path):
        return "a path holds no white space or control characters", None
    if re.search(r"/\.{1,2}(?:/|$)", path):
        return "a path with '.' or '..' segments never matches", "requests are matched on their normalised path"
    return None


def path_parameters(path: str) -> tuple[list[str], str | None]:
    """The names in `{braces}`, and what is wrong with them if anything is."""
    names = [segment[1:-1] for segment in path.split("/") if segment.startswith("{") and segment.endswith("}")]
    if len(names) != path.count("{") or len(names) != path.count("}"):
        return names, "a parameter is a whole segment, such as /user/{id}"
    odd = next((name for name in names if not _PARAMETER.fullmatch(name)), None)
    if odd is not None:
        return names, f"'{{{odd}}}' is not a parameter: letters, digits and _ only"
    return names, _too_many(names)


def regex_parameters(regex: str) -> tuple[list[str], str | None]:
    """The named groups of a regular expression; whether it compiles is the router's to say."""
    names = re.findall(r"\(\?P?<([A-Za-z_][A-Za-z0-9_]*)>", regex)
    return names, _too_many(names)


def _too_many(names: list[str]) -> str | None:
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        return f"parameter '{{{twice}}}' occurs twice"
    return f"more than {PARAMETERS_MAX} parameters" if len(names) > PARAMETERS_MAX else None


def template_names(template: str) -> tuple[list[str], bool]:
    """The names in `{braces}`, and whether there are braces besides."""
    rest = _BRACES.sub("", template)
    return _BRACES.findall(template), "{" in rest or "}" in rest
