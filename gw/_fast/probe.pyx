"""Python's way into kernels that otherwise only compiled code calls: for tests and micro benchmarks."""
cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from gw._fast.h1 cimport (
    BODY_CHUNKED, H1_BAD, H1_DONE, H1_MORE, TRAILER_MAX, Body, HeadParser, Message, body_start, chunked_feed, head_start, host_valid, request_feed, response_feed,
    response_framing,
)
from gw._fast.headers cimport FIELD_DROP, FIELD_SPELLED, Field, Head, head_classify, head_find, head_parse_trailers
from gw._fast.octets cimport text_end
from gw._fast.recall cimport Recall, recall_free, recall_keep, recall_take
from gw._fast.slab cimport Buf, Slab as SlabState, buf_give, buf_take, slab_clear, slab_init
from gw._fast.wheel cimport NEVER, TICK_MS as WHEEL_TICK_MS, Timer, Wheel as WheelState, timer_clear, timer_init, timer_off, timer_set, wheel_advance, wheel_init

FAULTS = ("", "syntax", "version", "head-size", "field-count", "line-size", "length", "coding", "coding-unknown", "host-missing", "host", "target", "expect", "status",
          "chunk", "trailer")
FRAMINGS = ("none", "length", "chunked", "eof")
FLAGS = ("keep-alive", "expect", "upgrade", "nominated", "close", "absolute")
TICK_MS = WHEEL_TICK_MS
TRAILERS_MAX = TRAILER_MAX

cdef enum: UNREAD = 0xA5        # what stands in the read buffer where nothing was received yet


cdef bytes _text(const char* base, uint32_t off, uint32_t n):
    return PyBytes_FromStringAndSize(base + off, n)


cdef tuple _field(const Head* head, uint32_t i):
    cdef const Field* field = &head.fields[i]
    return _text(head.base, field.name, field.name_len), _text(head.base, field.value, field.value_len), bool(field.flags & FIELD_DROP), bool(field.flags & FIELD_SPELLED)


cdef dict _facts(const Head* head, const Message* message):
    return {
        "head_len": message.head_len,
        "method": _text(head.base, message.method.off, message.method.len),
        "target": _text(head.base, message.target.off, message.target.len),
        "status": message.status,
        "minor": message.minor,
        "framing": FRAMINGS[message.framing],
        "length": message.length,
        "flags": {name for bit, name in enumerate(FLAGS) if message.flags >> bit & 1},
        "host_field": message.host_field,
        "upgrade_field": message.upgrade_field,
        "fields": [_field(head, i) for i in range(head.n_fields)],
    }


@cython.final
cdef class _Reading:
    """A head that arrives in pieces at the front of one buffer, which is exactly as long as they are together."""
    cdef HeadParser parser
    cdef Head head
    cdef Message message
    cdef char* base             # owned

    def __cinit__(self, uint32_t room, uint32_t max_fields):
        self.base = <char*>malloc(room + 1)
        if self.base == NULL:
            raise MemoryError
        memset(self.base, UNREAD, room + 1)
        head_start(&self.parser, &self.head, max_fields)

    def __dealloc__(self):
        free(self.base)

    cdef object outcome(self, int code):
        """What the kernel said: a fault by name, the facts, or None when it waits for more."""
        if code == H1_MORE:
            return None
        return FAULTS[self.message.fault] if code == H1_BAD else _facts(&self.head, &self.message)


def request(list pieces, *, uint32_t max_head=32768, uint32_t max_line=8192, uint32_t max_fields=100):
    cdef _Reading reading = _Reading.__new__(_Reading, sum(map(len, pieces)), max_fields)
    cdef uint32_t end = 0
    cdef int code = H1_MORE
    cdef bytes piece
    for piece in pieces:
        memcpy(reading.base + end, PyBytes_AS_STRING(piece), len(piece))
        end += <uint32_t>len(piece)
        code = request_feed(&reading.parser, reading.base, 0, end, max_head, max_line, &reading.message)
        if code != H1_MORE:
            break
    return reading.outcome(code)


def response(list pieces, *, uint32_t max_head=32768, uint32_t max_fields=100, bint to_head=False):
    cdef _Reading reading = _Reading.__new__(_Reading, sum(map(len, pieces)), max_fields)
    cdef uint32_t end = 0
    cdef int code = H1_MORE
    cdef bytes piece
    for piece in pieces:
        memcpy(reading.base + end, PyBytes_AS_STRING(piece), len(piece))
        end += <uint32_t>len(piece)
        code = response_feed(&reading.parser, reading.base, end, max_head, &reading.message)
        if code != H1_MORE:
            break
    if code == H1_DONE:
        response_framing(&reading.message, to_head, False)
    return reading.outcome(code)


