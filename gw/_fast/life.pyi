"""Beginning and end of an exchange, and gw's own answers; for compiled callers only."""
