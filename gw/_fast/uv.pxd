"""libuv inside uvloop, called at C level: someone else waits in uvloop's place, for uvloop's descriptor and for its own."""

ctypedef void (*TurnFunction)(void* data) noexcept nogil


cdef struct Guest:
    void* loop                  # borrowed: uv_loop_t of the uvloop.Loop, which must outlive uv_leave
    void* prepare               # owned; libuv's until its close callback
    void* idle                  # owned, likewise: as long as it is active uvloop polls without waiting
    TurnFunction turn           # uvloop has done its work: wait for uv_descriptor, at most uv_wait_ms, and return once uvloop has work again
    void* data                  # borrowed: for turn
    int closing                 # handles whose close callback is due


cdef Guest* uv_join(object loop, TurnFunction turn, void* data) except NULL
cdef void uv_leave(Guest* guest)                            # turn is not called again; the guest is freed in the loop's next turn or when it closes
cdef int uv_descriptor(Guest* guest) noexcept nogil         # readable when uvloop has an event
cdef int uv_wait_ms(Guest* guest) noexcept nogil            # until uvloop's next timer; 0: it has work now, -1: it has no timer
