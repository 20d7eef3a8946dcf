"""What changes while gw runs and all workers must know: sources that the supervisor follows, and what is kept in files.

Not here: state of endpoints (gw.services), counters (gw._fast.shm). source.py is the contract, database.py the file, keys.py and usage.py what is in it;
ledger.py is the contract of what counts limits that outlive gw.
"""

from gw.store.keys import Keys, KeysSource, PackedKeys, StoredKey, hashed, pack
from gw.store.ledger import Ask, Calendar, Grant, Ledger, Meter, Rest
from gw.store.period import calendar_bounds
from gw.store.source import Publish, Source, source_key
from gw.store.usage import Line, MemoryLedger, Usage, UsageLedger

__all__ = [
    "Ask",
    "Calendar",
    "Grant",
    "Keys",
    "KeysSource",
    "Ledger",
    "Line",
    "MemoryLedger",
    "Meter",
    "PackedKeys",
    "Publish",
    "Rest",
    "Source",
    "StoredKey",
    "Usage",
    "UsageLedger",
    "calendar_bounds",
    "hashed",
    "pack",
    "source_key",
]
