"""What an operator should know about a config that is good enough to run."""

from __future__ import annotations

import time

from gw.config import Loaded, check
from gw.errors import Problem
from gw.tls import certificate_warnings


def warnings(loaded: Loaded) -> list[Problem]:
    """Problems of the config across its objects and of the certificates it names, with their places; after a `load` that did not raise these are warnings."""
    return [*check(loaded), *map(loaded.place, certificate_warnings(loaded.config, loaded.base, time.time()))]
