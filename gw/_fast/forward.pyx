from libc.stdint cimport uint16_t, uint64_t
from libc.stdlib cimport realloc
from libc.string cimport memcmp, memcpy

from gw._fast.cidr cimport address_bytes
from gw._fast.h1 cimport BODY_CHUNKED, BODY_EOF
from gw._fast.headers cimport (
    FIELD_DROP, H_CONTENT_LENGTH, H_DATE, H_FORWARDED, H_HOST, H_OTHER, H_X_FORWARDED_FOR, H_X_FORWARDED_HOST, H_X_FORWARDED_OTHER, H_X_FORWARDED_PROTO, H_X_REAL_IP,
    Field, Head, head_find_id, same_name, same_token,
)
from gw._fast.out cimport put, put_number
from gw._fast.path cimport PATH_E_HIDDEN_DOTS, PATH_E_START, path_normalise
from gw._fast.plane cimport (
    EDIT_ADD, EDIT_DEFAULT, EDIT_REMOVE, HOST_ENDPOINT, HOST_LITERAL, PART_HOST, PART_PARAM, PART_PATH, PART_QUERY, PART_REST, PART_SCHEME, PART_TEXT, X_CHUNK_OUT,
    X_CLOSE, X_DONE_UP, X_EOF_OUT, X_UPGRADE, Cidr, Edit, Part, Plan, Pool, SnapshotState,
)
from gw._fast.stream cimport RX_SIZE, Conn, reactor_date

cdef enum:
    EDITS_FIRST = 8
    ARENA_FIRST = 512


cdef bint edit_push(Edits* edits, uint8_t op, const char* name, uint32_t name_len, const char* value, uint32_t value_len) noexcept nogil:
    cdef Edit* edit
    if edits.n == edits.cap and not _grow(edits):
        return False
    edit = &edits.items[edits.n]
    edit.op = op
    edit.name = name
    edit.name_len = name_len
    edit.value = value
    edit.value_len = value_len
    edits.n += 1
    return True


cdef bint _grow(Edits* edits) noexcept nogil:
    cdef uint32_t cap = edits.cap * 2 if edits.cap else EDITS_FIRST
    cdef Edit* grown = <Edit*>realloc(edits.items, cap * sizeof(Edit))
    if grown == NULL:
        return False
    edits.items = grown
    edits.cap = cap
    return True


cdef char* text_room(Exchange* x, uint32_t n) noexcept nogil:
    cdef char* grown
    cdef uint32_t cap = x.arena_cap
    while cap < x.arena_used + n:
        cap = cap * 2 if cap else ARENA_FIRST
    if cap != x.arena_cap:
        grown = <char*>realloc(x.arena, cap)
        if grown == NULL:
            return NULL
        _move(&x.origin_edits, x.arena, x.arena_used, grown)
        _move(&x.client_edits, x.arena, x.arena_used, grown)
        x.own.fields = _moved(x.own.fields, x.arena, x.arena_used, grown)
        x.own.body = _moved(x.own.body, x.arena, x.arena_used, grown)
        x.challenges = _moved(x.challenges, x.arena, x.arena_used, grown)
        x.target = _moved(x.target, x.arena, x.arena_used, grown)
        x.arena = grown
        x.arena_cap = cap
    grown = x.arena + x.arena_used
    x.arena_used += n
    return grown


cdef inline const char* _moved(const char* text, const char* start, uint32_t n, const char* to) noexcept nogil:
    return to + (text - start) if start <= text < start + n else text


cdef void _move(Edits* edits, const char* start, uint32_t n, const char* to) noexcept nogil:
    cdef uint32_t i
    for i in range(edits.n):
        edits.items[i].name = _moved(edits.items[i].name, start, n, to)
        edits.items[i].value = _moved(edits.items[i].value, start, n, to)


cdef bint _named(const Head* head, const Field* field, const Edit* edit) noexcept nogil:
    return field.name_len == edit.name_len and same_name(head.base + field.name, edit.name, edit.name_len)


