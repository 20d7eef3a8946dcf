cimport cython
from libc.errno cimport EBADF, EINTR, EIO, errno
from libc.stdint cimport INT64_MIN, uint8_t
from libc.stdlib cimport free, malloc
from libc.string cimport memchr, memcpy, memmove, memset
from posix.unistd cimport write

from gw._fast.octets cimport PAIRS, decimal_before, trailing_zeros, word_at

cdef extern from *:
    """
    #include <sys/stat.h>
    #include <limits.h>
    #include <time.h>
    #include <stdint.h>

    /* 1 for a descriptor on which a long write may stop half-way while others write too */
    static inline int gw_is_stream(int fd) {
        struct stat st;
        return fstat(fd, &st) == 0 && (S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode));
    }

    static inline void gw_realtime(int64_t* seconds, uint32_t* ms) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        *seconds = now.tv_sec;
        *ms = (uint32_t)(now.tv_nsec / 1000000);
    }
    """
    const int PIPE_BUF
    bint is_stream "gw_is_stream"(int fd) noexcept nogil
    void realtime "gw_realtime"(int64_t* seconds, uint32_t* ms) noexcept nogil
    void* memrchr(const void* s, int c, size_t n) noexcept nogil

cdef extern from *:
    """
    static const char gw_hex[] = "0123456789abcdef";
    """
    const char* HEX "gw_hex"


# lines and descriptors

cdef LogBuf* log_new(int fd, size_t capacity) noexcept nogil:
    cdef LogBuf* log = <LogBuf*>malloc(sizeof(LogBuf))
    if log == NULL:
        return NULL
    memset(log, 0, sizeof(LogBuf))
    log.cap = max(capacity, <size_t>LOG_MIN)
    log.data = <char*>malloc(log.cap)
    if log.data == NULL:
        free(log)
        return NULL
    log.lines = &log.own_lines
    log.dropped = &log.own_dropped
    log.second = INT64_MIN
    point_at(log, fd)
    return log


cdef void log_free(LogBuf* log) noexcept nogil:
    if log != NULL:
        free(log.data)
        free(log)


cdef void log_count_into(LogBuf* log, uint64_t* lines, uint64_t* dropped) noexcept nogil:
    log.lines = lines
    log.dropped = dropped


cdef void point_at(LogBuf* log, int fd) noexcept nogil:
    log.fd = fd
    log.atom = PIPE_BUF if fd >= 0 and is_stream(fd) else 0
    log.stuck = 0


cdef void log_set_fd(LogBuf* log, int fd) noexcept nogil:
    log_flush(log)
    if log.cut:
        log.start = end_of_line(log, log.start)
        log.cut = 0
        log.dropped[0] += 1
    point_at(log, fd)


cdef inline size_t end_of_line(const LogBuf* log, size_t at) noexcept nogil:
    cdef const char* found = <const char*>memchr(log.data + at, c'\n', log.end - at)
    return log.end if found == NULL else <size_t>(found - log.data) + 1


cdef char* log_reserve(LogBuf* log, size_t n) noexcept nogil:
    if n <= log.cap - log.end:
        return log.data + log.end
    return make_room(log, n)


cdef char* make_room(LogBuf* log, size_t n) noexcept nogil:
    # Once the descriptor takes no more, a system call for every lost line would make things worse: the next try is the owner's log_flush.
    if not log.stuck:
        log_flush(log)
    if n > log.cap - (log.end - log.start):
        log.dropped[0] += 1
        return NULL
    memmove(log.data, log.data + log.start, log.end - log.start)
    log.end -= log.start
    log.start = 0
    return log.data + log.end


cdef void log_commit(LogBuf* log, size_t n) noexcept nogil:
    log.end += n
    log.lines[0] += 1


cdef size_t next_write(const LogBuf* log) noexcept nogil:
    # How much may go out in one write: on a stream the whole lines that fit in an atom, or else the one line that does not.
    cdef size_t pending = log.end - log.start
    cdef const char* last
    if log.atom == 0 or pending <= log.atom:
        return pending
    if log.cut:
        return end_of_line(log, log.start) - log.start
    last = <const char*>memrchr(log.data + log.start, c'\n', log.atom)
    if last != NULL:
        return <size_t>(last - (log.data + log.start)) + 1
    return end_of_line(log, log.start) - log.start


cdef int log_flush(LogBuf* log) noexcept nogil:
    cdef ssize_t wrote
    log.stuck = 0
    while log.start < log.end:
        wrote = write(log.fd, log.data + log.start, next_write(log)) if log.fd >= 0 else -1
        if wrote > 0:
            log.start += <size_t>wrote
            log.cut = log.data[log.start - 1] != c'\n'
            continue
        if wrote < 0 and log.fd >= 0 and errno == EINTR:
            continue
        log.stuck = 1
        if log.fd < 0:
            return EBADF
        return errno if wrote < 0 else EIO
    log.start = 0
    log.end = 0
    return 0


