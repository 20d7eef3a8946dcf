cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int16_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memchr, memcmp, memcpy

from gw._fast.answer cimport R_AMBIGUOUS_PATH, R_OVERLOADED
from gw._fast.forward cimport put_target, secure_for_client, target_normal, text_room
from gw._fast.headers cimport Span
from gw._fast.out cimport Out, out_init, put, put_number
from gw._fast.path cimport path_reason
from gw._fast.plane cimport STEP_ANSWER, STEP_NEXT, Exchange
from gw._fast.predicate cimport query_equals
from gw._fast.regex cimport REGEX_MAX_GROUPS, Program, Regex, regex_groups
from gw._fast.step cimport Step, step_refuses

cdef enum:
    TARGET_MAX = 65536          # bytes of a target on its way; what is longer is refused

cdef struct Text:               # borrowed from the step's `held`
    const char* text
    uint32_t len

cdef struct Piece:
    Text text
    int16_t group               # index into the groups, -1: the text


# Rewriting

cdef struct Rewrite:
    const Program* program      # borrowed from the step's Regex; NULL: a prefix, or nothing of the path
    Text prefix                 # text NULL: none
    Piece* pieces               # owned by the step
    uint32_t n_pieces
    Text* drop                  # owned by the step
    uint32_t n_drop
    Text append


cdef void _put_pieces(const Rewrite* rewrite, const char* path, const Span* groups, Out* out) noexcept nogil:
    cdef uint32_t i
    cdef const Piece* piece
    for i in range(rewrite.n_pieces):
        piece = &rewrite.pieces[i]
        if piece.group >= 0:
            put(out, path + groups[piece.group].off, groups[piece.group].len)
        else:
            put(out, piece.text.text, piece.text.len)


cdef bint _begins(const char* path, uint32_t n, const Text* prefix) noexcept nogil:
    """By whole segments, as a route's prefix."""
    cdef uint32_t m = prefix.len
    return n >= m and memcmp(path, prefix.text, m) == 0 and (n == m or m == 0 or path[m] == c"/" or path[m - 1] == c"/")


cdef void _put_moved(const Rewrite* rewrite, const char* path, uint32_t n, Out* out) noexcept nogil:
    cdef uint32_t at = rewrite.prefix.len
    put(out, rewrite.pieces[0].text.text, rewrite.pieces[0].text.len)
    if at < n and path[at] == c"/" and out.p > out.start and (out.p - 1)[0] == c"/":
        at += 1
    elif at < n and path[at] != c"/" and (out.p == out.start or (out.p - 1)[0] != c"/"):
        put(out, b"/", 1)
    put(out, path + at, n - at)
    if out.p == out.start:
        put(out, b"/", 1)


cdef void _put_path(const Rewrite* rewrite, const char* path, uint32_t n, Out* out) noexcept nogil:
    cdef Span groups[REGEX_MAX_GROUPS]
    if rewrite.program != NULL and regex_groups(rewrite.program, path, n, groups) >= 0:
        _put_pieces(rewrite, path, groups, out)
    elif rewrite.program == NULL and rewrite.prefix.text != NULL and _begins(path, n, &rewrite.prefix):
        _put_moved(rewrite, path, n, out)
    else:
        put(out, path, n)


