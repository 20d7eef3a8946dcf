"""Header and query matches; for compiled callers only."""
