"""What is written down when an exchange ends: counters, histograms, the access-log line."""
from gw._fast.plane cimport Exchange


cdef void record(Exchange* x) noexcept nogil
