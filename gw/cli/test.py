"""`gw test`: cases in files beside the config, run offline by the engine that serves traffic."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from msgspec import Struct

from gw.cli.console import Exit, complain, out, say_json, short
from gw.cli.locate import CANDIDATES, config_path
from gw.cli.snapshot import compiled
from gw.config import Document, Loaded, is_cases, load, load_as
from gw.errors import ConfigError, GatewayError
from gw.runtime import CaseFile, Coverage, Engine, Outcome, Trial, flaws, route_name, unused

if TYPE_CHECKING:
    from gw.runtime import Difference
    from gw.store import Source

FOLDER = "tests"  # beside the config, for those who want cases out of its way


class Asked(Struct, frozen=True):
    """What the operator wants of `gw test`."""

    only: str | None  # the part of a name that cases must hold
    online: bool
    coverage: bool
    fail_under: float | None  # per cent
    junit: Path | None
    as_json: bool


class Tried(Struct):
    """A file of cases with what came of them."""

    path: Path
    loaded: Loaded
    document: Document[CaseFile]
    outcomes: list[Outcome]
    coverage: Coverage


def test(named: Path | None, config: Path | None, asked: Asked) -> Exit:
    """Run the cases and print what came of them; 1 when one failed, or too little was covered."""
    tried = asyncio.run(_all(case_files(named, config), asked))
    outcomes = [each for file in tried for each in file.outcomes]
    if not outcomes:
        raise GatewayError(f"no case's name holds '{asked.only}'")
    if asked.junit:
        _write_junit(asked.junit, tried)
    coverage = _by_config(tried)
    if asked.as_json:
        say_json({"cases": [_plain(file, each) for file in tried for each in file.outcomes], "coverage": [_plain_coverage(*each) for each in coverage.values()]})
    else:
        _show(tried)
        if asked.coverage or asked.fail_under is not None:
            for loaded, covered in coverage.values():
                _show_coverage(loaded, covered)
    short_of = [path for path, (_, covered) in coverage.items() if asked.fail_under is not None and covered.percent < asked.fail_under]
    for path in short_of:
        complain(f"{short(str(path))}: {coverage[path][1].percent:.0f} % covered, less than {asked.fail_under:g} %")
    return Exit.PROBLEM if short_of or any(each.differences for each in outcomes) else Exit.OK


def case_files(named: Path | None, config: Path | None) -> list[tuple[Path, Path | None]]:
    """Files of cases, each with the config that is named for it on the command line. Raises GatewayError when there are none."""
    if named is not None and is_cases(named):
        if not named.exists():
            raise GatewayError(f"{named} does not exist")
        return [(named, config)]
    about = config_path(named or config)
    folder = about if about.is_dir() else about.parent
    found = [each for place in (folder, folder / FOLDER) if place.is_dir() for each in sorted(place.iterdir()) if is_cases(each)]
    mine = [each for each in found if _is_about(each, about)]
    if not mine:
        example = 'cases: [{name: the front page, request: {url: /}, expect: {status: 200}}]'
        raise GatewayError(f"no cases for {about}; looked for *.test.yaml, .json and .toml in {folder} and {folder / FOLDER}. A file {about.stem}.test.yaml may hold: {example}")
    return [(each, about) for each in mine]


def _is_about(file: Path, config: Path) -> bool:
    said = load_as(file, CaseFile).value.config
    return said is None or (file.parent / said).resolve() == config.resolve()


def _config_of(file: Path, document: Document[CaseFile], named: Path | None) -> Path:
    if named is not None:
        return config_path(named)
    if document.value.config is not None:
        return file.parent / document.value.config
    folder = file.parent.parent if file.parent.resolve().name == FOLDER else file.parent
    return next((folder / each for each in CANDIDATES[:3] if (folder / each).is_file()), folder)


async def _all(files: list[tuple[Path, Path | None]], asked: Asked) -> list[Tried]:
    tried = []
    known: dict[Path, tuple[Loaded, dict[str, bytes]]] = {}
    for path, named in files:
        document = load_as(path, CaseFile)
        problems = document.placed(flaws(document.value))
        if problems:
            raise ConfigError(problems)
        config = _config_of(path, document, named)
        if config not in known:
            loaded = load(config)
            known[config] = loaded, await _fetched(loaded) if asked.online else {}
        tried.append(await _file(path, document, *known[config], asked))
    return tried


def _sources(loaded: Loaded) -> list[Source]:
    return [source for source, _ in compiled(loaded)[0].settings["sources"]]


async def _fetched(loaded: Loaded) -> dict[str, bytes]:
    engine = Engine(*compiled(loaded))
    try:
        data, failed = await engine.fetch()
    finally:
        engine.close()
    for error in failed:
        complain(str(error))
    return data


async def _file(path: Path, document: Document[CaseFile], loaded: Loaded, data: dict[str, bytes], asked: Asked) -> Tried:
    strays = document.placed(unused(document.value, _sources(loaded)))
    if strays:
        raise ConfigError(strays)
    trial = Trial(loaded.config, document.value, lambda: compiled(loaded), data)
    chosen = [index for index, case in enumerate(document.value.cases) if asked.only is None or asked.only in case.name]
    return Tried(path, loaded, document, [await trial.run(index) for index in chosen], trial.coverage)


def _by_config(tried: list[Tried]) -> dict[Path, tuple[Loaded, Coverage]]:
    """Coverage of each config over all files about it."""
    found: dict[Path, tuple[Loaded, Coverage]] = {}
    for file in tried:
        key = Path(file.loaded.root.at.file)
        if key in found:
            found[key][1].add(file.coverage)
        else:
            found[key] = file.loaded, file.coverage
    return found


def _show(tried: list[Tried]) -> None:
    from rich.text import Text

    outcomes = [each for file in tried for each in file.outcomes]
    width = max(len(_at(file.document, each.pointer)) for file in tried for each in file.outcomes)
    for file in tried:
        for each in file.outcomes:
            mark = ("FAIL", "bold red") if each.differences else ("ok  ", "green")
            out().print(Text.assemble(mark, "  ", (f"{_at(file.document, each.pointer):<{width}}", "dim"), f"  {each.name}"))
            for line in _failure(file, each):
                out().print(line)
    failed = sum(bool(each.differences) for each in outcomes)
    counts = f"{len(outcomes)} case{'s' if len(outcomes) != 1 else ''}: {len(outcomes) - failed} passed, {failed} failed"
    out().print(Text.assemble((counts, "bold red" if failed else "bold green"), f", in {sum(each.ms for each in outcomes):.0f} ms"))


def _failure(file: Tried, outcome: Outcome) -> Iterator[Any]:
    from rich.text import Text

    for each in outcome.differences:
        at = file.document.where(each.pointer)
        yield Text.assemble((f"      {short(at.file)}:{at.line}:{at.column}: ", "bold"), f"{_key(outcome, each)}{f' of request {outcome.count}' if outcome.count else ''}")
        yield Text.assemble("        expected  ", (each.expected, "green"))
        yield Text.assemble("        got       ", (each.found, "red"))
    for line in _reasons(file.loaded, outcome):
        yield Text(f"      {line}", style="dim")


def _key(outcome: Outcome, difference: Difference) -> str:
    return difference.pointer.removeprefix(outcome.pointer).removeprefix(".")


def _reasons(loaded: Loaded, outcome: Outcome) -> Iterator[str]:
    """What decided, where it is written, and what the policies saw."""
    decision = outcome.decision
    if decision is None or not outcome.differences:
        return
    if decision.route < 0:
        yield f"no route took {decision.method} {decision.host}{decision.path}"
        yield from (f"  {_named(loaded, loser.route)}: {loser.why}" for loser in decision.losers)
    else:
        yield f"taken by {_named(loaded, decision.route)}"
    for each in decision.verdicts:
        if each.pointer and (each.told or each.verdict != "pass"):
            at = loaded.where(each.pointer)
            said = ", ".join(filter(None, (each.verdict, each.reason, each.told)))
            yield f"{each.policy} at {short(at.file)}:{at.line}: {said}"
    yield from outcome.reports


def _named(loaded: Loaded, route: int) -> str:
    at = loaded.where(f"$.routes[{route}]")
    return f"the route {route_name(loaded.config.routes[route])} at {short(at.file)}:{at.line}"


def _at(document: Document[CaseFile], pointer: str) -> str:
    at = document.where(pointer)
    return f"{short(at.file)}:{at.line}"


def _plain(file: Tried, outcome: Outcome) -> dict[str, Any]:
    decided = file.loaded.where(outcome.decided) if outcome.decided else None
    differences = [
        {"at": str(file.document.where(each.pointer)), "key": _key(outcome, each), "expected": each.expected, "found": each.found} for each in outcome.differences
    ]
    return {
        "name": outcome.name,
        "at": _at(file.document, outcome.pointer),
        "passed": not differences,
        "ms": round(outcome.ms, 3),
        "differences": differences,
        "decided": f"{short(decided.file)}:{decided.line}" if decided else "",
        "why": list(_reasons(file.loaded, outcome)),
    }


def _plain_coverage(loaded: Loaded, coverage: Coverage) -> dict[str, Any]:
    routes = [{"name": route_name(loaded.config.routes[index]), "at": _where(loaded, f"$.routes[{index}]"), "requests": count} for index, count in coverage.routes.items()]
    ran = coverage.policies.items()
    policies = [{"name": met.name, "at": _where(loaded, pointer), "passed": met.passed, "refused": met.refused, "refuses": met.refuses} for pointer, met in ran]
    return {"config": short(loaded.root.at.file), "percent": round(coverage.percent, 1), "routes": routes, "policies": policies}


def _where(loaded: Loaded, pointer: str) -> str:
    at = loaded.where(pointer)
    return f"{short(at.file)}:{at.line}"


def _show_coverage(loaded: Loaded, coverage: Coverage) -> None:
    from rich.table import Table
    from rich.text import Text

    found = _plain_coverage(loaded, coverage)
    table = Table("", "written at", "requests", "passed", "refused", box=None, header_style="bold")
    for route in found["routes"]:
        table.add_row(Text(f"route {route['name']}"), route["at"], _number(route["requests"], needed=True), "", "")
    for policy in found["policies"]:
        ran = policy["passed"] + policy["refused"]
        passed = _number(policy["passed"], needed=policy["refuses"])
        table.add_row(Text(f"policy {policy['name']}"), policy["at"], _number(ran, needed=True), passed, _number(policy["refused"], needed=policy["refuses"]))
    out().print(table)
    out().print(f"{found['config']}: {coverage.met} of {coverage.wanted} covered, {coverage.percent:.0f} %", markup=False)


def _number(count: int, *, needed: bool) -> Any:
    from rich.text import Text

    return Text(str(count), style="red" if needed and not count else "")


def _write_junit(path: Path, tried: list[Tried]) -> None:
    suites = ElementTree.Element("testsuites")
    for file in tried:
        failed = sum(bool(each.differences) for each in file.outcomes)
        seconds = f"{sum(each.ms for each in file.outcomes) / 1000:.6f}"
        suite = ElementTree.SubElement(suites, "testsuite", name=short(str(file.path)), tests=str(len(file.outcomes)), failures=str(failed), errors="0", time=seconds)
        for each in file.outcomes:
            at = file.document.where(each.pointer)
            case = ElementTree.SubElement(suite, "testcase", name=each.name, classname=short(at.file), file=short(at.file), line=str(at.line), time=f"{each.ms / 1000:.6f}")
            if each.differences:
                first = each.differences[0]
                failure = ElementTree.SubElement(case, "failure", message=f"{_key(each, first)}: expected {first.expected}, got {first.found}")
                failure.text = "\n".join([*map(str, _failure(file, each))])
    try:
        ElementTree.ElementTree(suites).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise GatewayError(f"cannot write {path}: {error.strerror}") from None
