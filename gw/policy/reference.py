"""`python -m gw.policy.reference` in a checkout writes the tables of settings of all policies' pages, and the page that lists them."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from gw.config.document import settings
from gw.policy.base import Kind
from gw.policy.registry import BUILTIN, Policy, find

FOLDER = Path("docs/policies")
BEGIN, END = "<!-- settings -->\n", "<!-- /settings -->\n"
PURPOSES: dict[Kind, str] = {
    "authentication": "Who calls. These can be alternatives: `any-of: [{jwt: {...}}, {api-key: {...}}]`.",
    "authorisation": "Whether the caller may.",
    "limit": "How much, how often.",
    "protection": "What origins are kept from.",
    "shaping": "What messages look like on either side.",
    "custom": "Everything else.",
}

_INTRODUCTION = """# Policies

Made by `python -m gw.policy.reference`; a test keeps this page and the tables of the others current. `gw policies NAME` prints the same in a
terminal. A policy of your own is a Python file: [first policy](../first-policy.md).
"""


def pages(folder: Path) -> dict[Path, str]:
    """What the pages of all policies in this folder, and the one that lists them, should hold."""
    found = [find(name, [], "") for name in BUILTIN if (folder / f"{name}.md").exists()]
    made = {folder / f"{policy.name}.md": _with_settings((folder / f"{policy.name}.md").read_text(), policy) for policy in found}
    return {**made, folder / "README.md": _index(found)}


def _with_settings(page: str, policy: Policy) -> str:
    """The page with its table made anew: between the markers, or at its end when it has none."""
    table = f"{BEGIN}{settings(policy.config)}{END}"
    before, marker, after = page.partition(BEGIN)
    if marker:
        return f"{before}{table}{after.partition(END)[2]}"
    return f"{page.partition(chr(10) + '## Settings' + chr(10))[0].rstrip()}\n\n{table}"


def _index(found: list[Policy]) -> str:
    sections = [_INTRODUCTION]
    for kind in get_args(Kind):
        rows = [f"| [{policy.name}]({policy.name}.md) | {policy.summary} |" for policy in sorted(found, key=lambda each: each.name) if policy.kind == kind]
        if rows:
            sections.append("\n".join([f"## {kind.capitalize()}", "", PURPOSES[kind], "", "| Policy | |", "|---|---|", *rows, ""]))
    return "\n".join(sections)


if __name__ == "__main__":
    for path, text in pages(FOLDER).items():
        path.write_text(text)
