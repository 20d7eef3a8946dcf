"""Python policies on the data plane: one step that takes the GIL, and parking for what waits."""
from gw._fast.plane cimport Exchange


cdef void hooks_release(Exchange* x) noexcept nogil     # the exchange ended: its view is dead, its task is cancelled
