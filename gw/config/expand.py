"""`${VARIABLE}`, `${VARIABLE:-default}` and `file:path` in the values of a configuration."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path

from gw.config.node import Node, Unfilled

# A secret or a certificate; whoever names a device or a log by mistake is told so.
REFERENCED_FILE_MAX = 1024 * 1024

_DOLLAR = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.ASCII | re.DOTALL)


class Expander:
    """Replaces in place, once for each value, also where aliases make one value stand in several places.

    What cannot be filled becomes Unfilled, and is reported when it is read. `files` are those that references named.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.files: list[Path] = []
        self._done: set[int] = set()
        self._flaws: list[tuple[str, str | None]] = []

    def expand(self, node: Node, base: Path) -> None:
        """`base` is the folder that relative `file:` paths start from."""
        if isinstance(node.value, dict | list):
            for child in node.value.values() if isinstance(node.value, dict) else node.value:
                self.expand(child, base)
        elif isinstance(node.value, str) and ("${" in node.value or node.value.startswith("file:")) and id(node) not in self._done:
            self._done.add(id(node))
            self._fill(node, base)

    def _fill(self, node: Node, base: Path) -> None:
        self._flaws = []
        node.text = None
        is_reference = node.value.startswith("file:")
        node.filled = is_reference or any(match[0] != "$${" for match in _DOLLAR.finditer(node.value))
        filled = _DOLLAR.sub(self._variable, node.value)
        if is_reference and not self._flaws:
            filled = self._file(base, filled[5:])
        node.value = Unfilled(self._flaws) if self._flaws else filled

    def _variable(self, match: re.Match[str]) -> str:
        if match[0] == "$${":
            return "${"
        parts = _VARIABLE.fullmatch(match[1]) if match[2] else None
        if parts is None:
            self._fail(f"'{match[0]}' is not a variable", "write ${NAME} or ${NAME:-default}; $${ stands for a literal ${")
            return ""
        name, default = parts[1], parts[2]
        value = self.environ.get(name) or default if default is not None else self.environ.get(name)
        if value is None:
            near = difflib.get_close_matches(name, self.environ, n=1, cutoff=0.8)
            self._fail(f"environment variable {name} is not set", f"did you mean {near[0]}?" if near else f"set it, or give a default: ${{{name}:-...}}")
            return ""
        if not value.isprintable() and not _is_text(value):
            self._fail(f"environment variable {name} is not UTF-8 text")
            return ""
        return value

    def _file(self, base: Path, name: str) -> str:
        """The content without the line end that editors add."""
        try:
            path = base / name
            with path.open("rb") as file:
                data = file.read(REFERENCED_FILE_MAX + 1)
            self.files.append(path)
            if len(data) <= REFERENCED_FILE_MAX:
                return data.decode().removesuffix("\n").removesuffix("\r")
            self._fail(f"'{name}' is larger than {REFERENCED_FILE_MAX} bytes")
        except OSError as error:
            self._fail(f"cannot read '{name}': {error.strerror}", sought(base, name))
        except UnicodeDecodeError:
            self._fail(f"'{name}' is not UTF-8 text")
        except ValueError:
            self._fail("a file name cannot hold a NUL byte")
        return ""

    def _fail(self, message: str, hint: str | None = None) -> None:
        self._flaws.append((message, hint))


def sought(base: Path, name: str) -> str | None:
    """The hint that says which file a relative name stood for."""
    path = str(base / name)
    return None if path == name else f"looked for {path}"


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
