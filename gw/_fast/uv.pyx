from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdlib cimport calloc, free

from uvloop import loop as _engine_module

from gw._fast.library cimport Library

cdef enum:                      # uv_handle_type
    UV_IDLE = 6
    UV_PREPARE = 9

ctypedef void (*HandleFunction)(void* handle) noexcept nogil
ctypedef int (*InitFunction)(void* loop, void* handle) noexcept nogil
ctypedef int (*StartFunction)(void* handle, HandleFunction run) noexcept nogil
ctypedef int (*StopFunction)(void* handle) noexcept nogil
ctypedef void (*CloseFunction)(void* handle, HandleFunction closed) noexcept nogil
ctypedef int (*LoopNumber)(const void* loop) noexcept nogil
ctypedef void (*LoopFunction)(void* loop) noexcept nogil
ctypedef size_t (*SizeFunction)(int kind) noexcept nogil

cdef InitFunction _prepare_init
cdef StartFunction _prepare_start
cdef InitFunction _idle_init
cdef StartFunction _idle_start
cdef StopFunction _idle_stop
cdef CloseFunction _close
cdef LoopNumber _backend_fd
cdef LoopNumber _backend_timeout
cdef LoopFunction _update_time
cdef SizeFunction _handle_size


def _bind():
    global _prepare_init, _prepare_start, _idle_init, _idle_start, _idle_stop, _close, _backend_fd, _backend_timeout, _update_time, _handle_size
    cdef Library library = Library("uvloop", _engine_module, "uvloop 0.21 or newer (pip install 'uvloop>=0.21')")
    _prepare_init = <InitFunction>library.symbol(b"uv_prepare_init")
    _prepare_start = <StartFunction>library.symbol(b"uv_prepare_start")
    _idle_init = <InitFunction>library.symbol(b"uv_idle_init")
    _idle_start = <StartFunction>library.symbol(b"uv_idle_start")
    _idle_stop = <StopFunction>library.symbol(b"uv_idle_stop")
    _close = <CloseFunction>library.symbol(b"uv_close")
    _backend_fd = <LoopNumber>library.symbol(b"uv_backend_fd")
    _backend_timeout = <LoopNumber>library.symbol(b"uv_backend_timeout")
    _update_time = <LoopFunction>library.symbol(b"uv_update_time")
    _handle_size = <SizeFunction>library.symbol(b"uv_handle_size")


_bind()


cdef inline Guest** _back(void* handle, int kind) noexcept nogil:
    """Where a handle knows its guest: behind it, for uvloop reads `data` as a handle of its own when it closes."""
    return <Guest**>(<char*>handle + _handle_size(kind))


cdef void* _handle(Guest* guest, int kind) except NULL:
    cdef void* handle = calloc(1, _handle_size(kind) + sizeof(Guest*))
    if handle == NULL:
        raise MemoryError
    _back(handle, kind)[0] = guest
    return handle


cdef void _nothing(void* idle) noexcept nogil:
    pass


cdef void _turn(void* prepare) noexcept nogil:
    cdef Guest* guest = _back(prepare, UV_PREPARE)[0]
    _idle_stop(guest.idle)
    guest.turn(guest.data)
    _idle_start(guest.idle, _nothing)


cdef Guest* uv_join(object loop, TurnFunction turn, void* data) except NULL:
    cdef Guest* guest = <Guest*>calloc(1, sizeof(Guest))
    if guest == NULL:
        raise MemoryError
    guest.loop = PyCapsule_GetPointer(_engine_module.libuv_get_loop_t_ptr(loop), NULL)
    guest.turn = turn
    guest.data = data
    guest.prepare = _handle(guest, UV_PREPARE)
    guest.idle = _handle(guest, UV_IDLE)
    _prepare_init(guest.loop, guest.prepare)
    _idle_init(guest.loop, guest.idle)
    _prepare_start(guest.prepare, _turn)
    return guest


cdef void _closed(Guest* guest, void* handle) noexcept nogil:
    free(handle)
    guest.closing -= 1
    if guest.closing == 0:
        free(guest)


cdef void _prepare_closed(void* handle) noexcept nogil:
    _closed(_back(handle, UV_PREPARE)[0], handle)


cdef void _idle_closed(void* handle) noexcept nogil:
    _closed(_back(handle, UV_IDLE)[0], handle)


cdef void uv_leave(Guest* guest):
    guest.closing = 2
    _close(guest.prepare, _prepare_closed)
    _close(guest.idle, _idle_closed)


cdef int uv_descriptor(Guest* guest) noexcept nogil:
    return _backend_fd(guest.loop)


cdef int uv_wait_ms(Guest* guest) noexcept nogil:
    _update_time(guest.loop)            # the time-out counts from libuv's own clock, which stands still between its turns
    return _backend_timeout(guest.loop)
