"""Finding a policy by the name in the config: built in, or a module of the operator's own."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from gw.config.convert import nearest
from gw.errors import ConfigError, Problem
from gw.policy.base import Challenge, Kind, Need

BUILTIN = (
    "headers",
    "acl",
    "scopes",
    "claims",
    "ip",
    "condition",
    "cors",
    "csrf",
    "bot",
    "size-limit",
    "timeout",
    "rewrite",
    "redirect",
    "respond",
    "request-id",
    "security-headers",
    "jwt",
    "forward-auth",
    "hmac",
    "oauth2-introspection",
    "oidc",
    "anonymous",
    "api-key",
    "basic",
    "mtls",
    "concurrency",
    "load-shed",
    "rate-limit",
    "quota",
    "throttle",
)


class Policy(Struct, frozen=True):
    """A policy's module, taken apart."""

    name: str
    config: type[Struct]
    build: Callable[[Any, Any], Any]
    summary: str
    kind: Kind
    file: Path | None = None  # of the operator's own; None when built in
    need: Need | Callable[[Any], Need | None] | None = None
    ends: bool = False  # it answers every request by itself
    challenge: Callable[[Any], Challenge] | None = None  # what it asks for of a request without a credential, with this config

    def needs(self, config: Struct) -> Need | None:
        """What must be known before it runs with this config."""
        return self.need(config) if callable(self.need) else self.need


def find(name: str, folders: Sequence[Path], pointer: str) -> Policy:
    """The policy of this name. Raises ConfigError when there is none, or when its module cannot be imported or is not a policy."""
    if name in BUILTIN:
        return _taken_apart(name, importlib.import_module(f"gw.policy.{name.replace('-', '_')}"), None, pointer)
    for folder in folders:
        file = folder.joinpath(*name.split(".")).with_suffix(".py")
        if file.is_file():
            return _taken_apart(name, _imported(name, file, folder, pointer), file, pointer)
    close = nearest(name, BUILTIN)
    hint = f"did you mean '{close}'?" if close else f"built in: {', '.join(BUILTIN)}; your own: a file {name.replace('.', '/')}.py in a folder named under `modules`"
    raise ConfigError([Problem(message=f"unknown policy '{name}'", pointer=pointer, hint=hint, at_key=True)])


def _imported(name: str, file: Path, folder: Path, pointer: str) -> ModuleType:
    """Executed anew for each revision, so that a reload takes what the file says now; what it imports is imported as usual."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    spec = importlib.util.spec_from_file_location(f"gw_policies.{name}", file)
    if spec is None or spec.loader is None:
        raise ConfigError([Problem(message=f"{file} cannot be imported", pointer=pointer)])
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = _line_in(error, file)
        raise ConfigError([Problem(message=f"policy '{name}': {file}{f':{line}' if line else ''}: {type(error).__name__}: {error}", pointer=pointer)]) from error
    return module


def _line_in(error: BaseException, file: Path) -> int:
    """The deepest line of the operator's file on the way to the error."""
    line = error.lineno or 0 if isinstance(error, SyntaxError) else 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(file):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _taken_apart(name: str, module: ModuleType, file: Path | None, pointer: str) -> Policy:
    config = module.__dict__.get("Config")
    build = module.__dict__.get("build")
    if not (isinstance(config, type) and issubclass(config, Struct)) or not callable(build):
        raise ConfigError([Problem(message=f"policy '{name}': {module.__file__} needs a msgspec Struct `Config` and a function `build(config, tools)`", pointer=pointer)])
    said = module.__dict__
    summary = (module.__doc__ or "").strip().partition("\n")[0]
    return Policy(name, config, build, summary, said.get("KIND", "custom"), file, said.get("NEEDS"), said.get("ENDS", False), said.get("challenge"))
