"""Functions of a C library that an installed Python package holds and exports."""

from types import ModuleType
from typing import final

@final
class Library:
    """The library inside `module`, which is loaded. ImportError when it cannot be opened; `needed` tells what to install when a symbol is missing."""

    def __init__(self, package: str, module: ModuleType, needed: str) -> None: ...
