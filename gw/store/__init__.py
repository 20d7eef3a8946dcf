"""What changes while gw runs and all workers must know: sources that the supervisor follows, and what is kept in files.

Not here: state of endpoints (gw.services), counters (gw._fast.shm). source.py is the contract, database.py the file, keys.py what is in it.
"""

from gw.store.keys import Keys, KeysSource, PackedKeys, StoredKey, hashed, pack
from gw.store.source import Publish, Source, source_key

__all__ = ["Keys", "KeysSource", "PackedKeys", "Publish", "Source", "StoredKey", "hashed", "pack", "source_key"]
