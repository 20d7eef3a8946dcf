"""The JSON of a token (RFC 8259 within RFC 7493), judged strictly in one pass, then read in place.

What json_read took is well-formed; every other function here trusts that, and must not see a text that json_read refused.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t


cdef enum:
    JSON_DEPTH_MAX = 16     # objects and arrays inside each other, the outermost one counted
    JSON_MEMBERS_MAX = 512  # members of all objects that are open at one time

cdef enum:                  # types of a value
    JSON_ABSENT             # no such value
    JSON_STRING
    JSON_NUMBER
    JSON_OBJECT
    JSON_ARRAY
    JSON_TRUE
    JSON_FALSE
    JSON_NULL

cdef enum:                  # refusals of json_read
    JSON_E_SYNTAX = -1      # not JSON, or octets after it
    JSON_E_UTF8 = -2        # not UTF-8, or an escaped surrogate without its other half
    JSON_E_DEPTH = -3       # nested deeper than JSON_DEPTH_MAX
    JSON_E_DUPLICATE = -4   # two members of one object have the same name, escapes resolved
    JSON_E_MEMBERS = -5     # more members than asked for
    JSON_E_OBJECT = -6      # the outermost value is not an object


cdef struct Value:
    const char* p           # borrowed from the text: the first octet; of a string the one after its quote
    uint32_t n              # octets; of a string those between its quotes, escapes as written
    uint8_t type            # JSON_*
    bint escaped            # a string with a backslash in it


cdef struct Member:
    Value name
    Value value
    uint32_t hash           # of the name, escapes resolved


cdef struct Members:        # of the outermost object, in the order of the text
    uint32_t n
    Member items[JSON_MEMBERS_MAX]


# Judge text[0 .. n) and list the members of its outermost object. At most members_max <= JSON_MEMBERS_MAX members may be open at one time.
# Returns 0 or a JSON_E_*; `out` then holds rubbish.
cdef int json_read(const char* text, uint32_t n, uint32_t members_max, Members* out) noexcept nogil

# The value at `path` in an object: the member of that name, else the member whose name is the longest part of the path before a '.', and in
# it the rest of the path. `out.type` is JSON_ABSENT when there is none.
cdef void json_find(const Value* object, const char* path, uint32_t n, Value* out) noexcept nogil

# The next element of an array: begins at at[0] = array.p + 1 and moves it. False at the end.
cdef bint json_element(const char** at, Value* out) noexcept nogil

cdef bint text_is(const Value* string, const char* want, uint32_t n) noexcept nogil         # same octets, escapes resolved
cdef uint32_t text_copy(const Value* string, char* out) noexcept nogil                      # escapes resolved; out has room for string.n; octets written
cdef bint text_has_word(const Value* string, const char* want, uint32_t n) noexcept nogil   # one of the words between spaces (RFC 6749 section 3.3)

# A NumericDate (RFC 7519 section 2), rounded up to whole seconds and limited to DATE_MAX. False: negative, or 1e308 and more.
cdef enum: DATE_MAX = 576460752303423488    # 2 ** 59: ten times that, and a digit, fit into int64_t
cdef bint number_date(const Value* number, int64_t* out) noexcept nogil
