cimport cython

cdef extern from "dlfcn.h" nogil:
    void* dlopen(const char* path, int flags)
    void* dlsym(void* handle, const char* name)
    int RTLD_NOW
    int RTLD_NOLOAD


@cython.final
cdef class Library:
    def __init__(self, str package, module, str needed) -> None:
        cdef bytes path = module.__file__.encode()
        self.package = package
        self.file = module.__file__
        self.needed = needed
        self.handle = dlopen(path, RTLD_NOW | RTLD_NOLOAD)
        if self.handle == NULL:
            raise ImportError(f"cannot open {package} at {self.file}")

    cdef void* symbol(self, bytes name) except NULL:
        cdef void* found = dlsym(self.handle, name)
        if found == NULL:
            raise ImportError(f"{self.package} at {self.file} does not export {name.decode()}: gw needs {self.needed}")
        return found