cdef inline uint64_t _mark(const char* name, uint32_t n) noexcept nogil:
    """One of 64 bits, the same for all spellings of a name: the bits of 13 are equal in both cases of a letter, and in `-` and `_`."""
    return <uint64_t>1 << ((n ^ (name[0] & 13) << 2) & 63)


cdef void apply_removals(Head* head, Edits* edits) noexcept nogil:
    cdef uint64_t seen = 0, mark        # of the fields, and of the edits so far: most edits meet none of them
    cdef uint32_t i = 0
    cdef Edit* edit
    while i < edits.n and edits.items[i].op == EDIT_ADD:
        i += 1
    if i == edits.n:
        return
    for i in range(head.n_fields):
        seen |= _mark(head.base + head.fields[i].name, head.fields[i].name_len)
    for i in range(edits.n):
        edit = &edits.items[i]
        mark = _mark(edit.name, edit.name_len)
        if seen & mark:
            _meet(head, edits, i)
        seen |= mark


cdef void _meet(Head* head, Edits* edits, uint32_t last) noexcept nogil:
    """What an edit does to fields and earlier edits of its name."""
    cdef uint32_t i
    cdef Edit* edit = &edits.items[last]
    if edit.op == EDIT_ADD:
        return
    if edit.op == EDIT_DEFAULT:
        if _present(head, edits, last):
            edit.op = EDIT_REMOVE
            edit.name_len = 0
        return
    for i in range(head.n_fields):
        if _named(head, &head.fields[i], edit):
            head.fields[i].flags |= FIELD_DROP
    _supersede(edits, last)


cdef bint _present(const Head* head, const Edits* edits, uint32_t last) noexcept nogil:
    """The message has a field of this name by now: received, or by an earlier edit."""
    cdef uint32_t i
    cdef const Edit* edit = &edits.items[last]
    for i in range(head.n_fields):
        if not head.fields[i].flags & FIELD_DROP and _named(head, &head.fields[i], edit):
            return True
    for i in range(last):
        if edits.items[i].op != EDIT_REMOVE and edits.items[i].name_len == edit.name_len and same_name(edits.items[i].name, edit.name, edit.name_len):
            return True
    return False


cdef void _supersede(Edits* edits, uint32_t last) noexcept nogil:
    """A later set or remove also takes away what earlier edits of this exchange added."""
    cdef uint32_t i
    cdef Edit* edit = &edits.items[last]
    for i in range(last):
        if edits.items[i].name_len == edit.name_len and same_name(edits.items[i].name, edit.name, edit.name_len):
            edits.items[i].op = EDIT_REMOVE


cdef void put_edits(const Edits* edits, Out* out) noexcept nogil:
    cdef uint32_t i
    cdef const Edit* edit
    for i in range(edits.n):
        edit = &edits.items[i]
        if edit.op != EDIT_REMOVE:
            put(out, edit.name, edit.name_len)
            put(out, b": ", 2)
            put(out, edit.value, edit.value_len)
            put(out, b"\r\n", 2)


cdef void put_rest(Exchange* x, Out* out) noexcept nogil:
    """The path behind what a prefix route took, always with its leading slash."""
    if x.match.prefix_len >= x.path_len or x.path[x.match.prefix_len] != c"/":
        put(out, b"/", 1)
    if x.match.prefix_len < x.path_len:
        put(out, x.path + x.match.prefix_len, x.path_len - x.match.prefix_len)


