"""Request bodies on their way, event by event; for compiled callers only."""