# pieces of a line

cdef inline char* escape_byte(char* out, uint8_t c) noexcept nogil:
    memcpy(out, b"\\u00", 4)
    out[4] = HEX[c >> 4]
    out[5] = HEX[c & 15]
    return out + 6


cdef inline char* escape_ascii(char* out, uint8_t c) noexcept nogil:
    cdef char short_form
    if c == c'"' or c == c'\\':
        short_form = <char>c
    elif c == c'\n':
        short_form = c'n'
    elif c == c'\r':
        short_form = c'r'
    elif c == c'\t':
        short_form = c't'
    else:
        return escape_byte(out, c)
    out[0] = c'\\'
    out[1] = short_form
    return out + 2


cdef uint32_t utf8_length(const uint8_t* s, const uint8_t* end) noexcept nogil:
    # Bytes of the well-formed sequence at s (RFC 3629 section 4, table of UTF8-octets), or 0.
    cdef uint32_t n, i
    cdef uint8_t low = 0x80, high = 0xbf
    if 0xc2 <= s[0] <= 0xdf:
        n = 2
    elif 0xe0 <= s[0] <= 0xef:
        n = 3
        if s[0] == 0xe0:
            low = 0xa0
        elif s[0] == 0xed:
            high = 0x9f             # no surrogates
    elif 0xf0 <= s[0] <= 0xf4:
        n = 4
        if s[0] == 0xf0:
            low = 0x90
        elif s[0] == 0xf4:
            high = 0x8f
    else:
        return 0
    if <size_t>(end - s) < n or not low <= s[1] <= high:
        return 0
    for i in range(2, n):
        if not 0x80 <= s[i] <= 0xbf:
            return 0
    return n


cdef inline uint64_t special(uint64_t v) noexcept nogil:
    """0 when JSON takes all eight bytes as they are. Else the lowest bit that is set stands in the first byte that it does not: borrows go upwards only."""
    cdef uint64_t ones = 0x0101010101010101ULL, high = 0x8080808080808080ULL
    return (v | (v - ones * 0x20) | ((v ^ ones * c'"') - ones) | ((v ^ ones * c'\\') - ones) | ((v ^ ones * 0x7f) - ones)) & high


cdef inline uint32_t copy_plain(char* out, const char* s, uint32_t n) noexcept nogil:
    """Copies up to the first byte that must be escaped; how many bytes those are. Of 8 bytes or more the last word overlaps the one before; out has n + 7."""
    cdef uint32_t at = 0
    cdef uint64_t word, found
    while n - at >= 8:
        word = word_at(s + at, 8)
        memcpy(out + at, &word, 8)
        found = special(word)
        if found:
            return at + <uint32_t>(trailing_zeros(found) >> 3)
        at += 8
    if at == n:
        return n
    if n >= 8:
        at = n - 8
    word = word_at(s + at, n - at)
    memcpy(out + at, &word, 8)
    found = special(word)
    return min(n, at + <uint32_t>(trailing_zeros(found) >> 3)) if found else n


cdef char* log_escape(char* out, const char* text, uint32_t n) noexcept nogil:
    cdef const uint8_t* s = <const uint8_t*>text
    cdef const uint8_t* end = s + n
    cdef uint32_t length
    while True:
        length = copy_plain(out, <const char*>s, <uint32_t>(end - s))
        s += length
        out += length
        if s == end:
            return out
        if s[0] < 0x80:
            out = escape_ascii(out, s[0])
            s += 1
            continue
        length = utf8_length(s, end)
        if length == 0 or (s[0] == 0xc2 and s[1] < 0xa0):   # not UTF-8, or a C1 control, which terminals obey
            out = escape_byte(out, s[0] if length == 0 else s[1])
            s += max(1, length)
            continue
        memcpy(out, s, length)
        out += length
        s += length


cdef char* log_u64(char* out, uint64_t v) noexcept nogil:
    cdef char text[LOG_U64_SIZE]
    cdef const char* first = decimal_before(text + LOG_U64_SIZE, v)
    cdef size_t n = text + LOG_U64_SIZE - first
    memcpy(out, first, n)
    return out + n