cdef bint _drops(const Rewrite* rewrite, const char* name, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(rewrite.n_drop):
        if query_equals(name, n, rewrite.drop[i].text, rewrite.drop[i].len):
            return True
    return False


cdef void _put_query(const Rewrite* rewrite, const char* query, uint32_t n, Out* out) noexcept nogil:
    """`query` begins behind '?'. Parameters that stay are copied as sent."""
    cdef uint32_t at = 0, end, name_end
    cdef char mark = c"?"
    while at < n:
        end = at
        while end < n and query[end] != c"&":
            end += 1
        name_end = at
        while name_end < end and query[name_end] != c"=":
            name_end += 1
        if end > at and not _drops(rewrite, query + at, name_end - at):
            put(out, &mark, 1)
            put(out, query + at, end - at)
            mark = c"&"
        at = end + 1
    if rewrite.append.len:
        put(out, &mark, 1)
        put(out, rewrite.append.text, rewrite.append.len)


cdef int _rewrite(void* self, Exchange* x) noexcept nogil:
    cdef const Rewrite* rewrite = <const Rewrite*>self
    cdef Out before, after
    cdef const char* mark
    cdef char* kept
    cdef uint32_t n, path_n, whole
    out_init(&before, x.lane.reactor.tx, TARGET_MAX)
    put_target(x, &before)
    whole = <uint32_t>(before.p - before.start)
    mark = <const char*>memchr(before.start, c"?", whole)
    path_n = <uint32_t>(mark - before.start) if mark != NULL else whole
    out_init(&after, x.lane.reactor.tx + TARGET_MAX, TARGET_MAX)
    _put_path(rewrite, before.start, path_n, &after)
    n = <uint32_t>(after.p - after.start)
    if before.full or after.full or not target_normal(x, after.start, n):
        return step_refuses(x, R_AMBIGUOUS_PATH, NULL, 0)
    if mark == NULL:
        _put_query(rewrite, NULL, 0, &after)
    elif rewrite.n_drop or rewrite.append.len:
        _put_query(rewrite, mark + 1, whole - path_n - 1, &after)
    else:
        put(&after, mark, whole - path_n)
    n = <uint32_t>(after.p - after.start)
    kept = text_room(x, n) if not after.full else NULL
    if kept == NULL:
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    memcpy(kept, after.start, n)
    x.target = kept
    x.target_len = n
    return STEP_NEXT


@cython.final
cdef class RewriteStep(Step):
    cdef Rewrite rewrite
    cdef Regex regex
    cdef list held

    def __init__(self, regex, prefix, to, drop, append: str) -> None:
        cdef Text* dropped
        Step.__init__(self, "rewrite")
        self.held = []
        self.regex = regex
        if regex is not None:
            self.rewrite.program = self.regex.program
        if prefix is not None:
            self._keep(&self.rewrite.prefix, prefix)
        self._keep(&self.rewrite.append, append)
        self._fill_pieces(list(to))
        self.rewrite.drop = <Text*>calloc(len(drop) + 1, sizeof(Text))
        if self.rewrite.drop == NULL:
            raise MemoryError
        for name in drop:
            dropped = &self.rewrite.drop[self.rewrite.n_drop]
            self._keep(dropped, name)
            self.rewrite.n_drop += 1
        self.request.run = _rewrite
        self.request.self = &self.rewrite

    cdef _keep(self, Text* into, str text):
        cdef bytes raw = text.encode()
        self.held.append(raw)
        into.text = PyBytes_AS_STRING(raw)
        into.len = len(raw)

    cdef _fill_pieces(self, list to):
        self.rewrite.pieces = <Piece*>calloc(len(to) + 1, sizeof(Piece))
        if self.rewrite.pieces == NULL:
            raise MemoryError
        for text, group in to:
            self._keep(&self.rewrite.pieces[self.rewrite.n_pieces].text, text)
            self.rewrite.pieces[self.rewrite.n_pieces].group = group
            self.rewrite.n_pieces += 1

    def __dealloc__(self):
        free(self.rewrite.pieces)
        free(self.rewrite.drop)

    cdef str told(self, Exchange* x, int verdict):
        if verdict == STEP_NEXT:
            return f"{(<bytes>x.target[:x.target_len]).decode('latin-1')} goes on"
        return (<const char*>path_reason(x.path_code)).decode() if x.path_code else "the new target is too long"


# Redirecting

cdef struct Redirect:
    uint16_t status
    uint16_t port               # 0: the default one where scheme or host changes
    bint https
    int www
    int slash
    Text host                   # empty: stays


cdef bint _is_www(const Exchange* x) noexcept nogil:
    return x.host_len > 4 and memcmp(x.host, b"www.", 4) == 0


cdef void _put_host(const Redirect* redirect, const Exchange* x, Out* out) noexcept nogil:
    if redirect.host.len:
        put(out, redirect.host.text, redirect.host.len)
    elif redirect.www < 0 and _is_www(x):
        put(out, x.host + 4, x.host_len - 4)
    else:
        if redirect.www > 0 and not _is_www(x):
            put(out, b"www.", 4)
        put(out, x.host, x.host_len)


cdef bint _lacks_slash(const Exchange* x) noexcept nogil:
    """The last segment is no file: it holds no dot."""
    cdef uint32_t i = x.path_len
    while i and x.path[i - 1] != c"/":
        if x.path[i - 1] == c".":
            return False
        i -= 1
    return i < x.path_len


cdef void _put_slashed(const Redirect* redirect, const Exchange* x, Out* out) noexcept nogil:
    cdef uint32_t n = x.path_len
    while redirect.slash < 0 and n > 1 and x.path[n - 1] == c"/":
        n -= 1
    put(out, x.path, n)
    if redirect.slash > 0 and _lacks_slash(x):
        put(out, b"/", 1)


cdef bint _same(const Out* out, const char* start, const char* text, uint32_t n) noexcept nogil:
    return out.p - start == n and memcmp(start, text, n) == 0


cdef bint _put_location(const Redirect* redirect, const Exchange* x, Out* out) noexcept nogil:
    """Whether it differs from the URL asked for. Always absolute, so that no path is taken for a host."""
    cdef bint secure = secure_for_client(x)
    cdef bint moved = redirect.https and not secure
    cdef char* start
    put(out, b"https://" if secure or moved else b"http://", 8 if secure or moved else 7)
    start = out.p
    _put_host(redirect, x, out)
    moved |= not _same(out, start, x.host, x.host_len)
    if moved and redirect.port:
        put(out, b":", 1)
        put_number(out, redirect.port)
    elif not moved and x.port.len:
        put(out, x.head.base + x.port.off, x.port.len)
    start = out.p
    _put_slashed(redirect, x, out)
    return moved or not _same(out, start, x.path, x.path_len)


cdef int _redirect(void* self, Exchange* x) noexcept nogil:
    cdef const Redirect* redirect = <const Redirect*>self
    cdef Out out
    cdef char* kept
    cdef uint32_t n
    out_init(&out, x.lane.reactor.tx, TARGET_MAX)
    put(&out, b"Location: ", 10)
    if x.host_len == 0 or not _put_location(redirect, x, &out):
        return STEP_NEXT
    if x.has_query:
        put(&out, b"?", 1)
        put(&out, x.head.base + x.query.off, x.query.len)
    put(&out, b"\r\n", 2)
    n = <uint32_t>(out.p - out.start)
    kept = text_room(x, n) if not out.full else NULL
    if kept == NULL:
        return step_refuses(x, R_OVERLOADED, NULL, 0)
    memcpy(kept, out.start, n)
    x.own.status = redirect.status
    x.own.fields = kept
    x.own.fields_len = n
    return STEP_ANSWER


@cython.final
cdef class RedirectStep(Step):
    cdef Redirect redirect
    cdef bytes host

    def __init__(self, status: int, https: bool, host: str, port: int, www: int, slash: int) -> None:
        Step.__init__(self, "redirect")
        self.host = host.encode()
        self.redirect.status = status
        self.redirect.https = https
        self.redirect.host.text = PyBytes_AS_STRING(self.host)
        self.redirect.host.len = len(self.host)
        self.redirect.port = port
        self.redirect.www = www
        self.redirect.slash = slash
        self.request.run = _redirect
        self.request.self = &self.redirect

    cdef str told(self, Exchange* x, int verdict):
        if verdict == STEP_NEXT:
            return "this is the URL it should be"
        return (<bytes>x.own.fields[:x.own.fields_len]).decode("latin-1").strip() if x.own.fields_len else ""
