from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy, memmove, memset, strlen

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
cdef uint8_t[12] MAPPED = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255]     # in front of an IPv4 address inside IPv6 (RFC 4291 section 2.5.5.2)


cdef uint32_t _wanted(const Buf* buf) noexcept nogil:
    """How many bytes may be read without taking any behind the header: the handshake's bytes belong to TLS. 0: whole, or hopeless."""
    cdef uint32_t n = buf.end
    cdef uint32_t size
    if memcmp(buf.data, b"PROXY ", n if n < 6 else 6) != 0 and memcmp(buf.data, SIGNATURE, n if n < 12 else 12) != 0:
        return 0
    if n < V1_MIN:
        return V1_MIN - n
    if buf.data[0] == c"P":
        return 0 if buf.data[n - 1] == c"\n" or n >= V1_MAX else 1
    if n < V2_HEAD:
        return V2_HEAD - n
    size = _v2_size(buf.data)
    return 0 if size > V2_MAX or n >= size else size - n


cdef inline uint32_t _v2_size(const char* data) noexcept nogil:
    return V2_HEAD + (<uint32_t><uint8_t>data[14] << 8 | <uint8_t>data[15])


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


cdef int _take_address(Conn* client, int family, const uint8_t* address, uint16_t port) noexcept nogil:
    """As our own text, so that nothing of the peer's spelling reaches origins and logs; IPv4 inside IPv6 is shown as IPv4."""
    if family == AF_INET6 and memcmp(address, MAPPED, sizeof(MAPPED)) == 0:
        family = AF_INET
        address += sizeof(MAPPED)
    if inet_ntop(family, address, client.addr, sizeof(client.addr)) == NULL:
        return GREET_BAD
    client.addr_len = <uint8_t>strlen(client.addr)
    client.port = port
    return GREET_DONE


cdef bint _address(const char* line, uint32_t begin, uint32_t end, int family, uint8_t* out) noexcept nogil:
    cdef char text[46]
    cdef uint32_t i
    if end - begin >= sizeof(text):
        return False
    for i in range(end - begin):
        if line[begin + i] == 0:        # inet_pton would stop here and believe the rest
            return False
        text[i] = line[begin + i]
    text[end - begin] = 0
    return inet_pton(family, text, out) == 1


cdef int _port(const char* line, uint32_t begin, uint32_t end) noexcept nogil:
    """-1 when it is no number from 0 to 65535."""
    cdef int port = 0
    cdef uint32_t i
    if begin == end or end - begin > 5:
        return -1
    for i in range(begin, end):
        if not c"0" <= line[i] <= c"9":
            return -1
        port = port * 10 + line[i] - c"0"
    return port if port <= 65535 else -1


cdef int _version1(Conn* client, char* line, uint32_t n) noexcept nogil:
    """PROXY TCP4|TCP6|UNKNOWN source destination source-port destination-port CRLF"""
    cdef uint32_t at = 6, start, field
    cdef uint32_t begins[5]
    cdef uint32_t ends[5]
    cdef uint8_t source[16]
    cdef uint8_t destination[16]
    cdef int family, port
    if n < V1_MIN or memcmp(line, b"PROXY ", 6) != 0 or line[n - 1] != c"\n" or line[n - 2] != c"\r":
        return GREET_BAD
    if memcmp(line + 6, b"UNKNOWN", 7) == 0 and (line[13] == c" " or line[13] == c"\r"):
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
    family = AF_INET if line[9] == c"4" else AF_INET6 if line[9] == c"6" else 0
    port = _port(line, begins[3], ends[3])
    if not _address(line, begins[1], ends[1], family, source) or not _address(line, begins[2], ends[2], family, destination):
        return GREET_BAD
    if port < 0 or _port(line, begins[4], ends[4]) < 0:
        return GREET_BAD
    return _take_address(client, family, source, <uint16_t>port)


