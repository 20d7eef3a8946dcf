"""The hook of the workloads hook_sync and hook_async: copies one request field into another."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from gw.policy import Hooks, Request, Tools


class Config(Struct, forbid_unknown_fields=True, frozen=True):
    read: str
    write: str
    kind: Literal["sync", "async"]


def build(config: Config, tools: Tools) -> Hooks:  # noqa: ARG001  # the contract of a policy
    read, write = config.read, config.write

    def copy(request: Request) -> None:
        headers = request.headers
        value = headers.get(read)
        if value is not None:
            headers[write] = value

    async def copy_async(request: Request) -> None:
        copy(request)

    return Hooks(request=copy if config.kind == "sync" else copy_async)
