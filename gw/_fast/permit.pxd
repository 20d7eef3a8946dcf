"""The steps that say whether a caller may: by group and consumer, by scope, by address. None looks at anything but the exchange."""
from libc.stdint cimport uint32_t

from gw._fast.cidr cimport Ranges
from gw._fast.words cimport Word


cdef struct Words:
    Word* items                 # owner: the step; freed in __dealloc__
    uint32_t n


cdef struct Acl:                # bit i of a set stands for the consumer with index i; owner of the sets: the step
    const char* allowed
    const char* denied
    Words allow                 # groups of credentials, beside what consumers have
    Words deny
    bint everybody              # nobody is allowed by name: who is not denied may pass
    Word challenge              # field lines for who is not known


cdef struct Need:               # what requests of one method need
    Word method                 # "*": of every method that has no need of its own
    Words all
    Words any                   # one of them; none listed: no need
    Word challenge              # field line of the refusal, for who came with a bearer token


cdef struct Needs:
    Need* items                 # owner: the step
    uint32_t n
    Word challenge              # field lines for who is not known
    Words bearers               # methods of identity that are asked for scopes as RFC 6750 has it


cdef struct Gate:
    const Ranges* allow         # NULL: every address that is not denied; owner: AddressSet, which the step holds
    const Ranges* deny          # NULL: none
