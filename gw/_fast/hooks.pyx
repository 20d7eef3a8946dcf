cimport cython

from orjson import loads as _loads

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy

from gw._fast.answer cimport reason_index, reason_text
from gw._fast.claims cimport JSON_MEMBERS_MAX, Members, json_read
from gw._fast.fields cimport FieldWalk, edit_adds, edits_undo, field_shown, fields_named, fields_next
from gw._fast.forward cimport client_address, edit_push, secure_for_client, text_room
from gw._fast.headers cimport TOKEN, Field, Head, same_name
from gw._fast.plane cimport EDIT_ADD, EDIT_REMOVE, EDIT_SET, Edits, Identity, Pool
from gw._fast.snapshot cimport Snapshot
from gw._fast.stream cimport reactor_wall
from gw._fast.tls cimport Tls, tls_view

cdef frozenset FRAMING = frozenset(("connection", "content-length", "transfer-encoding", "host", "upgrade", "keep-alive", "te", "trailer", "proxy-connection", "date"))


cdef class Response:
    """What a hook answers by itself. `headers` maps names to a value or a list of values; the body is bytes, or text sent as UTF-8."""
    def __init__(self, status: int, body: bytes | str = b"", headers: dict | None = None) -> None:
        if not 200 <= status <= 599:
            raise ValueError(f"status {status} is not in 200..599")
        self.status = status
        self.body = body
        self.headers = headers or {}

    def __repr__(self) -> str:
        return f"<Response {self.status}>"


@cython.final
cdef class Refusal:
    """A request hook refuses: a problem document with a reason from the closed list (gw.errors.REASONS), and further fields such as WWW-Authenticate."""
    def __init__(self, reason: str, headers: dict | None = None) -> None:
        if reason_index(reason) == 0:
            raise ValueError(f"{reason!r} is not a reason of gw.errors.REASONS")
        self.reason = reason
        self.headers = headers or {}

    def __repr__(self) -> str:
        return f"<Refusal {self.reason}>"


@cython.final
cdef class Headers:
    """Fields of a head, names in any case. Reading sees them as they would be sent now, this exchange's edits included; writing edits what is sent on."""
    cdef Request request
    cdef bint answer            # of the origin's answer

    cdef Head* head(self) except NULL:
        return &self.request.alive().answer_head if self.answer else &self.request.alive().head

    cdef Edits* edits(self) except NULL:
        return &self.request.alive().client_edits if self.answer else &self.request.alive().origin_edits

    cdef list _values(self, str name, bint first):
        cdef FieldWalk walk
        cdef bytes wanted = name.encode("latin-1")
        cdef list found = []
        fields_named(&walk, self.request.alive(), self.answer, PyBytes_AS_STRING(wanted), len(wanted))
        while fields_next(&walk):
            found.append(PyBytes_FromStringAndSize(walk.value, walk.value_len).decode("latin-1"))
            if first:
                break
        return found

    def get(self, name: str, default: str | None = None) -> str | None:
        """The first value, or the default."""
        cdef list found = self._values(name, True)
        return found[0] if found else default

    def get_all(self, name: str) -> list:
        return self._values(name, False)

    def __getitem__(self, name: str) -> str:
        cdef list found = self._values(name, True)
        if not found:
            raise KeyError(name)
        return found[0]

    def __contains__(self, name: str) -> bool:
        return bool(self._values(name, True))

    def __setitem__(self, name: str, value: str) -> None:
        _edit(self.request.alive(), self.edits(), EDIT_SET, name, value)

    def add(self, name: str, value: str) -> None:
        _edit(self.request.alive(), self.edits(), EDIT_ADD, name, value)

    def __delitem__(self, name: str) -> None:
        _edit(self.request.alive(), self.edits(), EDIT_REMOVE, name, "")

    def items(self) -> list:
        """(name, value) of every field."""
        cdef const Head* head = self.head()
        cdef const Edits* edits = self.edits()
        cdef const Field* field
        cdef uint32_t i
        cdef list found = []
        for i in range(head.n_fields):
            field = &head.fields[i]
            if field_shown(self.request.x, self.answer, field) and edits_undo(edits, head.base + field.name, field.name_len) == 0:
                found.append((PyBytes_FromStringAndSize(head.base + field.name, field.name_len).decode("latin-1"), _value(head, field)))
        for i in range(edits.n):
            name = PyBytes_FromStringAndSize(edits.items[i].name, edits.items[i].name_len)
            if edits_undo(edits, edits.items[i].name, edits.items[i].name_len) <= i + 1 and edit_adds(edits, i, any(_same(name, each) for each, _ in found)):
                found.append((name.decode("latin-1"), PyBytes_FromStringAndSize(edits.items[i].value, edits.items[i].value_len).decode("latin-1")))
        return found

    def __repr__(self) -> str:
        return f"<Headers {self.items()!r}>"


