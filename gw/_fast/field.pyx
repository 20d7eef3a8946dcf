from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport uint8_t

from gw._fast.headers cimport TOKEN

cdef frozenset FRAMING = frozenset(("connection", "content-length", "transfer-encoding", "host", "upgrade", "keep-alive", "te", "trailer", "proxy-connection", "date"))


cdef bytes checked_name(str name):
    cdef bytes raw = name.encode("latin-1")
    cdef const char* text = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t i
    if not raw:
        raise ValueError("a field name is empty")
    for i in range(len(raw)):
        if not TOKEN[<uint8_t>text[i]]:
            raise ValueError(f"{name!r} is not a field name (RFC 9110 section 5.1)")
    return raw


cdef bytes checked_value(str value):
    cdef bytes raw = value.encode("latin-1")
    cdef const char* text = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t i
    for i in range(len(raw)):
        if (<uint8_t>text[i] < 32 and text[i] != c"\t") or text[i] == 127:
            raise ValueError(f"{value!r} holds a control character: it cannot be a field value")
    return raw


cdef refuse_framing(str name):
    if name.lower().replace("_", "-") in FRAMING:
        raise ValueError(f"{name} frames or routes the message: a hook cannot set it")
