"""Header fields that Python hooks write: each raises ValueError for what cannot stand in a head."""

cdef bytes checked_name(str name)            # RFC 9110 section 5.1
cdef bytes checked_value(str value)          # no control characters but TAB
cdef refuse_framing(str name)                # fields that frame or route the message, in any spelling