cdef str _value(const Head* head, const Field* field):
    return PyBytes_FromStringAndSize(head.base + field.value, field.value_len).decode("latin-1")


cdef bint _same(bytes a, str b):
    return len(a) == len(b) and same_name(PyBytes_AS_STRING(a), PyBytes_AS_STRING(b.encode("latin-1")), len(a))


cdef const char* text_kept(Exchange* x, bytes text) except NULL:
    """A copy in the exchange's arena."""
    cdef uint32_t n = len(text)
    cdef char* at = text_room(x, n + 1)
    if at == NULL:
        raise MemoryError
    memcpy(at, PyBytes_AS_STRING(text), n)
    at[n] = 0
    return at


cdef bytes _checked_name(str name):
    cdef bytes raw = name.encode("latin-1")
    cdef const char* text = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t i
    if not raw:
        raise ValueError("a field name is empty")
    for i in range(len(raw)):
        if not TOKEN[<uint8_t>text[i]]:
            raise ValueError(f"{name!r} is not a field name (RFC 9110 section 5.1)")
    return raw


cdef bytes _checked_value(str value):
    cdef bytes raw = value.encode("latin-1")
    cdef const char* text = PyBytes_AS_STRING(raw)
    cdef Py_ssize_t i
    for i in range(len(raw)):
        if (<uint8_t>text[i] < 32 and text[i] != c"\t") or text[i] == 127:
            raise ValueError(f"{value!r} holds a control character: it cannot be a field value")
    return raw


cdef _refuse_framing(str name):
    if name.lower().replace("_", "-") in FRAMING:
        raise ValueError(f"{name} frames or routes the message: a hook cannot set it")


cdef _edit(Exchange* x, Edits* edits, uint8_t op, str name, str value):
    cdef bytes raw_name = _checked_name(name)
    cdef bytes raw_value = _checked_value(value)
    cdef const char* kept_value
    cdef const char* kept_name
    _refuse_framing(name)
    # One block for both, so that the second copy cannot move the first unseen.
    kept_name = text_kept(x, raw_name + raw_value)
    kept_value = kept_name + len(raw_name)
    if not edit_push(edits, op, kept_name, len(raw_name), kept_value, len(raw_value)):
        raise MemoryError


cdef bytes field_lines(headers):
    lines = []
    for name, values in headers.items():
        _refuse_framing(name)
        for value in [values] if isinstance(values, str) else values:
            lines.append(_checked_name(name) + b": " + _checked_value(value) + b"\r\n")
    return b"".join(lines)


def check_fields(fields) -> None:
    field_lines(fields)


