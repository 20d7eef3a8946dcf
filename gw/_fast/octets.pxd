"""Text eight or sixteen bytes at a time, without reading past its end, and numbers two digits at a time."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    int trailing_zeros "__builtin_ctzll"(unsigned long long word) noexcept nogil     # of a word that is not 0

cdef extern from *:
    """
    static const char gw_pairs[] =
        "00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869"
        "707172737475767778798081828384858687888990919293949596979899";
    """
    const char* PAIRS "gw_pairs"        # the digits of 0 to 99


cdef extern from *:
    """
    #if defined(__SSE2__)
    #include <emmintrin.h>

    static inline int gw_controls(const char* p) {
        __m128i text = _mm_loadu_si128((const __m128i*)p);
        __m128i low = _mm_cmpeq_epi8(_mm_min_epu8(text, _mm_set1_epi8(31)), text);
        __m128i odd = _mm_or_si128(_mm_andnot_si128(_mm_cmpeq_epi8(text, _mm_set1_epi8(9)), low), _mm_cmpeq_epi8(text, _mm_set1_epi8(127)));
        return _mm_movemask_epi8(odd);
    }
    #else
    static inline int gw_controls(const char* p) {
        int found = 0;
        for (int i = 0; i < 16; i++) {
            unsigned char c = (unsigned char)p[i];
            found |= ((c < 32 && c != 9) || c == 127) << i;
        }
        return found;
    }
    #endif
    """
    int controls "gw_controls"(const char* p) noexcept nogil     # a bit for each of 16 bytes that no field value may hold (RFC 9110 section 5.5)


cdef inline const char* text_end(const char* p, const char* end) noexcept nogil:
    """The first byte that no field value may hold, or `end`; of text of at least 16 bytes."""
    cdef int found
    while end - p >= 16:
        found = controls(p)
        if found:
            return p + trailing_zeros(<unsigned long long>found)
        p += 16
    if p == end:
        return end
    found = controls(end - 16) >> (16 - (end - p))      # those before p hold none
    return p + trailing_zeros(<unsigned long long>found) if found else end


cdef inline uint64_t word_at(const char* p, size_t left) noexcept nogil:
    """At most 8 of the bytes that are left, the first one lowest as on every machine gw runs on, zeros beyond; loads that overlap instead of a loop."""
    cdef uint64_t word
    cdef uint32_t four, last
    cdef uint16_t two
    if left >= 8:
        memcpy(&word, p, 8)
        return word
    if left >= 4:
        memcpy(&four, p, 4)
        memcpy(&last, p + left - 4, 4)
        return four | <uint64_t>last << 8 * (left - 4)
    if left >= 2:
        memcpy(&two, p, 2)
        return two | <uint64_t><uint8_t>p[left - 1] << 8 * (left - 1)
    return <uint8_t>p[0] if left else 0


cdef inline char* decimal_before(char* end, uint64_t v) noexcept nogil:
    """Writes v in front of `end`, where there is room for 20 digits; its first digit."""
    while v >= 100:
        end -= 2
        memcpy(end, PAIRS + v % 100 * 2, 2)
        v //= 100
    if v >= 10:
        memcpy(end - 2, PAIRS + v * 2, 2)
        return end - 2
    end -= 1
    end[0] = <char>(c"0" + v)
    return end
