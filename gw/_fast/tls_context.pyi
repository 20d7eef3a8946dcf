from typing import Final

CLIENT_MODES: Final[tuple[str, ...]]
