"""Memory of large tables; for compiled callers only."""
