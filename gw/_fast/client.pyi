"""The client's side of a connection between exchanges; for compiled callers only."""
