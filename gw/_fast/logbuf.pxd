"""A bounded buffer of whole lines in front of one descriptor, and the pieces of a JSON line. Nothing here blocks on a pipe or fails on a full disk.

Writing a line: log_reserve(worst case), write the bytes including the final '\\n', log_commit(bytes written). The owner of the buffer calls
log_flush when enough waits (log_pending) or the oldest line is old enough.

Several workers write to one descriptor. A file opened with O_APPEND keeps their writes apart. On a pipe or socket every write holds
whole lines and at most 4096 bytes (PIPE_BUF), which the kernel takes whole or not at all; only a single longer line can be cut there.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t


cdef enum:
    LOG_MIN = 65536             # least capacity, bytes
    LOG_BATCH = 65536           # bytes pending from which a flush is worth its system call
    LOG_TIME_SIZE = 24          # bytes of log_time
    LOG_U64_SIZE = 20           # most bytes of log_u64
    LOG_MS_SIZE = 24            # most bytes of log_ms


cdef struct LogBuf:
    int fd                      # borrowed; -1: nothing is written
    uint8_t cut                 # 1: the first pending byte continues a line of which a part was written
    uint8_t stuck               # 1: the last flush failed; no write is tried before the next log_flush
    uint32_t atom               # most bytes the kernel takes whole or not at all (pipes, sockets); 0: no such limit matters
    size_t start                # first pending byte
    size_t end                  # end of the pending bytes; those of a reserved line follow
    size_t cap                  # bytes of data
    char* data                  # owned
    uint64_t* lines             # lines taken; borrowed, points to own_lines or where log_count_into said
    uint64_t* dropped           # lines lost
    uint64_t own_lines
    uint64_t own_dropped
    int64_t second              # of the cached time text; INT64_MIN: none
    char time_text[32]          # 2026-11-24T03:50:28.


cdef LogBuf* log_new(int fd, size_t capacity) noexcept nogil                # NULL: out of memory
cdef void log_free(LogBuf* log) noexcept nogil                              # does not flush, does not close
# The file was rotated. Flushes to the old descriptor first; the rest of a line that was cut there is dropped and counted, whole lines move on.
cdef void log_set_fd(LogBuf* log, int fd) noexcept nogil
cdef void log_count_into(LogBuf* log, uint64_t* lines, uint64_t* dropped) noexcept nogil   # count there from now on, such as in WorkerStats
cdef char* log_reserve(LogBuf* log, size_t n) noexcept nogil                # room for a line of at most n bytes, or NULL: the line is dropped and counted
cdef void log_commit(LogBuf* log, size_t n) noexcept nogil                  # n bytes of the reserved room are a line; its last byte is '\n'
cdef int log_flush(LogBuf* log) noexcept nogil                              # 0: nothing pending; otherwise the errno that stopped it (EAGAIN, ENOSPC ...), lines stay

cdef inline size_t log_pending(const LogBuf* log) noexcept nogil:           # bytes
    return log.end - log.start

# Pieces of a line. Each writes at `out` and returns the end of what it wrote.
cdef char* log_escape(char* out, const char* s, uint32_t n) noexcept nogil  # inside of a JSON string; out has 6 n + 2 bytes. A byte that is not UTF-8 becomes \u00XX
cdef char* log_u64(char* out, uint64_t v) noexcept nogil                    # decimal; out has LOG_U64_SIZE bytes
cdef char* log_ms(char* out, uint64_t us) noexcept nogil                    # microseconds as milliseconds, 12.345; out has LOG_MS_SIZE bytes
cdef char* log_time(LogBuf* log, char* out) noexcept nogil                  # CLOCK_REALTIME as RFC 3339 UTC with milliseconds; LOG_TIME_SIZE bytes
cdef char* log_time_at(LogBuf* log, char* out, int64_t seconds, uint32_t ms) noexcept nogil   # the same for a given time, years 1 .. 9999


cdef class Log:                 # for Python callers
    cdef LogBuf* log            # owned
