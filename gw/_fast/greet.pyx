from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.stdlib cimport strtoul
from libc.string cimport memcmp, memcpy, memset, strlen

from gw._fast.slab cimport Buf, buf_give, buf_take

cdef extern from "sys/socket.h" nogil:
    enum:
        AF_INET
        AF_INET6
        MSG_NOSIGNAL
    ctypedef uint32_t socklen_t
    struct sockaddr:
        uint16_t sa_family
    ssize_t recv(int fd, void* buf, size_t n, int flags)
    ssize_t send(int fd, const void* buf, size_t n, int flags)
    int getsockname(int fd, sockaddr* address, socklen_t* size)

cdef extern from "netinet/in.h" nogil:
    struct in_addr:
        pass
    struct in6_addr:
        pass
    struct sockaddr_in:
        uint16_t sin_port
        in_addr sin_addr
    struct sockaddr_in6:
        uint16_t sin6_port
        in6_addr sin6_addr

cdef extern from "arpa/inet.h" nogil:
    const char* inet_ntop(int family, const void* src, char* out, socklen_t size)
    int inet_pton(int family, const char* text, void* out)
    uint16_t ntohs(uint16_t value)

cdef extern from "stdio.h" nogil:
    int snprintf(char* out, size_t size, const char* format, ...)

cdef enum:
    V1_MAX = 107                # bytes of a version 1 line
    V1_MIN = 15                 # "PROXY UNKNOWN\r\n"
    V2_HEAD = 16
    V2_MAX = 4096               # of addresses and TLVs

cdef char* SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


cdef uint32_t _wanted(const Buf* buf) noexcept nogil:
    """How many bytes may be read without taking any behind the header: the handshake's bytes belong to TLS. 0: whole, or hopeless."""
    cdef uint32_t n = buf.end
    cdef uint32_t size
    if n < V1_MIN:
        return V1_MIN - n
    if memcmp(buf.data, b"PROXY ", 6) == 0:
        return 0 if buf.data[n - 1] == c"\n" or n >= V1_MAX else 1
    if memcmp(buf.data, SIGNATURE, 12) != 0:
        return 0
    if n < V2_HEAD:
        return V2_HEAD - n
    size = V2_HEAD + (<uint32_t><uint8_t>buf.data[14] << 8 | <uint8_t>buf.data[15])
    return 0 if size > V2_MAX or n >= size else size - n


cdef int proxy_greeting(Conn* client) noexcept nogil:
    cdef Buf* buf = client.inbuf
    cdef uint32_t want
    cdef ssize_t n
    cdef int code
    if buf == NULL:
        buf = buf_take(&client.reactor.slab)
        if buf == NULL:
            return GREET_BAD
        client.inbuf = buf
    want = _wanted(buf)
    while want:
        n = recv(client.fd, buf.data + buf.end, want, 0)
        if n < 0 and errno == EINTR:
            continue
        if n <= 0:
            return GREET_MORE if n < 0 and errno == EAGAIN else GREET_BAD
        buf.end += <uint32_t>n
        want = _wanted(buf)
    code = _version1(client, buf.data, buf.end) if buf.data[0] == c"P" else _version2(client, buf.data, buf.end)
    buf_give(&client.reactor.slab, buf)
    client.inbuf = NULL
    return code


cdef int _take_address(Conn* client, const char* text, uint32_t n, uint16_t port) noexcept nogil:
    cdef char terminated[48]
    cdef uint8_t parsed[16]
    if n == 0 or n > 45:
        return GREET_BAD
    memcpy(terminated, text, n)
    terminated[n] = 0
    if inet_pton(AF_INET, terminated, parsed) != 1 and inet_pton(AF_INET6, terminated, parsed) != 1:
        return GREET_BAD
    memcpy(client.addr, text, n)
    client.addr_len = <uint8_t>n
    client.port = port
    return GREET_DONE


cdef int _version1(Conn* client, char* line, uint32_t n) noexcept nogil:
    """PROXY TCP4|TCP6|UNKNOWN source destination source-port destination-port CRLF"""
    cdef uint32_t at = 6, start, field
    cdef uint32_t begins[5]
    cdef uint32_t ends[5]
    if n < V1_MIN or memcmp(line, b"PROXY ", 6) != 0 or line[n - 1] != c"\n" or line[n - 2] != c"\r":
        return GREET_BAD
    if memcmp(line + 6, b"UNKNOWN", 7) == 0:
        return GREET_DONE
    for field in range(5):
        start = at
        while at < n - 2 and line[at] != c" ":
            at += 1
        begins[field] = start
        ends[field] = at
        at += 1
    if at != n - 1 or ends[0] - begins[0] != 4 or memcmp(line + 6, b"TCP", 3) != 0:
        return GREET_BAD
    return _take_address(client, line + begins[1], ends[1] - begins[1], <uint16_t>strtoul(line + begins[3], NULL, 10))


