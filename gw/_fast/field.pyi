"""Header fields that Python hooks write: what cannot stand in a head is refused. Nothing here is for Python callers."""
