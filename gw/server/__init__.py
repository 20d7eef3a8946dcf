"""The processes: one supervisor, a worker per core, their sockets and signals.

`supervisor` is the parent, `worker` what a child does; `workers` keeps the children alive; `reload` brings a new revision into all of
them or none; `upgrade` changes the binary; `control` is how `gw status|reload|stop` talk to it. Start with supervisor.py.
"""

from gw.server.supervisor import run

__all__ = ["run"]
