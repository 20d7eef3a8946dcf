"""One request through gw, as a state machine; for compiled callers only."""