cdef void put_template(Exchange* x, const Template* template, Out* out) noexcept nogil:
    cdef uint32_t i
    cdef const Part* part
    cdef bint secure
    for i in range(template.n):
        part = &template.parts[i]
        if part.kind == PART_TEXT:
            put(out, part.text, part.len)
        elif part.kind == PART_PARAM:
            put(out, x.path + x.match.params[part.param].off, x.match.params[part.param].len)
        elif part.kind == PART_REST:
            if x.match.prefix_len < x.path_len:
                _put_joined(x, out)
        elif part.kind == PART_SCHEME:
            secure = secure_for_client(x)
            put(out, b"https" if secure else b"http", 5 if secure else 4)
        elif part.kind == PART_HOST:
            put(out, x.host, x.host_len)
        elif part.kind == PART_PATH:
            put(out, x.path, x.path_len)
        elif part.kind == PART_QUERY and x.has_query:
            put(out, b"?", 1)
            put(out, x.head.base + x.query.off, x.query.len)


cdef void _put_joined(Exchange* x, Out* out) noexcept nogil:
    # {rest} starts with a slash; a template that ends in one before it must not double it.
    cdef uint32_t at = x.match.prefix_len
    if out.p > out.start and (out.p - 1)[0] == c"/" and x.path[at] == c"/":
        at += 1
    put(out, x.path + at, x.path_len - at)


cdef void _put_rewritten(Exchange* x, Out* out) noexcept nogil:
    """Groups of an expression can meet the template's text to something the request did not say, such as `..`: only a normal path leaves."""
    cdef char* start = out.p
    put_template(x, &x.plan.rewrite, out)
    if not target_normal(x, start, <uint32_t>(out.p - start)):
        out.full = True


cdef bint target_normal(Exchange* x, const char* path, uint32_t n) noexcept nogil:
    cdef char* scratch = x.lane.reactor.rx
    cdef int code = path_normalise(path, n, scratch, x.snapshot.path_flags) if n < RX_SIZE else PATH_E_START
    if <uint32_t>code == n and memcmp(path, scratch, n) == 0:
        return True
    x.path_code = code if code < 0 else PATH_E_HIDDEN_DOTS
    return False


cdef void put_target(Exchange* x, Out* out) noexcept nogil:
    cdef Plan* plan = x.plan
    if x.target != NULL:
        put(out, x.target, x.target_len)
        return
    if plan.rewrite.parts != NULL:
        _put_rewritten(x, out)
    elif plan.strip_prefix:
        put_rest(x, out)
    else:
        put(out, x.path, x.path_len)
    if x.has_query:
        put(out, b"?", 1)
        put(out, x.head.base + x.query.off, x.query.len)


cdef void _put_host(Exchange* x, Out* out) noexcept nogil:
    cdef Plan* plan = x.plan
    cdef Pool* pool = <Pool*>x.origin.owner
    put(out, b"Host: ", 6)
    if plan.host_mode == HOST_ENDPOINT:
        put(out, pool.host, pool.host_len)
    elif plan.host_mode == HOST_LITERAL:
        put(out, plan.host_text, plan.host_len)
    elif x.host_len == 0:
        put(out, pool.host, pool.host_len)      # HTTP/1.0 without Host: the origin speaks 1.1 and needs one
    else:
        _put_authority(x, out)
    put(out, b"\r\n", 2)


cdef void _put_authority(Exchange* x, Out* out) noexcept nogil:
    """The client's host in lower case, with its port as sent."""
    put(out, x.host, x.host_len)
    if x.port.len:
        put(out, x.head.base + x.port.off, x.port.len)


cdef bint _cidr_holds(const Cidr* cidr, const uint8_t* address) noexcept nogil:
    cdef int whole = cidr.bits >> 3
    cdef int rest = cidr.bits & 7
    cdef int i
    for i in range(whole):
        if cidr.bytes[i] != address[i]:
            return False
    return rest == 0 or (cidr.bytes[whole] ^ address[whole]) >> (8 - rest) == 0


cdef bint address_trusted(const SnapshotState* snapshot, const char* text, uint32_t n) noexcept nogil:
    cdef uint8_t address[16]
    return address_bytes(text, n, address) and _trusts(snapshot, address)


