"""Answers on their way to the client; for compiled callers only."""
