"""From files to a checked Config, or every reason why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Generic, Literal, TypeVar

from msgspec import Struct, field
from msgspec.structs import replace

from gw.config import json_source, toml_source, yaml_source
from gw.config.address import parse_bind, parse_endpoint
from gw.config.convert import read
from gw.config.expand import Expander
from gw.config.file_rules import check_files, tls_files
from gw.config.model import Config, Listener, Route, Service
from gw.config.node import Node, Position, locate, merge
from gw.config.rules import check_config, check_objects
from gw.errors import ConfigError, Problem

SUFFIXES = (".yaml", ".yml", ".json", ".toml")
CASES = ".test"  # before the suffix: a file of cases for `gw test`, no part of a config

T = TypeVar("T", bound=Struct)


class Loaded(Struct, kw_only=True):
    """A config with the places it was written at.

    `files` are those to watch: what was read, references and certificates. Relative paths in the config start from `base`.
    """

    config: Config
    files: list[Path] = field(default_factory=list)
    base: Path = field(default_factory=Path)
    root: Node = field(default_factory=lambda: Node({}, Position("", 0, 0)))

    def where(self, pointer: str) -> Position:
        """Where the value at a pointer such as `$.routes[0].path` was written."""
        return locate(self.root, pointer)

    def problem(self, pointer: str, message: str, hint: str | None = None, severity: Literal["error", "warning"] = "error") -> Problem:
        """A problem with its file, line and column."""
        return self.place(Problem(message=message, pointer=pointer, hint=hint, severity=severity))

    def place(self, problem: Problem) -> Problem:
        """The problem with file, line and column, found by its pointer; unchanged if it has a position already."""
        return _placed(problem, self.root)

    def placed(self, error: ConfigError) -> ConfigError:
        """The error with all its problems placed."""
        return ConfigError(map(self.place, error.problems))


class Document(Struct, Generic[T]):
    """A file of another kind than a config, with the places it was written at."""

    value: T
    root: Node

    def where(self, pointer: str) -> Position:
        """Where the value at a pointer such as `$.cases[0].name` was written."""
        return locate(self.root, pointer)

    def placed(self, problems: Iterable[Problem]) -> list[Problem]:
        """The problems with file, line and column."""
        return [_placed(each, self.root) for each in problems]


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Loaded:
    """Read a file, or the files of a folder in the order of their names, and check what can be checked without opening sockets.

    Raises ConfigError with every error found. Warnings come from `check`.
    """
    path = Path(path)
    found = _files(path)
    texts = [(file, _text(file)) for file in found]
    return _loaded(texts, path if path.is_dir() else path.parent, environ, str(path))


def loads(text: str, name: str = "gw.yaml", base: Path | None = None, environ: Mapping[str, str] = os.environ) -> Loaded:
    """As `load`, from text; the suffix of `name` says the language."""
    return _loaded([(Path(name), text)], base or Path(), environ, name)


def load_as(path: Path, kind: type[T], environ: Mapping[str, str] = os.environ) -> Document[T]:
    """Read one file as another struct than Config, with variables and `file:` references filled in. Raises ConfigError with every error found."""
    problems: list[Problem] = []
    root = _root(path, _text(path), problems)
    if root is None:
        raise ConfigError(problems)
    Expander(environ).expand(root, path.parent)
    value: T = read(root, kind, "$", problems)
    if problems:
        raise ConfigError(_sorted(_placed(each, root) for each in problems))
    return Document(value, root)


def is_cases(path: Path) -> bool:
    """Whether the name is that of a file of cases, such as `gw.test.yaml`."""
    return path.suffix in SUFFIXES and Path(path.stem).suffix == CASES


def check(loaded: Loaded) -> list[Problem]:
    """What can be said about a config across its objects, in the order of the files: after a `load` that did not raise these are warnings."""
    problems = [*check_config(loaded.config), *check_files(loaded.config, loaded.base)]
    return _sorted(map(loaded.place, problems))


def from_url(to: str, listen: str = "127.0.0.1:8080") -> Config:
    """The config that forwards everything to one URL. Raises ConfigError."""
    problems = []
    for option, text, parse in (("--to", to, parse_endpoint), ("--listen", listen, parse_bind)):
        try:
            parse(text)
        except ValueError as error:
            problems.append(Problem(message=f"{option} {text}: {error}"))
    if problems:
        raise ConfigError(problems)
    # A public origin picks its site by Host and would refuse the name of this gateway; a local one wants to know the name the client used.
    service = Service(endpoints=[to], host="endpoint" if parse_endpoint(to).tls else "preserve")
    return Config(listeners=[Listener(bind=listen)], services={"origin": service}, routes=[Route(path="/", service="origin")])


def _files(path: Path) -> list[Path]:
    try:
        if not path.is_dir():
            return [path]
        found = sorted(each for each in path.iterdir() if each.suffix in SUFFIXES and not each.name.startswith(".") and not is_cases(each) and each.is_file())
    except OSError as error:
        raise ConfigError([Problem(message=f"cannot read: {error.strerror}", file=str(path))]) from None
    if not found:
        raise ConfigError([Problem(message=f"no file that ends in {', '.join(SUFFIXES)} in this folder", file=str(path))])
    return found


def _text(file: Path) -> str | Problem:
    try:
        return decode_text(file.read_bytes(), str(file))
    except FileNotFoundError:
        return Problem(message="no such file", file=str(file), hint="`gw init` writes one to start from; `gw run --to URL` needs none")
    except OSError as error:
        return Problem(message=f"cannot read: {error.strerror}", file=str(file))
    except ConfigError as error:
        return error.problems[0]
    except ValueError as error:
        return Problem(message=f"cannot read: {error}", file=str(file))


def decode_text(data: bytes, file: str) -> str:
    """UTF-8, with or without a byte order mark. Raises ConfigError."""
    try:
        return data.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        good = data[: error.start].decode()
        line, column = good.count("\n") + 1, len(good) - good.rfind("\n")
        raise ConfigError([Problem(message=f"byte 0x{data[error.start]:02x} is not UTF-8", file=file, line=line, column=column, hint="save the file as UTF-8")]) from None


def _loaded(texts: list[tuple[Path, str | Problem]], base: Path, environ: Mapping[str, str], name: str) -> Loaded:
    problems: list[Problem] = []
    roots = [_root(file, text, problems) for file, text in texts]
    expander = Expander(environ)
    for root in roots:
        if root is not None:
            expander.expand(root, base)
    root = _merged([each for each in roots if each is not None], name, problems)
    if any(each is None for each in roots) and problems:
        raise ConfigError(_sorted(problems))
    shape: list[Problem] = []
    config: Config = read(root, Config, "$", shape)
    problems += shape
    problems += (each for each in _rules(config, base, shape) if each.severity == "error")
    if problems:
        raise ConfigError(_sorted(_placed(each, root) for each in problems))
    files = [*(file for file, _ in texts), *expander.files, *tls_files(config, base)]
    return Loaded(config=config, files=files, base=base, root=root)


def _rules(config: Config, base: Path, shape: list[Problem]) -> Iterator[Problem]:
    """What `check` says, less what a part that could not be read may have caused."""
    yield from check_files(config, base)
    if not shape:
        yield from check_config(config)
        return
    has_all_sections = all(each.pointer.count(".") + each.pointer.count("[") > 1 for each in shape)
    for problem in check_config(config) if has_all_sections else check_objects(config):
        if not any(_is_inside(each.pointer, problem.pointer) for each in shape):
            yield problem


def _root(file: Path, text: str | Problem, problems: list[Problem]) -> Node | None:
    """The top mapping of one file; None, with a problem noted, if it has none."""
    if isinstance(text, Problem):
        problems.append(text)
        return None
    parse: Callable[[str, str], Node | None] = {".json": json_source.parse, ".toml": toml_source.parse}.get(file.suffix, yaml_source.parse)
    try:
        root = parse(text, str(file))
    except ConfigError as error:
        problems += error.problems
        return None
    if root is None or root.value is None:
        return Node({}, Position(str(file), 1, 1))
    if not isinstance(root.value, dict):
        problems.append(Problem(message="expected a mapping at the top, such as `listeners:`", file=root.at.file, line=root.at.line, column=root.at.column))
        return None
    return root


def _merged(roots: list[Node], name: str, problems: list[Problem]) -> Node:
    if not roots:
        return Node({}, Position(name, 1, 1))
    whole = roots[0]
    for root in roots[1:]:
        whole, clashes = merge(whole, root)
        for pointer, first, second in clashes:
            message = f"'{pointer.removeprefix('$.')}' is already set in another file"
            problems.append(Problem(message=message, file=second.file, line=second.line, column=second.column, hint=f"first written at {first}"))
    return whole


def _is_inside(pointer: str, around: str) -> bool:
    return pointer.startswith(around) and pointer[len(around) : len(around) + 1] in ("", ".", "[")


def _placed(problem: Problem, root: Node) -> Problem:
    if problem.line or not problem.pointer:
        return problem
    at = locate(root, problem.pointer, problem.at_key)
    hint = f"first written at {locate(root, problem.first)}" if problem.first else problem.hint
    return replace(problem, file=at.file, line=at.line, column=at.column, hint=hint)


def _sorted(problems: Iterable[Problem]) -> list[Problem]:
    """By place; what an alias repeats, once."""
    once = {(each.file, each.line, each.column, each.message): each for each in problems}
    return [once[key] for key in sorted(once)]
