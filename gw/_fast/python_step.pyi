"""The step that calls Python hooks."""

from collections.abc import Callable, Generator
from typing import Any, final

from gw._fast.step import Step

@final
class PythonStep(Step):
    """Calls a policy's hooks. An `async def` hook parks its exchange until it is done, at most `process.hook_timeout`; TypeError when `origin_request` or `done` is one."""

    def __init__(
        self,
        name: str,
        request: Callable[..., Any] | None = None,
        response: Callable[..., Any] | None = None,
        done: Callable[..., Any] | None = None,
        attached: Callable[[Callable[[str, dict[str, Any]], None]], None] | None = None,
        slot: int = -1,
        budget: dict[str, int] | None = None,
        *,
        request_body: Callable[..., Any] | None = None,
        origin_request: Callable[..., Any] | None = None,
        response_body: Callable[..., Any] | None = None,
        body_limit: int = ...,
    ) -> None:
        """`slot` is the policy's in the segment; `budget` holds the fields of gw._fast.budget's Budget; `body_limit` is in bytes, ValueError below 1."""

    def attach(self, report: Callable[[str, dict[str, Any]], None]) -> None:
        """Where failures go: the events `hook-failed`, `hook-slow`, `hook-timeout` and `hook-budget`. `attached` is told too."""

@final
class Parked:
    """An exchange that waits for the task of an asynchronous hook, and the coroutine which that task runs."""

    @property
    def task(self) -> Any: ...

    def __await__(self) -> Generator[Any, Any, Any]: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, *error: Any) -> Any: ...
    def close(self) -> None: ...
    def finished(self, task: Any) -> None:
        """Callback of the task: the exchange goes on."""