def responses(list heads, *, uint32_t max_head=32768, uint32_t max_fields=100):
    """The heads in turn, each in one piece, as answers of one endpoint; with each whether it was one that came before."""
    cdef SlabState slab
    cdef Recall recall
    cdef _Reading reading
    cdef list found = []
    cdef uint32_t end
    cdef bint again
    cdef int code
    slab_init(&slab, 4096, 0)
    memset(&recall, 0, sizeof(recall))
    for head in heads:
        end = <uint32_t>len(head)
        reading = _Reading.__new__(_Reading, end, max_fields)
        memcpy(reading.base, PyBytes_AS_STRING(head), end)
        again = recall_take(&recall, &reading.parser, reading.base, end, max_head, &reading.message)
        code = H1_DONE if again else response_feed(&reading.parser, reading.base, end, max_head, &reading.message)
        if code == H1_DONE and not again:
            recall_keep(&recall, &slab, &reading.parser, end, &reading.message)
        if code == H1_DONE:
            response_framing(&reading.message, False, False)
        found.append((reading.outcome(code), again))
    recall_free(&recall, &slab)
    if slab.held[0]:
        raise RuntimeError(f"{slab.held[0]} bytes are still written down")
    return found


def field_text(bytes text not None) -> int:
    """Bytes up to the first that no field value may hold, or all; of at least 16."""
    cdef const char* start = text
    if len(text) < 16:
        raise ValueError("16 bytes are looked at together")
    return text_end(start, start + len(text)) - start


def chunked(list pieces):
    cdef Body body
    cdef uint32_t used = 0, written = 0
    cdef uint64_t taken = 0
    cdef int code = H1_MORE
    cdef bytes piece, room
    cdef list payload = []
    cdef bytes trailers = bytes(TRAILER_MAX)
    body_start(&body, BODY_CHUNKED, 0)
    for piece in pieces:
        room = bytes(len(piece) + 1)
        code = chunked_feed(&body, PyBytes_AS_STRING(piece), <uint32_t>len(piece), &used, PyBytes_AS_STRING(room), &written, PyBytes_AS_STRING(trailers))
        if code == H1_BAD:
            return FAULTS[body.fault]
        payload.append(room[:written])
        taken += used
        if code == H1_DONE:
            return b"".join(payload), trailers[:body.line], taken
    return None


def host(bytes text not None):
    cdef bytes lower = bytes(len(text) + 1)
    cdef uint32_t n = 0
    return lower[:n] if host_valid(PyBytes_AS_STRING(text), <uint32_t>len(text), PyBytes_AS_STRING(lower), &n) else None


def trailers(bytes section not None):
    cdef bytes kept = bytes(len(section) + 1)
    cdef int n = head_parse_trailers(PyBytes_AS_STRING(section), <uint32_t>len(section), PyBytes_AS_STRING(kept))
    return kept[:n] if n >= 0 else None


def find(bytes head not None, bytes name not None, uint32_t start=0):
    cdef _Reading reading = _Reading.__new__(_Reading, len(head), 256)
    memcpy(reading.base, PyBytes_AS_STRING(head), len(head))
    if request_feed(&reading.parser, reading.base, 0, <uint32_t>len(head), 65536, 65536, &reading.message) != H1_DONE:
        raise ValueError("the bytes are not one whole head")
    return head_find(&reading.head, PyBytes_AS_STRING(name), <uint32_t>len(name), start)


cdef struct Numbered:           # a timer that knows its wheel
    Timer timer                 # first: what the wheel hands to _expired
    uint32_t index
    void* wheel                 # borrowed: the Wheel object


cdef void _expired(Timer* timer) noexcept nogil:
    with gil:
        (<Wheel>(<Numbered*>timer).wheel).fire((<Numbered*>timer).index)


@cython.final
cdef class Wheel:
    cdef WheelState* state      # owned
    cdef Numbered* timers       # owned, `n` of them
    cdef uint32_t n
    cdef list fired
    cdef object on_fired

    def __cinit__(self, uint32_t n, int64_t now_ms, on_fired=None):
        cdef uint32_t i
        self.state = <WheelState*>malloc(sizeof(WheelState))
        self.timers = <Numbered*>calloc(n + 1, sizeof(Numbered))
        if self.state == NULL or self.timers == NULL:
            raise MemoryError
        self.n = n
        self.fired = []
        self.on_fired = on_fired
        wheel_init(self.state, now_ms)
        for i in range(n):
            timer_init(&self.timers[i].timer)
            self.timers[i].index = i
            self.timers[i].wheel = <void*>self

    def __dealloc__(self):
        free(self.state)
        free(self.timers)

    cdef Timer* _timer(self, uint32_t index) except NULL:
        if index >= self.n:
            raise IndexError(index)
        return &self.timers[index].timer

    cdef void fire(self, uint32_t index) noexcept:
        self.fired.append(index)
        if self.on_fired is not None:
            self.on_fired(self, index)

    def set(self, index: int, deadline_ms: int) -> None:
        timer_set(self.state, self._timer(index), deadline_ms)

    def off(self, index: int) -> None:
        timer_off(self._timer(index))

    def clear(self, index: int) -> None:
        timer_clear(self._timer(index))

    def deadline(self, index: int):
        cdef int64_t found = self._timer(index).deadline
        return None if found == NEVER else found

    def advance(self, now_ms: int) -> list:
        self.fired = []
        wheel_advance(self.state, now_ms, _expired)
        return self.fired


