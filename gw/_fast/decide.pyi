"""Host, path, route and plan of a head; for compiled callers only. gw._fast.explain asks it from Python."""
