"""Functions of a C library that an installed Python package holds and exports: libuv in uvloop, llhttp in httptools."""


cdef class Library:
    cdef void* handle
    cdef str package            # as it is named to whoever installs it
    cdef str file
    cdef str needed             # what to install when a symbol is missing
    cdef void* symbol(self, bytes name) except NULL     # ImportError when it is not exported
