"""The engine of live traffic asked about one head, offline and with a trace."""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from gw._fast.answer cimport R_NONE, reason_text
from gw._fast.decide cimport exchange_route, fault_reason
from gw._fast.forward cimport address_trusted, client_address
from gw._fast.h1 cimport H1_DONE, H1_MORE, head_start, request_feed
from gw._fast.hash cimport Hash
from gw._fast.path cimport path_reason
from gw._fast.plane cimport Exchange, LaneState
from gw._fast.selector cimport Selector, selector_key
from gw._fast.slab cimport slab_clear, slab_init
from gw._fast.snapshot cimport Snapshot
from gw._fast.stream cimport Conn


def explain(Snapshot snapshot not None, bytes head, str client, bint secure, trace, Selector selector=None) -> dict:
    """What the snapshot decides for this head: reason, route index, host, path, parameters.

    With a selector also `key`: whether all of its parts are there, and their hash under a seed of zeros. `trace(route, text)` is called for every route
    considered. ValueError when the bytes are not one whole head.
    """
    cdef LaneState* lane = <LaneState*>calloc(1, sizeof(LaneState))
    cdef Exchange* x = <Exchange*>calloc(1, sizeof(Exchange))
    cdef Conn* conn = <Conn*>calloc(1, sizeof(Conn))
    cdef bytes address = client.encode()[:45]
    if lane == NULL or x == NULL or conn == NULL:
        free(lane)
        free(x)
        free(conn)
        raise MemoryError
    slab_init(&lane.reactor.slab, snapshot.state.max_head + 16384, 0)
    memcpy(conn.addr, PyBytes_AS_STRING(address), len(address))
    conn.addr_len = len(address)
    conn.trusted = address_trusted(snapshot.state, conn.addr, conn.addr_len)
    x.lane = lane
    x.client = conn
    x.snapshot = snapshot.state
    x.plan = &snapshot.state.nowhere
    x.secure = secure
    try:
        found = _decided(x, head, trace)
        if selector is not None:
            found["key"] = _selected(x, selector)
        return found
    finally:
        slab_clear(&lane.reactor.slab)
        free(x.path_buf)
        free(conn)
        free(x)
        free(lane)


cdef tuple _selected(Exchange* x, Selector selector):
    cdef Hash key
    cdef bint whole = selector_key(selector.parts, selector.n, x, Hash(0, 0), &key)
    return whole, (<const char*>&key)[:sizeof(Hash)]


cdef dict _decided(Exchange* x, bytes head, trace):
    cdef uint8_t reason
    cdef uint32_t n = 0, i
    cdef const char* client
    cdef int code
    head_start(&x.parser, &x.head, x.snapshot.max_fields)
    code = request_feed(&x.parser, PyBytes_AS_STRING(head), 0, len(head), x.snapshot.max_head, x.snapshot.max_line, &x.request)
    if code == H1_MORE:
        raise ValueError("the head is not whole: it ends with an empty line")
    reason = exchange_route(x, NULL if trace is None else <void*>trace) if code == H1_DONE else fault_reason(x.request.fault)
    client = client_address(x, &n)
    return {
        "reason": (<const char*>reason_text(reason).name).decode() if reason != R_NONE else "",
        "status": reason_text(reason).status if reason != R_NONE else 0,
        "detail": (<const char*>path_reason(x.path_code)).decode() if x.path_code else "",
        "route": x.match.route if code == H1_DONE and x.path_len else -1,
        "host": PyBytes_FromStringAndSize(x.host, x.host_len).decode("latin-1"),
        "path": PyBytes_FromStringAndSize(x.path, x.path_len).decode("latin-1") if x.path_len else "",
        "prefix_len": x.match.prefix_len,
        "params": [PyBytes_FromStringAndSize(x.path + x.match.params[i].off, x.match.params[i].len).decode("latin-1") for i in range(x.match.n_params)],
        "client": PyBytes_FromStringAndSize(client, n).decode("latin-1"),
    }