@cython.freelist(64)
@cython.final
cdef class Request:
    """An exchange as hooks see it, read when asked. It is dead once the exchange has ended: any use then raises RuntimeError."""
    cdef Exchange* alive(self) except NULL:
        if self.x == NULL:
            raise RuntimeError("the exchange has ended")
        return self.x

    @property
    def id(self) -> str:
        return PyBytes_FromStringAndSize(self.alive().id, self.x.id_len).decode("latin-1")

    @property
    def method(self) -> str:
        return PyBytes_FromStringAndSize(self.alive().head.base + self.x.request.method.off, self.x.request.method.len).decode("latin-1")

    @property
    def path(self) -> str:
        """Normalised, still percent-encoded: the path that was routed and that is forwarded."""
        return PyBytes_FromStringAndSize(self.alive().path, self.x.path_len).decode("latin-1")

    @property
    def query(self) -> str:
        """Without '?'; percent-encoded as sent."""
        return PyBytes_FromStringAndSize(self.alive().head.base + self.x.query.off, self.x.query.len).decode("latin-1") if self.alive().has_query else ""

    @property
    def host(self) -> str:
        """Lower case, without port."""
        return PyBytes_FromStringAndSize(self.alive().host, self.x.host_len).decode("latin-1")

    @property
    def scheme(self) -> str:
        """As the client sees it: a trusted proxy in front of gw says so in X-Forwarded-Proto."""
        return "https" if secure_for_client(self.alive()) else "http"

    @property
    def tls(self) -> Tls | None:
        """The client's TLS connection and the identity it has proved; None without TLS. Made at every use: keep it if you need it twice."""
        cdef void* ssl = self.alive().client.ssl
        return tls_view(ssl) if ssl != NULL else None

    @property
    def client(self) -> str:
        """Address of the first peer that is not a trusted proxy."""
        cdef uint32_t n = 0
        cdef const char* text = client_address(self.alive(), &n)
        return PyBytes_FromStringAndSize(text, n).decode("latin-1")

    @property
    def now(self) -> int:
        """Seconds since 1970 by the lane's clock, which `gw explain` and `gw test` can set."""
        return reactor_wall(&self.alive().lane.reactor)

    @property
    def route(self) -> str:
        return PyBytes_FromStringAndSize(self.alive().plan.name, self.x.plan.name_len).decode()

    @property
    def endpoint(self) -> str:
        """Address of the endpoint that was chosen last, as configured; empty before one is."""
        cdef Exchange* x = self.alive()
        cdef Pool* pool
        if x.choice < 0 or x.plan.service == NULL:
            return ""
        pool = x.plan.service.pools[x.choice]
        return _loads(b'"' + PyBytes_FromStringAndSize(pool.key, pool.key_len) + b'"')      # it is kept as logs need it

    @property
    def params(self) -> list:
        """Values of the route's path parameters, in the order it names them; percent-encoded as sent."""
        cdef Exchange* x = self.alive()
        cdef uint32_t i
        return [PyBytes_FromStringAndSize(x.path + x.match.params[i].off, x.match.params[i].len).decode("latin-1") for i in range(x.match.n_params)]

    def identify(self, method: str, *, consumer: str | None = None, subject: str = "", credential: str = "", groups=(), scopes: str = "", claims: bytes | None = None) -> None:
        """An authentication policy has found out who calls. `claims` is a JSON object as bytes, else ValueError. KeyError when there is no such consumer."""
        cdef tuple listed = tuple(groups)
        for group in listed:
            if "," in group:
                raise ValueError(f"group {group!r} holds a comma: it could not be told from two groups")
        _identify(self.alive(), (method, subject, credential, ",".join(listed), scopes, claims or b""), consumer)

    def presents(self) -> None:
        """The request carries a credential, good or bad: it is not anonymous."""
        self.alive().identity.presented = 1

    @property
    def known(self) -> bool:
        """Whether the caller has proved who it is, or is taken for a consumer without."""
        cdef const Identity* who = &self.alive().identity
        return who.consumer != NULL or (who.method != NULL and who.presented)

    @property
    def auth(self) -> str:
        """Policy that found out who calls; empty when none did."""
        return _text(self.alive().identity.method, self.x.identity.method_len)

    @property
    def consumer(self) -> str | None:
        """Name of the consumer that calls."""
        return _text(self.x.identity.consumer.name, self.x.identity.consumer.name_len) if self.alive().identity.consumer != NULL else None

    @property
    def subject(self) -> str:
        """What the credential names."""
        return _text(self.alive().identity.subject, self.x.identity.subject_len)

    @property
    def credential(self) -> str:
        """Id of the credential."""
        return _text(self.alive().identity.credential, self.x.identity.credential_len)

    @property
    def groups(self) -> list:
        """Of the credential, and of the consumer."""
        cdef list found = _text(self.alive().identity.groups, self.x.identity.groups_len).split(",")
        if self.x.identity.consumer != NULL:
            found += _text(self.x.identity.consumer.groups, self.x.identity.consumer.groups_len).split(",")
        return [group for group in found if group]

    @property
    def monotonic(self) -> float:
        """Seconds of the monotonic clock."""
        return self.alive().lane.reactor.now_us / 1e6

    @property
    def scopes(self) -> list:
        return _text(self.alive().identity.scopes, self.x.identity.scopes_len).split()

    @property
    def claims(self) -> dict | None:
        """Of the token, parsed at every use; None when there is no token."""
        cdef const Identity* who = &self.alive().identity
        return _loads(PyBytes_FromStringAndSize(who.claims, who.claims_len)) if who.claims != NULL else None

    @property
    def headers(self) -> Headers:
        """Of the request; edits go to the origin."""
        cdef Headers headers = Headers.__new__(Headers)
        self.alive()
        headers.request = self
        headers.answer = False
        return headers

    @property
    def response_headers(self) -> Headers:
        """Of the answer; edits go to the client."""
        cdef Headers headers = Headers.__new__(Headers)
        self.alive()
        headers.request = self
        headers.answer = True
        return headers

    @property
    def status(self) -> int:
        """Of the answer; 0 before there is one."""
        return self.alive().status

    @property
    def by(self) -> str:
        """Who made the answer: origin, gateway, client (it went away), or nobody yet."""
        return ("", "origin", "gateway", "client")[self.alive().by]

    @property
    def reason(self) -> str:
        """Why gw answered by itself, from the closed list of reasons."""
        return (<const char*>reason_text(self.alive().reason).name).decode() if self.alive().reason else ""

    @property
    def state(self) -> dict:
        """For hooks to leave things to each other; lives as long as the exchange."""
        if self._state is None:
            self._state = {}
        return self._state

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.path} {self.id}>" if self.x != NULL else "<Request, ended>"