cdef int _version2(Conn* client, char* data, uint32_t n) noexcept nogil:
    cdef char text[48]
    cdef uint8_t command = data[12]
    cdef uint8_t family = data[13]
    if n < V2_HEAD or memcmp(data, SIGNATURE, 12) != 0 or command >> 4 != 2:
        return GREET_BAD
    if command & 15 == 0:
        return GREET_DONE                   # LOCAL: the proxy's own check, its address stands
    if command & 15 != 1:
        return GREET_BAD
    if family == 0x11 and n >= V2_HEAD + 12:
        if inet_ntop(AF_INET, data + 16, text, sizeof(text)) == NULL:
            return GREET_BAD
        return _take_address(client, text, <uint32_t>strlen(text), <uint16_t>(<uint8_t>data[24]) << 8 | <uint8_t>data[25])
    if family == 0x21 and n >= V2_HEAD + 36:
        if inet_ntop(AF_INET6, data + 16, text, sizeof(text)) == NULL:
            return GREET_BAD
        return _take_address(client, text, <uint32_t>strlen(text), <uint16_t>(<uint8_t>data[48]) << 8 | <uint8_t>data[49])
    return GREET_DONE


cdef int _local_address(Conn* client, char* text, uint16_t* port) noexcept nogil:
    """Family of our own end of the client's connection, 0 when it has no internet address."""
    cdef uint8_t room[128]
    cdef socklen_t size = sizeof(room)
    cdef sockaddr* address = <sockaddr*>room
    if getsockname(client.fd, address, &size) < 0:
        return 0
    if address.sa_family == AF_INET:
        port[0] = ntohs((<sockaddr_in*>room).sin_port)
        inet_ntop(AF_INET, &(<sockaddr_in*>room).sin_addr, text, 48)
        return AF_INET
    if address.sa_family == AF_INET6:
        port[0] = ntohs((<sockaddr_in6*>room).sin6_port)
        inet_ntop(AF_INET6, &(<sockaddr_in6*>room).sin6_addr, text, 48)
        return AF_INET6
    return 0


cdef bint proxy_header(Conn* client, int fd, int version) noexcept nogil:
    cdef char header[256]
    cdef char source[48]
    cdef char ours[48]
    cdef char* shown = &ours[0]
    cdef uint8_t a[16]
    cdef uint8_t b[16]
    cdef uint16_t port = 0
    cdef int family
    cdef int n
    memset(source, 0, sizeof(source))
    memset(ours, 0, sizeof(ours))
    memcpy(source, client.addr, client.addr_len)
    family = AF_INET if inet_pton(AF_INET, source, a) == 1 else AF_INET6 if inet_pton(AF_INET6, source, a) == 1 else 0
    # Both ends must be of one family; a dual-stack socket shows an IPv4 peer's other end as a mapped address.
    if family and _local_address(client, ours, &port) == 0:
        family = 0
    if family == AF_INET and memcmp(ours, b"::ffff:", 7) == 0:
        shown += 7
    if family and inet_pton(family, shown, b) != 1:
        family = 0
    if version == 2:
        n = _binary(header, family, a, b, client.port, port)
    elif family == AF_INET:
        n = snprintf(header, sizeof(header), b"PROXY TCP4 %s %s %u %u\r\n", source, shown, <unsigned int>client.port, <unsigned int>port)
    elif family == AF_INET6:
        n = snprintf(header, sizeof(header), b"PROXY TCP6 %s %s %u %u\r\n", source, shown, <unsigned int>client.port, <unsigned int>port)
    else:
        n = snprintf(header, sizeof(header), b"PROXY UNKNOWN\r\n")
    return send(fd, header, n, MSG_NOSIGNAL) == n


cdef int _binary(char* header, int family, const uint8_t* source, const uint8_t* ours, uint16_t source_port, uint16_t port) noexcept nogil:
    cdef int size = 4 if family == AF_INET else 16
    memcpy(header, SIGNATURE, 12)
    header[12] = 0x21 if family else 0x20
    header[13] = 0x11 if family == AF_INET else 0x21 if family else 0
    header[14] = 0
    if not family:
        header[15] = 0
        return V2_HEAD
    header[15] = <char>(2 * size + 4)
    memcpy(header + 16, source, size)
    memcpy(header + 16 + size, ours, size)
    header[16 + 2 * size] = <char>(source_port >> 8)
    header[17 + 2 * size] = <char>(source_port & 255)
    header[18 + 2 * size] = <char>(port >> 8)
    header[19 + 2 * size] = <char>(port & 255)
    return V2_HEAD + 2 * size + 4
