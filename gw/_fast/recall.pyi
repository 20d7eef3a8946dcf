"""Heads of answers that an endpoint has given before. C-level only."""