cdef str _text(const char* text, uint32_t n):
    return PyBytes_FromStringAndSize(text, n).decode("utf-8", "replace") if text != NULL else ""


cdef void _release_identity(void* held) noexcept nogil:
    with gil:
        Py_DECREF(<object>held)


cdef _identify(Exchange* x, tuple parts, consumer):
    cdef Identity* who = &x.identity
    cdef Snapshot snapshot = <Snapshot>x.snapshot.owner
    cdef int index = snapshot.consumer_index[consumer] if consumer is not None else -1
    cdef bytes method, subject, credential, groups, scopes, claims
    cdef Members members
    cdef tuple held = tuple([part.encode() if isinstance(part, str) else part for part in parts])
    method, subject, credential, groups, scopes, claims = held
    if claims and json_read(claims, len(claims), JSON_MEMBERS_MAX, &members) != 0:
        raise ValueError("claims are not one JSON object")
    if who.release != NULL:
        who.release(who.held)
    Py_INCREF(held)
    who.held = <void*>held
    who.release = _release_identity
    who.presented = 1
    who.consumer = &x.snapshot.consumers[index] if index >= 0 else NULL
    who.method = method
    who.method_len = len(method)
    who.subject = subject
    who.subject_len = len(subject)
    who.credential = credential
    who.credential_len = len(credential)
    who.groups = groups
    who.groups_len = len(groups)
    who.scopes = scopes
    who.scopes_len = len(scopes)
    who.claims = <const char*>claims if claims else NULL
    who.claims_len = len(claims)


cdef Request hook_view(Exchange* x):
    cdef Request view
    if x.view != NULL:
        return <Request>x.view
    view = Request.__new__(Request)
    view.x = x
    x.view = <PyObject*>view
    Py_INCREF(view)
    return view