cdef bint _trusts(const SnapshotState* snapshot, const uint8_t* address) noexcept nogil:
    cdef uint32_t i
    for i in range(snapshot.n_trusted):
        if _cidr_holds(&snapshot.trusted[i], address):
            return True
    return False


cdef bint secure_for_client(const Exchange* x) noexcept nogil:
    cdef int i
    if x.secure or not x.client.trusted:
        return x.secure
    i = head_find_id(&x.head, H_X_FORWARDED_PROTO, 0)
    return i >= 0 and x.head.fields[i].value_len == 5 and same_token(x.head.base + x.head.fields[i].value, b"https", 5)


cdef const char* client_address(Exchange* x, uint32_t* n) noexcept nogil:
    """Right to left through X-Forwarded-For, of several fields the last one first (RFC 9110 section 5.3), as long as each hop is trusted."""
    cdef Conn* client = x.client
    cdef const char* found = client.addr
    cdef uint32_t i = x.head.n_fields if client.trusted else 0
    n[0] = client.addr_len
    while i > 0:
        i -= 1
        if x.head.fields[i].id == H_X_FORWARDED_FOR and not _follow_hops(x, &x.head.fields[i], &found, n):
            break
    return found


cdef bint client_ip(Exchange* x, uint8_t* ip) noexcept nogil:
    """A peer that is no proxy is read once for all its requests."""
    cdef Conn* client = x.client
    cdef uint32_t n = 0
    cdef const char* text
    if not client.trusted and client.ip_known:
        memcpy(ip, client.ip, 16)
        return True
    text = client_address(x, &n)
    if not address_bytes(text, n, ip):
        return False
    if not client.trusted:
        memcpy(client.ip, ip, 16)
        client.ip_known = 1
    return True


cdef bint _follow_hops(Exchange* x, const Field* field, const char** found, uint32_t* n) noexcept nogil:
    """Whether every hop of the field is trusted; the last one looked at is found. Where one is no address, it is the peer."""
    cdef const char* text = x.head.base + field.value
    cdef uint8_t address[16]
    cdef uint32_t start, first
    cdef uint32_t end = field.value_len
    while end > 0:
        start = end
        while start > 0 and text[start - 1] != c",":
            start -= 1
        first = start
        while first < end and text[first] in (c" ", c"\t"):
            first += 1
        while end > first and text[end - 1] in (c" ", c"\t"):
            end -= 1
        if not address_bytes(text + first, end - first, address):
            found[0] = x.client.addr
            n[0] = x.client.addr_len
            return False
        found[0] = text + first
        n[0] = end - first
        if not _trusts(x.snapshot, address):
            return False
        end = start - 1 if start else 0
    return True


cdef void _put_list(Exchange* x, uint8_t id, Out* out) noexcept nogil:
    """Every value of a list field that a trusted peer sent, ready for ours behind it."""
    cdef uint32_t i
    cdef Field* field
    for i in range(x.head.n_fields):
        field = &x.head.fields[i]
        if field.id == id and field.value_len:
            put(out, x.head.base + field.value, field.value_len)
            put(out, b", ", 2)


cdef void _put_forwarding(Exchange* x, Out* out) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef Conn* client = x.client
    cdef const char* address
    cdef uint32_t n = 0
    cdef bint trusted = client.trusted
    if snapshot.x_forwarded:
        put(out, b"X-Forwarded-For: ", 17)
        if trusted:
            _put_list(x, H_X_FORWARDED_FOR, out)
        put(out, client.addr, client.addr_len)
        if not (trusted and head_find_id(&x.head, H_X_FORWARDED_PROTO, 0) >= 0):
            put(out, b"\r\nX-Forwarded-Proto: https" if x.secure else b"\r\nX-Forwarded-Proto: http", 26 if x.secure else 25)
        if x.host_len and not (trusted and head_find_id(&x.head, H_X_FORWARDED_HOST, 0) >= 0):
            put(out, b"\r\nX-Forwarded-Host: ", 20)
            _put_authority(x, out)
        if not (trusted and head_find_id(&x.head, H_X_REAL_IP, 0) >= 0):
            address = client_address(x, &n)
            put(out, b"\r\nX-Real-IP: ", 13)
            put(out, address, n)
        put(out, b"\r\n", 2)
    if snapshot.forwarded:
        put(out, b"Forwarded: ", 11)
        if trusted:
            _put_list(x, H_FORWARDED, out)
        _put_forwarded_pair(x, out)
    if snapshot.via:
        put(out, b"Via: 1.1 gw\r\n" if x.request.minor else b"Via: 1.0 gw\r\n", 13)
    if snapshot.id_name_len:
        put(out, snapshot.id_name, snapshot.id_name_len)
        put(out, b": ", 2)
        put(out, x.id, x.id_len)
        put(out, b"\r\n", 2)


