"""Heads as they leave; for compiled callers only."""