cdef inline char* digits3(char* out, uint32_t v) noexcept nogil:
    out[0] = <char>(c'0' + v // 100)
    memcpy(out + 1, PAIRS + v % 100 * 2, 2)
    return out + 3


cdef inline char* digits2(char* out, uint32_t v) noexcept nogil:
    memcpy(out, PAIRS + v * 2, 2)
    return out + 2


cdef char* log_ms(char* out, uint64_t us) noexcept nogil:
    out = log_u64(out, us // 1000)
    out[0] = c'.'
    return digits3(out + 1, us % 1000)


cdef void write_second(char* out, int64_t seconds) noexcept nogil:
    # Civil date from days: years are counted from 1 March, so that the leap day is the last of its year; 400 years have 146,097 days.
    cdef int64_t since = seconds + <int64_t>719468 * 86400      # from 0000-03-01
    cdef uint32_t time = <uint32_t>(since % 86400)
    cdef int64_t days = since // 86400
    cdef uint32_t era = <uint32_t>(days // 146097)
    cdef uint32_t day = <uint32_t>(days % 146097)
    cdef uint32_t year = (day - day // 1460 + day // 36524 - day // 146096) // 365
    cdef uint32_t month
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153                                # 0 is March; five months have 153 days
    day -= (153 * month + 2) // 5
    year += era * 400 + (month >= 10)
    month = month + 3 if month < 10 else month - 9
    out = digits2(digits2(out, year // 100), year % 100)
    out[0] = c'-'
    out = digits2(out + 1, month)
    out[0] = c'-'
    out = digits2(out + 1, day + 1)
    out[0] = c'T'
    out = digits2(out + 1, time // 3600)
    out[0] = c':'
    out = digits2(out + 1, time // 60 % 60)
    out[0] = c':'
    out = digits2(out + 1, time % 60)
    out[0] = c'.'


cdef char* log_time_at(LogBuf* log, char* out, int64_t seconds, uint32_t ms) noexcept nogil:
    if seconds != log.second:
        write_second(log.time_text, seconds)
        log.second = seconds
    memcpy(out, log.time_text, 20)
    out = digits3(out + 20, ms)
    out[0] = c'Z'
    return out + 1


cdef char* log_time(LogBuf* log, char* out) noexcept nogil:
    cdef int64_t seconds
    cdef uint32_t ms
    realtime(&seconds, &ms)
    return log_time_at(log, out, seconds, ms)


# for Python callers

@cython.final
cdef class Log:
    def __cinit__(self, int fd, size_t capacity=LOG_MIN):
        self.log = log_new(fd, capacity)
        if self.log == NULL:
            raise MemoryError

    def __dealloc__(self):
        log_free(self.log)

    def __repr__(self):
        return f"<Log on {self.log.fd}: {log_pending(self.log)} of {self.log.cap} bytes wait, {self.lines} lines, {self.dropped} dropped>"

    def write(self, bytes line not None):
        cdef size_t n = len(line)
        cdef char* room
        if not line.endswith(b"\n"):
            raise ValueError("a line ends with a line feed")
        room = log_reserve(self.log, n)
        if room == NULL:
            return False
        memcpy(room, <const char*>line, n)
        log_commit(self.log, n)
        return True

    def flush(self):
        return log_flush(self.log)

    def set_fd(self, int fd):
        log_set_fd(self.log, fd)

    def time(self):
        cdef char text[LOG_TIME_SIZE]
        return text[:log_time(self.log, text) - text].decode()

    def time_at(self, int64_t seconds, uint32_t ms):
        cdef char text[LOG_TIME_SIZE]
        return text[:log_time_at(self.log, text, seconds, ms) - text].decode()

    @property
    def fd(self):
        return self.log.fd

    @property
    def pending(self):
        return log_pending(self.log)

    @property
    def lines(self):
        return self.log.lines[0]

    @property
    def dropped(self):
        return self.log.dropped[0]


def escape(bytes text not None):
    cdef size_t n = len(text)
    cdef char* out = <char*>malloc(6 * n + 2)
    if out == NULL:
        raise MemoryError
    try:
        return out[:log_escape(out, text, <uint32_t>n) - out]
    finally:
        free(out)


def decimal(uint64_t v):
    cdef char text[LOG_U64_SIZE]
    return text[:log_u64(text, v) - text]


def milliseconds(uint64_t us):
    cdef char text[LOG_MS_SIZE]
    return text[:log_ms(text, us) - text]


def _repeat(bytes text not None, uint64_t times):
    """The variable parts of an access-log line: a time, an escaped text, a number, a duration."""
    cdef uint32_t n = <uint32_t>len(text)
    cdef const char* source = text
    cdef LogBuf* log = log_new(-1, LOG_MIN + 6 * n)
    cdef uint64_t i
    cdef char* out
    if log == NULL:
        raise MemoryError
    with nogil:
        for i in range(times):
            out = log_reserve(log, 6 * n + LOG_TIME_SIZE + LOG_U64_SIZE + LOG_MS_SIZE + 1)
            out = log_time(log, out)
            out = log_escape(out, source, n)
            out = log_u64(out, 200)
            out = log_ms(out, i)
            out[0] = c'\n'
            log_commit(log, <size_t>(out + 1 - (log.data + log.end)))
            log.end = 0
    log_free(log)


def _repeat_escape(bytes text not None, uint64_t times):
    cdef uint32_t n = <uint32_t>len(text)
    cdef const char* source = text
    cdef char* out = <char*>malloc(6 * n + 2)
    cdef uint64_t _
    if out == NULL:
        raise MemoryError
    with nogil:
        for _ in range(times):
            log_escape(out, source, n)
    free(out)
