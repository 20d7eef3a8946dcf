"""llhttp, the parser inside httptools, called at C level; for compiled callers only.

Importing it binds the parser's symbols and tries them on two known messages: ImportError with one sentence when httptools is another than gw knows.
"""