cdef void _put_forwarded_pair(Exchange* x, Out* out) noexcept nogil:
    """RFC 7239 section 4; an IPv6 address and a host with a port need quotes."""
    cdef Conn* client = x.client
    cdef uint32_t i
    cdef bint v6 = False
    for i in range(client.addr_len):
        v6 |= client.addr[i] == c":"
    if client.addr[0] == c"u":              # "unix:", which is no address
        put(out, b"for=unknown;proto=", 18)
    elif v6:
        put(out, b'for="[', 6)
        put(out, client.addr, client.addr_len)
        put(out, b']";proto=', 9)
    else:
        put(out, b"for=", 4)
        put(out, client.addr, client.addr_len)
        put(out, b";proto=", 7)
    put(out, b"https" if x.secure else b"http", 5 if x.secure else 4)
    if x.host_len:
        put(out, b';host="', 7)
        _put_authority(x, out)
        put(out, b'"', 1)
    put(out, b"\r\n", 2)


cdef inline bint _goes_to_origin(Exchange* x, const Field* field) noexcept nogil:
    cdef uint8_t id = field.id
    if field.flags & FIELD_DROP:
        return False
    if id == H_OTHER:
        return True
    if id == H_HOST:
        return False
    if H_FORWARDED <= id <= H_X_FORWARDED_OTHER:
        if not x.client.trusted:
            return False
        if id == H_FORWARDED:
            return not x.snapshot.forwarded
        return id != H_X_FORWARDED_FOR or not x.snapshot.x_forwarded
    return True


cdef void _drop_forwarding(Exchange* x) noexcept nogil:
    """What an untrusted client claims is not there for `default` either."""
    cdef uint32_t i
    if not x.client.trusted:
        for i in range(x.head.n_fields):
            if H_FORWARDED <= x.head.fields[i].id <= H_X_FORWARDED_OTHER:
                x.head.fields[i].flags |= FIELD_DROP


cdef void _drop_request_id(Exchange* x) noexcept nogil:
    cdef SnapshotState* snapshot = x.snapshot
    cdef uint32_t i
    cdef Field* field
    for i in range(x.head.n_fields):
        field = &x.head.fields[i]
        if field.name_len == snapshot.id_name_len and same_name(x.head.base + field.name, snapshot.id_lower, field.name_len):
            field.flags |= FIELD_DROP


