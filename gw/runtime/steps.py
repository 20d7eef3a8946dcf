"""The policies of a route, built into steps in the order they are read: the gateway's, the service's, the route's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gw._fast.hooks import PythonStep
from gw._fast.step import Step
from gw.config import Config, convert, policies_of
from gw.config.model import Route
from gw.config.policies import WrittenPolicy
from gw.errors import ConfigError, Problem
from gw.policy import Hooks, Policy, Tools, find


class StepBuilder:
    """Finds each policy once per snapshot and builds it once per route."""

    def __init__(self, config: Config, base: Path) -> None:
        self.config = config
        self.folders = [base / folder for folder in config.modules]
        self.found: dict[str, Policy] = {}

    @property
    def files(self) -> list[Path]:
        """Modules of the operator's own that were read, for watching."""
        return [policy.file for policy in self.found.values() if policy.file]

    def of(self, route: Route, index: int, name: str) -> list[Step]:
        """The steps of a route. Raises ConfigError."""
        written = policies_of(self.config.policies, "$.policies")
        if route.service:
            written += policies_of(self.config.services[route.service].policies, f"$.services.{route.service}.policies")
        written += policies_of(route.policies, f"$.routes[{index}].policies")
        return [self._step(each, name) for each in written]

    def _step(self, written: WrittenPolicy, route: str) -> Step:
        policy = self.found.get(written.name) or find(written.name, self.folders, written.pointer)
        self.found[written.name] = policy
        config = convert(written.config, policy.config, written.pointer)
        built = self._built(policy, config, Tools(route, written.pointer))
        if isinstance(built, Step):
            return built
        if not isinstance(built, Hooks):
            raise ConfigError([Problem(message=f"policy '{policy.name}': build() returned {type(built).__name__}, expected Hooks", pointer=written.pointer)])
        try:
            return PythonStep(policy.name, built.request, built.response, built.done)
        except TypeError as error:
            raise ConfigError([Problem(message=str(error), pointer=written.pointer)]) from None

    def _built(self, policy: Policy, config: Any, tools: Tools) -> Any:
        try:
            return policy.build(config, tools)
        except ConfigError:
            raise
        except Exception as error:
            if policy.file is None:
                raise
            raise ConfigError([Problem(message=f"policy '{policy.name}': build() raised {type(error).__name__}: {error}", pointer=tools.pointer)]) from error
