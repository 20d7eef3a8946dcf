"""What an alternative of any-of left behind before it refused is undone: edits of heads, an identity."""
from gw._fast.step cimport Step


cdef class MarkStep(Step):      # in front of an alternative: remembers how far the edits are
    cdef char mark              # its address names the mark


cdef class ForgetStep(Step):    # where it goes on when the alternative has refused, on the way to the next one: it refuses as well
    cdef MarkStep of            # owned