@cython.final
cdef class Slab:
    cdef SlabState state
    cdef dict given             # address of each buffer in use: its capacity

    def __cinit__(self, uint32_t cap, uint32_t keep):
        slab_init(&self.state, cap, keep)
        self.given = {}

    def __dealloc__(self):
        for address in self.given:
            buf_give(&self.state, <Buf*><size_t>address)
        slab_clear(&self.state)

    def take(self) -> int:
        """Every byte of the buffer is written, so that a wrong capacity cannot go unnoticed under a sanitizer."""
        cdef Buf* buf = buf_take(&self.state)
        if buf == NULL:
            raise MemoryError
        assert buf.start == 0 and buf.end == 0 and buf.next == NULL
        memset(buf.data, UNREAD, buf.cap)
        buf.end = buf.cap
        self.given[<size_t>buf] = buf.cap
        return <size_t>buf

    def give(self, address: int) -> None:
        del self.given[address]
        buf_give(&self.state, <Buf*><size_t>address)

    def capacity(self, address: int) -> int:
        return self.given[address]

    def resize(self, cap: int) -> None:
        self.state.cap = cap

    def clear(self) -> None:
        slab_clear(&self.state)

    @property
    def held(self) -> int:
        return self.state.held[0]

    @property
    def taken(self) -> int:
        return self.state.n_taken

    @property
    def free(self) -> int:
        return self.state.n_free


def _repeat_request(bytes head not None, uint64_t times):
    cdef _Reading reading = _Reading.__new__(_Reading, len(head), 100)
    cdef uint32_t n = <uint32_t>len(head)
    cdef uint64_t done = 0, _
    memcpy(reading.base, PyBytes_AS_STRING(head), n)
    with nogil:
        for _ in range(times):
            head_start(&reading.parser, &reading.head, 100)
            done += request_feed(&reading.parser, reading.base, 0, n, 32768, 8192, &reading.message) == H1_DONE
    return done


def _repeat_response(bytes head not None, uint64_t times):
    cdef _Reading reading = _Reading.__new__(_Reading, len(head), 100)
    cdef uint32_t n = <uint32_t>len(head)
    cdef uint64_t done = 0, _
    memcpy(reading.base, PyBytes_AS_STRING(head), n)
    with nogil:
        for _ in range(times):
            head_start(&reading.parser, &reading.head, 100)
            done += response_feed(&reading.parser, reading.base, n, 32768, &reading.message) == H1_DONE
    return done


def _repeat_classify(bytes head not None, uint64_t times):
    cdef _Reading reading = _Reading.__new__(_Reading, len(head), 100)
    cdef uint32_t n = <uint32_t>len(head)
    cdef uint64_t _
    memcpy(reading.base, PyBytes_AS_STRING(head), n)
    request_feed(&reading.parser, reading.base, 0, n, 32768, 8192, &reading.message)
    with nogil:
        for _ in range(times):
            head_classify(&reading.head)
    return reading.head.n_fields


def _repeat_chunked(bytes body not None, uint64_t times):
    cdef Body state
    cdef uint32_t used = 0, written = 0
    cdef uint64_t done = 0, _
    cdef uint32_t n = <uint32_t>len(body)
    cdef const char* text = PyBytes_AS_STRING(body)
    cdef bytes kept = bytes(n + TRAILER_MAX)
    cdef char* room = PyBytes_AS_STRING(kept)
    with nogil:
        for _ in range(times):
            body_start(&state, BODY_CHUNKED, 0)
            done += chunked_feed(&state, text, n, &used, room, &written, room + n) == H1_DONE
    return done


def _repeat_timer(uint64_t times):
    """Moves one deadline further away, as each read of a busy connection does."""
    cdef Wheel wheel = Wheel(1, 0)
    cdef uint64_t i
    with nogil:
        for i in range(times):
            timer_set(wheel.state, &wheel.timers[0].timer, <int64_t>i)
    return wheel.deadline(0)


def _repeat_buffer(uint64_t times):
    cdef Slab slab = Slab(4096, 8)
    cdef uint64_t _
    with nogil:
        for _ in range(times):
            buf_give(&slab.state, buf_take(&slab.state))
    return slab.free
