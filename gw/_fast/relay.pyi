"""Bodies in both directions, with back-pressure; for compiled callers only."""
