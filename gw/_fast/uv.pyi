"""libuv inside uvloop, called at C level; for compiled callers only.

Importing it binds libuv's symbols: ImportError with one sentence when uvloop does not export them.
"""
