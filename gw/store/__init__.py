"""What changes while gw runs and all workers must know: sources that the supervisor follows, and what is kept in files.

Not here: state of endpoints (gw.services), counters (gw._fast.shm). source.py is the contract.
"""

from gw.store.source import Publish, Source, source_key

__all__ = ["Publish", "Source", "source_key"]