cdef void request_head(Exchange* x, Out* out) noexcept nogil:
    cdef Head* head = &x.head
    cdef Field* field
    cdef uint32_t i, line_end
    cdef uint32_t run = 0           # start of fields to copy; 0 when there is none
    if x.origin_edits.n:
        _drop_forwarding(x)
        apply_removals(head, &x.origin_edits)
    if x.snapshot.id_name_len:
        _drop_request_id(x)
    put(out, head.base + x.request.method.off, x.request.method.len)
    put(out, b" ", 1)
    put_target(x, out)
    put(out, b" HTTP/1.1\r\n", 11)
    _put_host(x, out)
    for i in range(head.n_fields):
        field = &head.fields[i]
        if _goes_to_origin(x, field):
            if run == 0:
                run = field.name
        elif run:
            put(out, head.base + run, field.name - run)
            run = 0
    if run:
        line_end = x.request.head_len - 2
        put(out, head.base + run, line_end - run)
    if x.request.framing == BODY_CHUNKED:
        put(out, b"Transfer-Encoding: chunked\r\n", 28)
    if x.flags & X_UPGRADE:
        field = &head.fields[x.request.upgrade_field]
        put(out, b"Connection: Upgrade\r\nUpgrade: ", 30)
        put(out, head.base + field.value, field.value_len)
        put(out, b"\r\n", 2)
    _put_forwarding(x, out)
    if x.origin_edits.n:
        put_edits(&x.origin_edits, out)
    put(out, b"\r\n", 2)


cdef void _put_status_line(Exchange* x, Out* out) noexcept nogil:
    cdef uint16_t status = x.answer.status
    put(out, b"HTTP/1.1 ", 9)
    put_number(out, status)
    put(out, b" ", 1)
    put(out, x.answer_head.base + x.answer.target.off, x.answer.target.len)
    put(out, b"\r\n", 2)


cdef void _put_answer_fields(Exchange* x, bint keep_length, bint* dated, Out* out) noexcept nogil:
    cdef Head* head = &x.answer_head
    cdef Field* field
    cdef uint32_t i
    cdef uint32_t run = 0
    for i in range(head.n_fields):
        field = &head.fields[i]
        if not field.flags & FIELD_DROP and (field.id != H_CONTENT_LENGTH or keep_length):
            if field.id == H_DATE:
                dated[0] = True
            if run == 0:
                run = field.name
        elif run:
            put(out, head.base + run, field.name - run)
            run = 0
    if run:
        put(out, head.base + run, x.answer.head_len - 2 - run)


cdef void response_head(Exchange* x, Out* out) noexcept nogil:
    cdef bint dated = False
    cdef bint keep_length = x.answer.status >= 200 and x.answer.status != 204 and not x.flags & X_CHUNK_OUT
    cdef Field* field
    if x.client_edits.n:
        apply_removals(&x.answer_head, &x.client_edits)
    _put_status_line(x, out)
    _put_answer_fields(x, keep_length, &dated, out)
    if not dated and x.answer.status >= 200:
        put(out, b"Date: ", 6)
        put(out, reactor_date(&x.lane.reactor), 29)
        put(out, b"\r\n", 2)
    if x.answer.status == 101:
        field = &x.answer_head.fields[x.answer.upgrade_field]
        put(out, b"Connection: Upgrade\r\nUpgrade: ", 30)
        put(out, x.answer_head.base + field.value, field.value_len)
        put(out, b"\r\n", 2)
    else:
        if x.flags & X_CHUNK_OUT:
            put(out, b"Transfer-Encoding: chunked\r\n", 28)
        if x.flags & X_CLOSE:
            put(out, b"Connection: close\r\n", 19)
        elif x.request.minor == 0:
            put(out, b"Connection: keep-alive\r\n", 24)
    if x.client_edits.n:
        put_edits(&x.client_edits, out)
    put(out, b"\r\n", 2)


cdef void interim_head(Exchange* x, Out* out) noexcept nogil:
    cdef bint dated = False
    _put_status_line(x, out)
    _put_answer_fields(x, False, &dated, out)
    put(out, b"\r\n", 2)


cdef void choose_framing(Exchange* x) noexcept nogil:
    """How the answer ends for this client (RFC 9112 section 6.3)."""
    if x.answer.framing == BODY_CHUNKED or x.answer.framing == BODY_EOF:
        if x.request.minor:
            x.flags |= X_CHUNK_OUT
        else:
            x.flags |= X_EOF_OUT | X_CLOSE
    if not x.flags & X_DONE_UP or x.lane.draining:
        x.flags |= X_CLOSE
        x.client.lingers = not x.flags & X_DONE_UP
