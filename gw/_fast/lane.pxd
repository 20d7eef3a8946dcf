"""The data plane of one worker: its sockets, its pools, the snapshot it runs. It waits in uvloop's place (uv.pxd)."""
from gw._fast.plane cimport LaneState, Listener, Pool
from gw._fast.shm cimport Segment
from gw._fast.snapshot cimport Snapshot


cdef class Lane:
    cdef LaneState* state           # owned
    cdef readonly Segment segment   # keeps stats and endpoint state mapped
    cdef readonly int worker
    cdef readonly object report     # report(event, fields): the error log
    cdef readonly object ask        # ask(): somebody should look at the memory there is
    cdef readonly Snapshot current
    cdef list retired               # snapshots that still have users
    cdef dict pools                 # key -> address of a Pool, as int
    cdef dict addresses             # endpoint text -> list of (host, port): the latest DNS result
    cdef bint closed

    cdef _answer_alarm(self)
    cdef _relieve(self, bint at_once)
    cdef _release_retired(self)
    cdef _note_retired(self)
    cdef _link_services(self, Snapshot snapshot)
    cdef Pool* _pool(self, dict service, dict endpoint) except NULL
    cdef _set_addresses(self, Pool* pool, addresses)
    cdef _collect_pools(self)
    cdef _describe(self, Listener* room, dict given)
    cdef _forget_listeners(self)
