"""gw: an API gateway in Python whose hot path is compiled."""

__version__ = "0.1.0"
