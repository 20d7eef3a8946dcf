"""What an operator should know about a config that is good enough to run."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain, pairwise

from gw.config import Loaded, check, convert
from gw.config.policies import ALL, ANY, WrittenPolicy, leaves
from gw.errors import ConfigError, Problem
from gw.policy import Policy, find
from gw.runtime.steps import ANONYMOUS, written_for
from gw.tls import certificate_warnings

CERTIFICATES = "mtls"  # the policy that wants a client's certificate


def warnings(loaded: Loaded) -> list[Problem]:
    """Problems of the config across its objects, of the order of its policies and of its certificates, with their places; after a good `load` these are warnings."""
    found = chain(order_warnings(loaded), certificate_warnings(loaded.config, loaded.base, time.time()))
    return [*check(loaded), *map(loaded.place, found)]


def order_warnings(loaded: Loaded) -> list[Problem]:
    """Orders and places of policies that cannot mean what was intended, each once however many routes it holds for."""
    order = Order(loaded)
    found = [problem for index in range(len(loaded.config.routes)) for problem in (*order.of(index), *_unasked(loaded, index))]
    return list({(each.pointer, each.message): each for each in found}.values())


def _unasked(loaded: Loaded, index: int) -> Iterator[Problem]:
    """Certificates that no listener asks for."""
    if any(listener.tls and listener.tls.client_certificates for listener in loaded.config.listeners):
        return
    for each in leaves(written_for(loaded.config, index)):
        if each.name == CERTIFICATES:
            yield _warning(each, f"'{CERTIFICATES}' finds no certificate: no listener asks clients for one", "set `tls: {client_certificates: {ca: ...}}` on a listener")


class Order:
    """The policies of a config as a route reads them. One that cannot be found or set up is passed over: compiling tells of it."""

    def __init__(self, loaded: Loaded) -> None:
        self.loaded = loaded
        self.folders = [loaded.base / folder for folder in loaded.config.modules]
        self.known: dict[str, Policy | None] = {}

    def of(self, index: int) -> Iterator[Problem]:
        """What is odd about the policies of one route."""
        written = written_for(self.loaded.config, index)
        flat = list(leaves(written))
        yield from self._ahead_of_identity(flat)
        yield from self._twice(written)
        yield from self._behind_an_answer(written)
        for each in written:
            yield from self._behind_anonymous(each)

    def _ahead_of_identity(self, flat: list[WrittenPolicy]) -> Iterator[Problem]:
        proofs = [position for position, each in enumerate(flat) if self._authenticates(each)]
        for position, each in enumerate(flat):
            if self._needs_identity(each) and not (proofs and proofs[0] < position):
                why = f"'{flat[proofs[0]].name}' at {self._at(flat[proofs[0]])} behind it finds that out" if proofs else "no policy of the route authenticates"
                yield _warning(each, f"'{each.name}' looks at who calls, but {why}", "put it behind a policy that authenticates, such as jwt or api-key")

    def _twice(self, written: list[WrittenPolicy]) -> Iterator[Problem]:
        for first, second in pairwise(each for each in written if any(map(self._authenticates, leaves([each])))):
            message = f"a caller needs a credential for '{second.name}' and another one for '{first.name}' at {self._at(first)}"
            yield _warning(second, message, f"alternatives go under `{ANY}`; both at once, if they are meant, under `{ALL}`")

    def _behind_an_answer(self, written: list[WrittenPolicy]) -> Iterator[Problem]:
        for first, second in pairwise(written):
            policy = self._policy(first)
            if policy and policy.ends:
                yield _warning(second, f"'{second.name}' never runs: '{first.name}' at {self._at(first)} answers every request", "move it ahead of that")

    def _behind_anonymous(self, written: WrittenPolicy) -> Iterator[Problem]:
        for member in written.members:
            yield from self._behind_anonymous(member)
        for first, second in pairwise(written.members) if written.name == ANY else ():
            if first.name == ANONYMOUS:
                yield _warning(second, f"'{second.name}' is never tried: '{ANONYMOUS}' at {self._at(first)} takes whoever comes", f"put '{ANONYMOUS}' last")

    def _policy(self, written: WrittenPolicy) -> Policy | None:
        if written.name not in self.known:
            try:
                self.known[written.name] = find(written.name, self.folders, written.pointer)
            except ConfigError:
                self.known[written.name] = None
        return self.known[written.name]

    def _authenticates(self, written: WrittenPolicy) -> bool:
        policy = self._policy(written)
        return policy is not None and policy.kind == "authentication"

    def _needs_identity(self, written: WrittenPolicy) -> bool:
        policy = self._policy(written)
        if policy is None or policy.need is None:
            return False
        try:
            return policy.needs(convert(written.config, policy.config, written.pointer)) == "identity"
        except ConfigError:
            return False

    def _at(self, written: WrittenPolicy) -> str:
        place = self.loaded.place(Problem(message="", pointer=written.pointer, at_key=True))
        return f"{place.file}:{place.line}"


def _warning(written: WrittenPolicy, message: str, hint: str) -> Problem:
    return Problem(message=message, pointer=written.pointer, at_key=True, hint=hint, severity="warning")
