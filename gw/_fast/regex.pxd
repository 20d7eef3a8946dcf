"""Linear-time regular expressions over bytes: a Pike VM for groups, a DFA for yes or no."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from gw._fast.headers cimport Span


cdef enum:
    REGEX_MAX_STATES = 4000     # instructions of a program; a longer one is refused when it is compiled
    REGEX_MAX_DFA = 2000        # states of the DFA; a program that needs more runs on the Pike VM alone
    REGEX_MAX_GROUPS = 16       # named groups


cdef struct Inst:               # one instruction of the Pike VM
    uint8_t op                  # OP_*
    uint16_t x                  # OP_SET: index into Program.sets; OP_SAVE: slot; OP_SPLIT, OP_JUMP: preferred target
    uint16_t y                  # OP_SPLIT: second target


cdef struct Program:
    Inst* code                  # owner: Regex; instruction 0 is the entry
    uint32_t n_code
    uint8_t* sets               # owner: Regex; 256 bytes per set, 1 = member
    uint32_t n_groups           # named groups, in the order of their opening parentheses
    uint16_t* dfa               # owner: Regex; NULL when there is none. Row s holds n_classes next states; state 0 is dead, 1 the entry
    uint8_t* accepts            # owner: Regex; one byte per DFA state
    uint32_t n_classes          # byte classes
    uint8_t classes[256]        # byte -> class
    uint32_t* scratch           # owner: Regex; room for one match at a time, so a Program serves one thread


cdef class Regex:               # immutable
    cdef Program* program       # owner: this object; freed in __dealloc__
    cdef readonly str pattern
    cdef readonly tuple names   # of the groups, in order


# Whether the whole of s[0 .. n) matches.
cdef bint regex_match(const Program* program, const char* s, uint32_t n) noexcept nogil

# The same; on a match fills groups[0 .. n_groups) (an unused group is an empty span at 0) and returns n_groups, otherwise -1.
cdef int regex_groups(const Program* program, const char* s, uint32_t n, Span* groups) noexcept nogil
