"""The command line: the only room that may know everything.

`main.py` is the argument tree and nothing else; each family of verbs has its file. Rooms below are imported inside the
functions that need them, so that `gw --help` stays quick. Start with `main.py`.
"""
