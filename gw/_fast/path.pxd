"""Percent and dot-segment normalisation of request paths (RFC 3986 section 6.2.2). docs/paths.md holds the table."""
from libc.stdint cimport uint32_t


cdef enum:                          # flags of path_normalise
    PATH_ENCODED_SLASH_KEEP = 1     # %2F and %5C stay in the path; without it they are refused
    PATH_PARAMETERS_KEEP = 2        # ';' and %3B stay in the path; without it they are refused
    PATH_MERGE_SLASHES = 4          # '//' becomes '/'


cdef enum:                          # refusals, one per reason; path_reason() has the words
    PATH_E_START = -1               # does not start with '/'
    PATH_E_ESCAPE = -2              # '%' without two hex digits
    PATH_E_CONTROL = -3             # NUL, a control byte or DEL, raw or encoded
    PATH_E_BYTE = -4                # raw byte >= 0x80
    PATH_E_SPACE = -5               # raw space
    PATH_E_DELIMITER = -6           # raw '#' or '?'
    PATH_E_BACKSLASH = -7           # raw backslash
    PATH_E_ENCODED_SLASH = -8       # %2F or %5C, not kept
    PATH_E_PARAMETER = -9           # ';' or %3B, not kept
    PATH_E_HIDDEN_DOTS = -10        # '.' or '..' in front of ';', or beside an encoded slash
    PATH_E_ABOVE_ROOT = -11         # '..' climbs above '/'
    PATH_E_DOUBLE = -12             # '%25' before two hex digits of one of . / \ % ; NUL
    PATH_E_OVERLONG = -13           # overlong UTF-8, such as %C0%AE for '.'


# Normalise raw path (no query) into out, which has room for n + 1 bytes and does not overlap raw.
# Returns the length, >= 1 (out is not terminated), or a negative PATH_E_*; out then holds rubbish.
cdef int path_normalise(const char* raw, uint32_t n, char* out, uint32_t flags) noexcept nogil

# The words for a PATH_E_*: a static, NUL-terminated string.
cdef const char* path_reason(int code) noexcept nogil
