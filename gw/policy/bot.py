"""Deny programs by what they call themselves (User-Agent)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gw._fast.agent import AgentStep
from gw._fast.regex import Regex
from gw.config.node import join
from gw.errors import ConfigError, Problem
from gw.policy.base import Kind, Tools

KIND: Kind = "protection"
# Names under which crawlers of search engines, archives and collectors of training text say they come.
CRAWLERS = (
    "Googlebot", "bingbot", "DuckDuckBot", "Baiduspider", "YandexBot", "Applebot", "PetalBot", "SemrushBot", "AhrefsBot", "MJ12bot", "DotBot", "DataForSeoBot",
    "CCBot", "GPTBot", "OAI-SearchBot", "ChatGPT-User", "ClaudeBot", "anthropic-ai", "PerplexityBot", "Bytespider", "Amazonbot", "meta-externalagent", "facebookexternalhit",
    "ia_archiver", "archive.org_bot",
)  # fmt: skip


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    """Expressions are looked for anywhere in the agent's name, in any case; `^` and `$` tie them to its ends."""

    deny: Annotated[list[str], Meta(description="Agents that are denied.")] = field(default_factory=list)
    allow: Annotated[list[str], Meta(description="Agents that pass although `deny` or `crawlers` names them.")] = field(default_factory=list)
    crawlers: Annotated[Literal["pass", "deny"], Meta(description="Well-known crawlers, by their names.")] = "pass"
    nameless: Annotated[Literal["pass", "deny"], Meta(description="Requests without a User-Agent, or with an empty one.")] = "pass"


def build(config: Config, tools: Tools) -> AgentStep:
    """A compiled step; raises ConfigError for expressions that cannot be, and when nobody would be denied."""
    if not config.deny and config.crawlers == "pass" and config.nameless == "pass":
        raise ConfigError([Problem(message="bot denies nobody", pointer=tools.pointer, hint="set deny, crawlers or nameless")])
    deny = _compiled(config.deny, f"{tools.pointer}.deny")
    if config.crawlers == "deny":
        deny.append(_crawlers())
    return AgentStep(_compiled(config.allow, f"{tools.pointer}.allow"), deny, config.nameless == "pass")


def _compiled(patterns: Sequence[str], pointer: str) -> list[Regex]:
    made, problems = [], []
    for index, pattern in enumerate(patterns):
        try:
            Regex(pattern)  # as written, so that an error names a place in what was written
            made.append(Regex(_anywhere(pattern)))
        except ValueError as error:
            problems.append(Problem(message=f"'{pattern}' cannot be used: {error}", pointer=join(pointer, index)))
    if problems:
        raise ConfigError(problems)
    return made


def _anywhere(pattern: str) -> str:
    """The search of an expression as a match of the whole."""
    inner = pattern.removeprefix("(?i)")
    first, last = inner.startswith("^"), bool(re.search(r"(?<!\\)(?:\\\\)*\$$", inner))
    return f"(?i){'' if first else '.*'}(?:{inner[first : len(inner) - last]}){'' if last else '.*'}"


@cache
def _crawlers() -> Regex:
    names = "|".join(name.replace(".", "[.]") for name in CRAWLERS)
    return Regex(f"(?i).*(?:{names}).*")
