"""Bytes in both directions after a 101; for compiled callers only."""
