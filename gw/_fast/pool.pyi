"""Connections to endpoints; for compiled callers only."""
