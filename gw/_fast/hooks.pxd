"""What Python hooks see of an exchange: a lazy view, and what they may answer."""
from gw._fast.plane cimport Exchange


cdef class Response:
    cdef public int status
    cdef public object headers
    cdef public object body


cdef class Refusal:
    cdef readonly str reason
    cdef readonly dict headers


cdef class Request:
    cdef Exchange* x            # borrowed; NULL once the exchange has ended
    cdef dict _state
    cdef object __weakref__
    cdef Exchange* alive(self) except NULL


cdef Request hook_view(Exchange* x)                     # made once; x.view owns it
cdef const char* text_kept(Exchange* x, bytes text) except NULL     # a copy in the exchange's arena
cdef bytes field_lines(headers)                         # of an answer; ValueError for what cannot stand in a head or is not a policy's to set
