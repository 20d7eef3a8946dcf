from cpython.bytes cimport PyBytes_AS_STRING

from gw._fast.answer cimport R_DENIED, R_LIMITS_FULL
from gw._fast.forward cimport edit_push, text_room
from gw._fast.hash cimport hash_key
from gw._fast.out cimport Out, out_init, put, put_number
from gw._fast.plane cimport EDIT_ADD, STEP_NEXT
from gw._fast.selector cimport selector_key, selector_text
from gw._fast.step cimport step_refuses

MISSING = {"count": MISSING_COUNT, "refuse": MISSING_REFUSE, "skip": MISSING_SKIP}

cdef enum:
    RETRY_MAX = 40              # bytes of a Retry-After line
    FIGURES_MAX = 48            # bytes of two numbers and what stands between them


cdef bint limit_key(Limit* limit, Exchange* x, Hash* key, int* verdict) noexcept nogil:
    limit.seen = SEEN_COUNTED
    if selector_key(limit.parts, limit.n_parts, x, limit.seed, key) or limit.missing == MISSING_COUNT:
        return True
    verdict[0] = limit_refuses(limit, x, R_DENIED, 0) if limit.missing == MISSING_REFUSE else STEP_NEXT
    limit.seen = SEEN_LACKING
    return False


cdef int limit_refuses(Limit* limit, Exchange* x, uint8_t reason, int64_t retry_us) noexcept nogil:
    cdef Out out
    cdef char* room = NULL
    limit.seen = SEEN_REFUSED
    if limit.dry:
        x.lane.stats.dry_refusals += 1
        x.dry_reason = reason
        return STEP_NEXT
    if retry_us:
        room = text_room(x, RETRY_MAX)
    if room == NULL:
        return step_refuses(x, reason, NULL, 0)
    out_init(&out, room, RETRY_MAX)
    put(&out, b"Retry-After: ", 13)
    put_number(&out, whole_seconds(retry_us))
    put(&out, b"\r\n", 2)
    return step_refuses(x, reason, room, <uint32_t>(out.p - room))


cdef int limit_full(Limit* limit, Exchange* x) noexcept nogil:
    cdef int verdict = limit_refuses(limit, x, R_LIMITS_FULL, 0) if limit.closed else STEP_NEXT
    limit.seen = SEEN_FULL
    return verdict


cdef void limit_tells(const Telling* telling, Exchange* x) noexcept nogil:
    """draft-ietf-httpapi-ratelimit-headers-10: fields are lists, so that those of other limits and of the origin stay beside ours."""
    cdef char* room = text_room(x, telling.field_max)
    cdef Out out
    cdef uint32_t i
    if room == NULL:
        return
    out_init(&out, room, telling.field_max)
    for i in range(telling.n):
        put(&out, telling.labels[i].text, telling.labels[i].len)
        put_number(&out, telling.figures[i].remaining)
        if telling.figures[i].reset_us >= 0:
            put(&out, b";t=", 3)
            put_number(&out, whole_seconds(telling.figures[i].reset_us))
    x.arena_used -= <uint32_t>(out.end - out.p)
    edit_push(&x.client_edits, EDIT_ADD, b"RateLimit-Policy", 16, telling.policy, telling.policy_len)
    edit_push(&x.client_edits, EDIT_ADD, b"RateLimit", 9, room, <uint32_t>(out.p - room))


cdef class LimitStep(Step):
    def __init__(self, name: str, Segment segment not None, by: list) -> None:
        Step.__init__(self, name)
        self.segment = segment
        self.by = by
        self.selector = Selector(by)
        self.held = []

    cdef _count(self, Limit* limit, bytes identity, str missing, bint closed, bint dry):
        if self.segment.limits.n_sets == 0:
            raise ValueError("the segment has no cells for limits; raise process.limit_cells and restart")
        limit.table = &self.segment.limits
        limit.parts = self.selector.parts
        limit.n_parts = self.selector.n
        limit.seed = hash_key(PyBytes_AS_STRING(identity), len(identity), self.segment.limits.seed)
        limit.missing = MISSING[missing]
        limit.closed = closed
        limit.dry = dry

    cdef _labels(self, Telling* telling, list windows):
        cdef bytes text
        cdef uint32_t i
        if not 1 <= len(windows) <= WINDOWS_MAX:
            raise ValueError(f"from 1 to {WINDOWS_MAX} windows at once, not {len(windows)}")
        telling.n = <uint32_t>len(windows)
        for i, (label, _units, _seconds) in enumerate(windows):
            text = f'{", " if i else ""}"{label}";r='.encode()
            self.held.append(text)
            telling.labels[i].text = PyBytes_AS_STRING(text)
            telling.labels[i].len = <uint32_t>len(text)
            telling.field_max += <uint32_t>len(text) + FIGURES_MAX
        text = ", ".join([f'"{label}";q={units}' + (f";w={seconds}" if seconds else "") for label, units, seconds in windows]).encode()
        self.held.append(text)
        telling.policy = PyBytes_AS_STRING(text)
        telling.policy_len = <uint32_t>len(text)

    cdef str _told(self, const Limit* limit, Exchange* x, str figures):
        cdef uint32_t i
        cdef list parts
        if limit.seen == SEEN_LACKING:
            return f"not counted: the request lacks {' or '.join(self.by)}"
        if limit.seen == SEEN_FULL:
            return "not counted: the table of limits is full"
        parts = [f"{self.by[i]} {selector_text(limit.parts + i, 1, x)}" for i in range(limit.n_parts)]
        return f"{'would be refused, ' if limit.seen == SEEN_REFUSED and limit.dry else ''}{figures}, by {' and '.join(parts)}"
