"""The argument tree of `gw`, nothing else: each verb hands over to the file of its family."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from gw import __version__
from gw.cli.console import Exit, complain, say, show_problems
from gw.errors import ConfigError, GatewayError

EPILOG = """Exit codes: 0 ok, 1 a problem was found or an operation failed, 2 wrong usage, 3 no running gw to talk to,
70 a fault in gw itself (GW_DEBUG=1 shows the traceback)."""

DEFAULTS = "default ./gw.yaml, ./gw.json, ./gw.toml, ./gw/, /etc/gw/gw.yaml"
Config = Annotated[Path | None, typer.Argument(metavar="PATH", help=f"Config file or folder; {DEFAULTS}.", show_default=False)]
ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", metavar="PATH", help=f"Config file or folder; {DEFAULTS}.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]

app = typer.Typer(
    name="gw",
    help="An API gateway: one front door for your HTTP services. Start with `gw demo`, or with `gw init` and `gw run`.",
    epilog=EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


keys = typer.Typer(name="keys", help="API keys that are made while gw runs, and hashes for a config.", no_args_is_help=True)
app.add_typer(keys, rich_help_panel="A running gw")
Key = Annotated[str, typer.Argument(metavar="ID", help="Id of a key, as `gw keys list` shows it.")]


def _version(wanted: bool) -> None:
    if wanted:
        say(f"gw {__version__}")
        raise typer.Exit


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", envvar="GW_DEBUG", help="Show tracebacks.", show_default=False)] = False,
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.", show_default=False)] = False,  # noqa: ARG001 - _version is called with it
) -> None:
    if debug:
        os.environ["GW_DEBUG"] = "1"  # workers look here too


@app.command(rich_help_panel="Serve")
def run(
    path: Config = None,
    to: Annotated[str | None, typer.Option(metavar="URL", help="Forward everything to this URL; no config file at all.", show_default=False)] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="ADDR", help="Listen on host:port, :port or unix:/path instead of what the config says; 127.0.0.1:8080 with --to.", show_default=False)
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=1024, help="Worker processes, instead of what the config says.", show_default=False)] = None,
) -> None:
    """Run the gateway in the foreground."""
    from gw.cli.run import run as start

    start(path, to, listen, workers)


@app.command(rich_help_panel="Serve")
def demo(port: Annotated[int, typer.Option(min=0, max=65535, help="Where the gateway listens; 0 picks a free port.")] = 8080) -> None:
    """Run the gateway in front of two small services, and show what to curl."""
    from gw.cli.demo import demo as start

    start(port)


@app.command(rich_help_panel="Configuration")
def init(file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")] = Path("gw.yaml")) -> None:
    """Write a commented config file to start from."""
    from gw.cli.check import init as write

    write(file)


@app.command(rich_help_panel="Configuration")
def check(path: Config = None, ports: Annotated[bool, typer.Option("--ports", help="Also try to bind every address (not while gw runs on them).")] = False) -> None:
    """Find every problem of a config without running it."""
    from gw.cli.check import check as find

    raise typer.Exit(find(path, ports))


@app.command(rich_help_panel="Configuration")
def test(
    path: Annotated[
        Path | None, typer.Argument(metavar="PATH", help=f"A file of cases (*.test.yaml), or a config whose cases stand beside it; {DEFAULTS}.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    case: Annotated[str | None, typer.Option("--case", metavar="NAME", help="Only cases whose name holds this.", show_default=False)] = None,
    online: Annotated[bool, typer.Option("--online", help="Fetch what policies follow and the cases do not give.")] = False,
    coverage: Annotated[bool, typer.Option("--coverage", help="Also show which routes and policies the cases met.")] = False,
    fail_under: Annotated[float | None, typer.Option(min=0, max=100, metavar="PERCENT", help="Fail when less is covered.", show_default=False)] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the results as JUnit XML.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """Run the cases of a config offline, through the engine that serves traffic."""
    from gw.cli.test import Asked
    from gw.cli.test import test as try_all

    raise typer.Exit(try_all(path, config, Asked(case, online, coverage, fail_under, junit, as_json)))


@app.command(rich_help_panel="Configuration")
def schema(
    reference: Annotated[bool, typer.Option("--reference", help="Print the reference of all keys as Markdown instead.")] = False,
    tests: Annotated[bool, typer.Option("--tests", help="The schema of files of cases, as `gw test` reads them.")] = False,
) -> None:
    """Print the JSON Schema of the config, for editors."""
    from gw.cli.show import schema as show

    show(reference, tests)


@app.command(rich_help_panel="Look inside")
def routes(path: Config = None, as_json: Json = False) -> None:
    """Show the routes in the order in which they are tried."""
    from gw.cli.show import routes as show

    show(path, as_json)


@app.command(rich_help_panel="Look inside")
def explain(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="GET, POST ...")],
    url: Annotated[str, typer.Argument(metavar="URL", help="A path such as /users/7?x=1, or a whole URL.")],
    header: Annotated[list[str] | None, typer.Option("-H", "--header", metavar="'NAME: VALUE'", help="A request field; repeat for more.", show_default=False)] = None,
    body: Annotated[str | None, typer.Option("-d", "--body", metavar="TEXT|@FILE", help="The request's body, for policies that look at it.", show_default=False)] = None,
    answer: Annotated[
        Path | None, typer.Option("--answer", metavar="FILE", help="What the endpoint answers, as `curl -i` prints it: shows what the client gets.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    client: Annotated[str, typer.Option("--from", metavar="IP", help="Address of the client.")] = "127.0.0.1",
    forwarded: Annotated[bool, typer.Option("--forwarded", help="Also show the request as the endpoint would get it, and the answer that the client gets.")] = False,
    online: Annotated[bool, typer.Option("--online", help="Fetch what policies follow, such as the keys of tokens.")] = False,
    as_json: Json = False,
) -> None:
    """Show which route takes a request, why the others do not, and what happens then."""
    from gw.cli.explain import Asked, View
    from gw.cli.explain import explain as show

    raise typer.Exit(show(Asked(method, url, header or [], client, body, answer), config, View(forwarded, online, as_json)))


@app.command(rich_help_panel="Look inside")
def policies(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Show this one in full.", show_default=False)] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", metavar="PATH", help="Also those that this config brings along.", show_default=False)] = None,
    as_json: Json = False,
) -> None:
    """List the policies this gw knows, or show one with its settings."""
    from gw.cli.show import policies as show

    show(name, config, as_json)


@app.command(rich_help_panel="A running gw")
def status(config: ConfigOption = None, as_json: Json = False) -> None:
    """Show revision, workers and listeners of the running gw."""
    from gw.cli.control import status as show

    raise typer.Exit(show(config, as_json))


@app.command(rich_help_panel="A running gw")
def reload(config: ConfigOption = None) -> None:
    """Load the config anew in the running gw: all workers take it, or none."""
    from gw.cli.control import reload as ask

    raise typer.Exit(ask(config))


@app.command(rich_help_panel="A running gw")
def stop(
    config: ConfigOption = None,
    drain: Annotated[float | None, typer.Option(min=0, metavar="SECONDS", help="How long exchanges may go on, instead of what the config says.", show_default=False)] = None,
) -> None:
    """Let the running gw finish its exchanges and end; waits for it."""
    from gw.cli.control import stop as ask

    raise typer.Exit(ask(config, drain))


@app.command(rich_help_panel="A running gw")
def usage(
    quota: Annotated[str | None, typer.Option("--quota", metavar="NAME", help="Only this quota.", show_default=False)] = None,
    key: Annotated[
        str | None, typer.Option("--key", "--consumer", metavar="KEY", help="Only this key: the name of a consumer, if the quota counts by that.", show_default=False)
    ] = None,
    config: ConfigOption = None,
    as_json: Json = False,
) -> None:
    """Show what was used of quotas, in the store's file and in its Redis, whether gw runs or not."""
    from gw.cli.usage import usage as show

    raise typer.Exit(show(quota, key, as_json, config))


