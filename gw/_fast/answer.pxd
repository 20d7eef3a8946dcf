"""Answers gw makes itself: problem documents (RFC 9457) with Proxy-Status (RFC 9209), redirects, fixed responses."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t

from gw._fast.out cimport Out
from gw._fast.plane cimport Exchange


cdef enum:                      # the closed list of gw/errors.py, in its order; load_reasons() checks that they agree
    R_NONE = 0
    R_BAD_REQUEST
    R_MALFORMED_HEAD
    R_MISSING_HOST
    R_INVALID_HOST
    R_INVALID_PATH
    R_AMBIGUOUS_PATH
    R_AMBIGUOUS_LENGTH
    R_MALFORMED_BODY
    R_REQUEST_LINE_TOO_LONG
    R_HEAD_TOO_LARGE
    R_TOO_MANY_FIELDS
    R_TRAILERS_TOO_LARGE
    R_BODY_TOO_LARGE
    R_EXPECTATION_FAILED
    R_UNSUPPORTED_VERSION
    R_UNSUPPORTED_TRANSFER_CODING
    R_HEAD_TIMEOUT
    R_BODY_TIMEOUT
    R_NO_ROUTE
    R_METHOD_NOT_ALLOWED
    R_CONNECT_NOT_ALLOWED
    R_TRACE_NOT_ALLOWED
    R_UPGRADE_NOT_ALLOWED
    R_DENIED
    R_NO_ENDPOINT
    R_POOL_FULL
    R_DNS_TIMEOUT
    R_DNS_FAILED
    R_CONNECT_REFUSED
    R_CONNECT_TIMEOUT
    R_CONNECT_FAILED
    R_TLS_FAILED
    R_TLS_CERTIFICATE
    R_ORIGIN_CLOSED
    R_ORIGIN_MALFORMED
    R_ORIGIN_HEAD_TOO_LARGE
    R_ORIGIN_TIMEOUT
    R_UNEXPECTED_UPGRADE
    R_ORIGIN_CUT
    R_ORIGIN_IDLE
    R_ORIGIN_BODY_MALFORMED
    R_HOOK_FAILED
    R_HOOK_TIMEOUT
    R_DRAINING
    R_OVERLOADED
    R_INTERNAL
    R_CLIENT_CLOSED
    R_CLIENT_IDLE
    R_NO_CREDENTIAL
    R_INVALID_CREDENTIAL
    R_EXPIRED_CREDENTIAL
    R_SCOPE_MISSING
    R_NOT_PERMITTED
    R_ADDRESS_DENIED
    R_RATE_LIMITED
    R_QUOTA_EXCEEDED
    R_TOO_MANY_IN_FLIGHT
    R_SHED
    R_CROSS_ORIGIN
    R_LIMITS_FULL
    R_DECISION_UNAVAILABLE
    R_LIMITS_AWAY
    R_ANSWER_TOO_LARGE
    R_COUNT


cdef struct ReasonText:         # made once from gw.errors.REASONS
    uint16_t status
    uint8_t name_len
    uint8_t token_len
    uint16_t document_len
    char name[40]
    char token[48]              # RFC 9209 error type, "" when there is none
    char document[320]          # the problem document up to the request id


cdef const ReasonText* reason_text(uint8_t reason) noexcept nogil
cdef uint8_t reason_index(str name)                     # 0: there is none of this name
cdef void problem_answer(Exchange* x, uint8_t reason, Out* out) noexcept nogil     # head and body of x.own.reason
cdef void plain_answer(Exchange* x, Out* out) noexcept nogil                       # head and body of x.own as given
cdef void redirect_answer(Exchange* x, Out* out) noexcept nogil                    # x.plan.redirect
cdef const char* status_phrase(uint16_t status, uint32_t* n) noexcept nogil
