"""Words of lists as they stand in text, such as the groups of a caller."""
from libc.stdint cimport uint32_t
from libc.string cimport memchr, memcmp


cdef struct Word:
    const char* text            # owner: who made the word
    uint32_t len


cdef inline bint lists(const char* listed, uint32_t n, char separator, const Word* word) noexcept nogil:
    """Whether the word is a whole member of the list."""
    cdef const char* end = listed + n
    cdef const char* stop
    while listed < end:
        stop = <const char*>memchr(listed, separator, end - listed)
        if stop == NULL:
            stop = end
        if <uint32_t>(stop - listed) == word.len and memcmp(listed, word.text, word.len) == 0:
            return True
        listed = stop + 1
    return False