@keys.command("create")
def keys_create(
    consumer: Annotated[str, typer.Argument(metavar="CONSUMER", help="Whose key it is: one of the config's consumers.")],
    expires: Annotated[str | None, typer.Option(metavar="DURATION", help="How long it is good, such as 90d; default: until it is revoked.", show_default=False)] = None,
    config: ConfigOption = None,
) -> None:
    """Make a key and show it, this once."""
    from gw.cli.keys import create

    create(consumer, expires, config)


@keys.command("list")
def keys_list(as_json: Json = False, config: ConfigOption = None) -> None:
    """Show the keys of the store; not the keys themselves, which nobody knows."""
    from gw.cli.keys import list_all

    list_all(as_json, config)


@keys.command("revoke")
def keys_revoke(key: Key, config: ConfigOption = None) -> None:
    """Have a key refused, within a second and for ever."""
    from gw.cli.keys import revoke

    revoke(key, config)


@keys.command("rotate")
def keys_rotate(
    key: Key, overlap: Annotated[str, typer.Option(metavar="DURATION", help="How long the old key goes on.")] = "1d", config: ConfigOption = None
) -> None:
    """Make a new key in place of an old one, and show it, this once."""
    from gw.cli.keys import rotate

    rotate(key, overlap, config)


@keys.command("hash")
def keys_hash() -> None:
    """Read a key, print the hash for a consumer's `api_keys`."""
    from gw.cli.keys import hash_key

    hash_key()


@keys.command("password")
def keys_password() -> None:
    """Read a password, print the argon2id hash for a consumer's `passwords`."""
    from gw.cli.keys import hash_password

    hash_password()


@app.command(rich_help_panel="Other")
def version() -> None:
    """Print the version."""
    say(f"gw {__version__}")


def main() -> None:
    """Entry point of the command `gw`; turns every failure into a sentence and an exit code."""
    try:
        app(prog_name="gw")
    except ConfigError as error:
        show_problems(error.problems)
        sys.exit(Exit.PROBLEM)
    except GatewayError as error:
        complain(str(error))
        sys.exit(Exit.PROBLEM)
    except Exception as error:  # noqa: BLE001  # the border of the program: the traceback goes out on request
        if os.environ.get("GW_DEBUG"):
            traceback.print_exc()
        else:
            complain(f"a fault in gw itself: {type(error).__name__}: {error}. GW_DEBUG=1 shows the traceback; please report it.")
        sys.exit(Exit.INTERNAL)
