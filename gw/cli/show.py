"""`gw schema`, `gw routes`, `gw policies`: what this gw understands, and what a config compiles to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from gw.cli.console import out, say, say_json, short
from gw.cli.locate import config_path
from gw.config import load, schema_of, settings_of, written_policies
from gw.config.convert import advise
from gw.errors import ConfigError, GatewayError

if TYPE_CHECKING:
    from gw.config import Config, Loaded
    from gw.config.model import Route
    from gw.policy import Policy
    from gw.router import Row


def schema(reference: bool, tests: bool) -> None:
    """Print the JSON Schema of the config or of files of cases, or the reference in Markdown."""
    from gw import config

    if tests:
        from gw.runtime import CaseFile

        say_json(config.schema_of(CaseFile, "Cases of gw test"))
    elif reference:
        say(config.reference())
    else:
        say_json(config.schema())


def routes(named: Path | None, as_json: bool) -> None:
    """Print the compiled order of the routes."""
    loaded = load(config_path(named))
    rows = [_row(loaded, number, row) for number, row in enumerate(ordered(loaded), 1)]
    if as_json:
        say_json(rows)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table("", "host", "path", "methods", "also", "goes to", "policies", "written at", box=None, header_style="bold")
    for row in rows:
        match = [row["host"] or "any", f"{row['kind']} {row['path']}", " ".join(row["methods"]) or "any", "; ".join(row["also"])]
        cells = [str(row["order"]), *match, row["to"], ", ".join(row["policies"]), row["at"]]
        table.add_row(*map(Text, cells))
    out().print(table)


def ordered(loaded: Loaded) -> list[Row]:
    """The rows of the route table in the order in which they are tried. Raises ConfigError with places."""
    from gw.router import compile_routes, order

    try:
        return order(compile_routes(loaded.config.routes, loaded.config.path))
    except ConfigError as error:
        raise loaded.placed(error) from None


def _row(loaded: Loaded, number: int, row: Row) -> dict[str, Any]:
    route = loaded.config.routes[row.route]
    kind, path = ("exact", route.exact) if route.exact is not None else ("regex", route.regex) if route.regex is not None else ("prefix", route.path or "/")
    return {
        "order": number,
        "route": row.route,
        "name": route.name,
        "host": row.host,
        "kind": kind,
        "path": path,
        "methods": route.methods,
        "also": [*_conditions("header", route.headers), *_conditions("query", route.query)],
        "to": destination(route),
        "policies": policy_names(loaded.config, route),
        "at": written_at(loaded, row.route),
    }


def _conditions(kind: str, wanted: dict[str, str | bool]) -> list[str]:
    forms = {True: "is present", False: "is absent"}
    return [f"{kind} {name} {forms[value] if isinstance(value, bool) else f'= {value}'}" for name, value in wanted.items()]


def destination(route: Route) -> str:
    """What the route does with a request, in a few words."""
    if route.redirect:
        return f"redirect {route.redirect.status} {route.redirect.to}"
    if route.respond:
        return f"respond {route.respond.status}"
    return f"service {route.service}"


def policy_names(config: Config, route: Route) -> list[str]:
    """Policies in the order in which they run: the gateway's, the service's, the route's."""
    from gw.config import policies_of

    service = config.services[route.service].policies if route.service else []
    return [policy.name for policies in (config.policies, service, route.policies) for policy in policies_of(policies)]


def written_at(loaded: Loaded, route: int) -> str:
    """`file:line` of a route."""
    at = loaded.where(f"$.routes[{route}]")
    return f"{short(at.file)}:{at.line}"


def policies(name: str | None, named: Path | None, as_json: bool) -> None:
    """Print the policies: those built in, and those of the operator's own that a config uses; or one of them in full."""
    found = _known(named)
    if name is not None and name not in found:
        raise GatewayError(f"there is no policy '{name}' (-c CONFIG adds those of a config); {advise(name, found)}")
    if as_json:
        say_json([_plain_policy(each) for each in found.values()] if name is None else _plain_policy(found[name]))
    elif name is not None:
        _show_policy(found[name])
    else:
        _show_policies(list(found.values()))
        say("`gw policies NAME` shows one in full. Your own: a file NAME.py in a folder named under `modules`; see docs/first-policy.md.")


def _known(named: Path | None) -> dict[str, Policy]:
    """By name; the operator's own stand behind those built in."""
    from gw.policy import BUILTIN, find

    found = {name: find(name, [], "") for name in BUILTIN}
    if named is None:
        return found
    loaded = load(config_path(named))
    folders = [loaded.base / folder for folder in loaded.config.modules]
    try:
        own = {each.name: find(each.name, folders, each.pointer) for each in written_policies(loaded.config) if each.name not in found}
    except ConfigError as error:
        raise loaded.placed(error) from None
    return found | own


def _plain_policy(policy: Policy) -> dict[str, Any]:
    return {
        "name": policy.name,
        "kind": policy.kind,
        "from": _origin(policy),
        "summary": policy.summary,
        "settings": [each._asdict() for each in settings_of(policy.config)],
        "schema": schema_of(policy.config, policy.name),
    }


def _origin(policy: Policy) -> str:
    return short(str(policy.file)) if policy.file else "built in"


def _show_policies(found: list[Policy]) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table("policy", "kind", "from", "", box=None, header_style="bold")
    for each in found:
        table.add_row(each.name, each.kind, Text(_origin(each)), Text(each.summary))
    out().print(table)


def _show_policy(policy: Policy) -> None:
    from rich.table import Table
    from rich.text import Text

    out().print(Text.assemble((policy.name, "bold"), f"  {policy.kind}, {_origin(policy)}"))
    say(policy.summary)
    table = Table("setting", "type", "default", "", box=None, header_style="bold")
    for each in settings_of(policy.config):
        table.add_row(*map(Text, (each.key, f"{each.type}{f', {each.unit}' if each.unit else ''}", each.default, each.description)))
    out().print(table)