cdef int _version2(Conn* client, char* data, uint32_t n) noexcept nogil:
    cdef const uint8_t* address = <const uint8_t*>data + V2_HEAD
    cdef uint8_t command = data[12]
    cdef uint8_t family = data[13]
    if n < V2_HEAD or n != _v2_size(data) or memcmp(data, SIGNATURE, 12) != 0 or command >> 4 != 2:
        return GREET_BAD
    if command & 15 == 0:
        return GREET_DONE                   # LOCAL: the proxy's own check, its address stands
    if command & 15 != 1:
        return GREET_BAD
    if family == 0x11:
        return _take_address(client, AF_INET, address, <uint16_t>(address[8] << 8 | address[9])) if n >= V2_HEAD + 12 else GREET_BAD
    if family == 0x21:
        return _take_address(client, AF_INET6, address, <uint16_t>(address[32] << 8 | address[33])) if n >= V2_HEAD + 36 else GREET_BAD
    return GREET_DONE                       # another family, or none: the peer's own address stands


cdef bint _same_family(int* family, char* source, uint8_t* a, char* ours, uint8_t* b, int local) noexcept nogil:
    """A header knows one family for both ends. They differ behind a proxy of the other family; then the IPv4 end is written inside IPv6."""
    if local == 0:
        return False
    if local == family[0]:
        return True
    if local == AF_INET:
        _map(ours, b)
    else:
        _map(source, a)
        family[0] = AF_INET6
    return True


cdef void _map(char* text, uint8_t* address) noexcept nogil:
    memmove(address + sizeof(MAPPED), address, 4)
    memcpy(address, MAPPED, sizeof(MAPPED))
    inet_ntop(AF_INET6, address, text, 48)


cdef int _local_address(Conn* client, char* text, uint8_t* packed, uint16_t* port) noexcept nogil:
    """Family of our own end of the client's connection, 0 when it has no internet address. A dual-stack socket's IPv4 is IPv4."""
    cdef uint8_t room[128]
    cdef socklen_t size = sizeof(room)
    cdef sockaddr* address = <sockaddr*>room
    if getsockname(client.fd, address, &size) < 0:
        return 0
    if address.sa_family == AF_INET:
        port[0] = ntohs((<sockaddr_in*>room).sin_port)
        memcpy(packed, &(<sockaddr_in*>room).sin_addr, 4)
    elif address.sa_family == AF_INET6:
        port[0] = ntohs((<sockaddr_in6*>room).sin6_port)
        memcpy(packed, &(<sockaddr_in6*>room).sin6_addr, 16)
        if memcmp(packed, MAPPED, sizeof(MAPPED)) != 0:
            inet_ntop(AF_INET6, packed, text, 48)
            return AF_INET6
        memcpy(packed, packed + sizeof(MAPPED), 4)
    else:
        return 0
    inet_ntop(AF_INET, packed, text, 48)
    return AF_INET


cdef bint proxy_header(Conn* client, int fd, int version) noexcept nogil:
    cdef char header[256]
    cdef char source[48]
    cdef char ours[48]
    cdef uint8_t a[16]
    cdef uint8_t b[16]
    cdef uint16_t port = 0
    cdef int family
    cdef int n
    memset(source, 0, sizeof(source))
    memset(ours, 0, sizeof(ours))
    memcpy(source, client.addr, client.addr_len)
    family = AF_INET if inet_pton(AF_INET, source, a) == 1 else AF_INET6 if inet_pton(AF_INET6, source, a) == 1 else 0
    if family and not _same_family(&family, source, a, ours, b, _local_address(client, ours, b, &port)):
        family = 0
    if version == 2:
        n = _binary(header, family, a, b, client.port, port)
    elif family == AF_INET:
        n = snprintf(header, sizeof(header), b"PROXY TCP4 %s %s %u %u\r\n", source, ours, <unsigned int>client.port, <unsigned int>port)
    elif family == AF_INET6:
        n = snprintf(header, sizeof(header), b"PROXY TCP6 %s %s %u %u\r\n", source, ours, <unsigned int>client.port, <unsigned int>port)
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
