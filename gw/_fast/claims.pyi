"""The JSON of a token, judged strictly and read in place; for compiled callers only. gw._fast.jwt drives it from Python."""
