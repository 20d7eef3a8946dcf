"""The slow way to find and to hide one `name=value` pair: what gw._fast.jwt_step does in place."""

from __future__ import annotations


def find(text: str, mark: str, name: str) -> list[str]:
    """Values of the pairs of this name between marks; spaces in front of a name do not count."""
    pairs = [piece.lstrip(" ") for piece in text.split(mark)]
    return [pair[len(name) + 1 :] for pair in pairs if pair.startswith(f"{name}=")]


def others(text: str, mark: str, name: str) -> list[str]:
    """The pairs of other names, in order, empty ones left out."""
    pairs = [piece.strip(" ") for piece in text.split(mark)]
    return [pair for pair in pairs if pair and not pair.startswith(f"{name}=")]
