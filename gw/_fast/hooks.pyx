cimport cython
import asyncio
import inspect
import traceback

from orjson import loads as _loads

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.string cimport memcpy

from gw._fast.answer cimport R_DECISION_UNAVAILABLE, R_HOOK_FAILED, R_HOOK_TIMEOUT, reason_index, reason_text
from gw._fast.budget cimport Budget, budget_spent
from gw._fast.claims cimport JSON_MEMBERS_MAX, Members, json_read
from gw._fast.fields cimport FieldWalk, edit_adds, edits_undo, field_shown, fields_named, fields_next
from gw._fast.forward cimport client_address, edit_push, secure_for_client, text_room
from gw._fast.headers cimport TOKEN, Field, Head, same_name
from gw._fast.hist cimport hist_add
from gw._fast.plane cimport BY_GATEWAY, EDIT_ADD, EDIT_REMOVE, EDIT_SET, STEP_ANSWER, STEP_NEXT, STEP_PARK, Edits, Identity
from gw._fast.shm cimport PolicyStats, Segment, shm_policy
from gw._fast.snapshot cimport Snapshot
from gw._fast.step cimport Step, step_refuses
from gw._fast.stream cimport clock_us, reactor_wall
from gw._fast.tls cimport Tls, tls_view

cdef object _get_running_loop = asyncio.get_running_loop
cdef frozenset FRAMING = frozenset(("connection", "content-length", "transfer-encoding", "host", "upgrade", "keep-alive", "te", "trailer", "proxy-connection", "date"))
cdef enum:                      # phases: index of a policy's histogram
    REQUEST = 0
    RESPONSE = 1
    DONE = 2

cdef enum:
    ANSWER_MAX = 196608         # an answer of our own leaves in one piece: this much of it, and our own fields, fit reactor.tx


cdef class Response:
    """What a hook answers by itself. `headers` maps names to a value or a list of values; the body is bytes, or text sent as UTF-8."""
    cdef public int status
    cdef public object headers
    cdef public object body

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
    cdef readonly str reason
    cdef readonly dict headers

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


cdef const char* _keep(Exchange* x, bytes text) except NULL:
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
    kept_name = _keep(x, raw_name + raw_value)
    kept_value = kept_name + len(raw_name)
    if not edit_push(edits, op, kept_name, len(raw_name), kept_value, len(raw_value)):
        raise MemoryError


@cython.freelist(64)
@cython.final
cdef class Request:
    """An exchange as hooks see it, read when asked. It is dead once the exchange has ended: any use then raises RuntimeError."""
    cdef Exchange* x            # borrowed; NULL once the exchange has ended
    cdef dict _state
    cdef object __weakref__

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


cdef Request _view(Exchange* x):
    cdef Request view
    if x.view != NULL:
        return <Request>x.view
    view = Request.__new__(Request)
    view.x = x
    x.view = <PyObject*>view
    Py_INCREF(view)
    return view


cdef void hooks_release(Exchange* x) noexcept nogil:
    with gil:
        _release(x)


cdef _release(Exchange* x):
    cdef Request view
    cdef Parked parked
    if x.parked != NULL:
        parked = <Parked>x.parked
        x.parked = NULL
        if x.reason == R_HOOK_TIMEOUT:
            parked.step.report("hook-timeout", {"policy": parked.step.name, "waited_ms": x.snapshot.hook_ms, "request_id": _view(x).id})
        parked.x = NULL
        parked.task.cancel()
        Py_DECREF(parked)
    if x.view != NULL:
        view = <Request>x.view
        x.view = NULL
        view.x = NULL
        Py_DECREF(view)


cdef int _run_request(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, (<PythonStep>self).on_request, (<PythonStep>self).request_async, REQUEST)


cdef int _run_response(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, (<PythonStep>self).on_response, (<PythonStep>self).response_async, RESPONSE)


cdef int _run_done(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, (<PythonStep>self).on_done, False, DONE)


@cython.final
cdef class PythonStep(Step):
    """Calls a policy's Python hooks. An `async def` hook parks its exchange until it is done; `done` must be a plain function."""
    cdef object on_request
    cdef object on_response
    cdef object on_done
    cdef object attached
    cdef object report
    cdef bint request_async
    cdef bint response_async
    cdef int slot               # of the policy in the segment; -1: none
    cdef Segment segment        # keeps `stats` mapped
    cdef PolicyStats* stats     # of the lane's worker; NULL until a lane runs it
    cdef Budget budget

    def __init__(self, name: str, request=None, response=None, done=None, attached=None, slot: int = -1, budget: dict | None = None) -> None:
        Step.__init__(self, name)
        self.python = True
        self.attached = attached
        self.on_request = request
        self.on_response = response
        self.on_done = done
        self.slot = slot
        self.budget = budget or {"time_us": 0, "window": 0, "most": 0, "quarantine": 0, "skips": 0}
        self.request_async = inspect.iscoroutinefunction(request)
        self.response_async = inspect.iscoroutinefunction(response)
        if inspect.iscoroutinefunction(done):
            raise TypeError(f"policy {name}: the hook `done` runs after the exchange and cannot be async")
        self.request.self = self.response.self = self.done.self = <void*>self
        if request is not None:
            self.request.run = _run_request
        if response is not None:
            self.response.run = _run_response
        if done is not None:
            self.done.run = _run_done

    def attach(self, report) -> None:
        """Where failures go: report(event, fields)."""
        self.report = report
        if self.attached is not None:
            self.attached(report)

    def count_in(self, Segment segment not None, int worker) -> None:
        if self.slot >= 0:
            self.segment = segment
            self.stats = shm_policy(segment, worker, self.slot)

    cdef int _call(self, Exchange* x, hook, bint waits, int phase):
        cdef int64_t began
        cdef int verdict
        if waits and x.by == BY_GATEWAY:
            return STEP_NEXT            # an answer of our own leaves at once: nothing waits in front of it
        if self.stats != NULL and self.stats.quarantined == x.snapshot.revision:
            return self._without(x, phase)
        x.lane.stats.hook_calls += 1
        began = clock_us()
        try:
            if waits:
                self._start(x, hook(_view(x)), phase)
                return STEP_PARK
            verdict = self._take(x, hook(_view(x)), phase == REQUEST)
        except BaseException as error:  # the task's border of a hook: logged with traceback and policy; what got past it would end the process or let the request through
            verdict = self._failed(x, error)
        self._took(x, began, phase)
        return verdict

    cdef int _without(self, Exchange* x, int phase):
        self.stats.skipped += 1
        if self.budget.skips or phase == DONE or x.by == BY_GATEWAY:
            return STEP_NEXT
        return step_refuses(x, R_DECISION_UNAVAILABLE, NULL, 0)

    cdef _took(self, Exchange* x, int64_t began, int phase):
        cdef int64_t blocked = clock_us() - began
        if self.stats != NULL:
            hist_add(&(&self.stats.request)[phase], blocked)
            if self.budget.time_us and budget_spent(&self.budget, self.stats, blocked) and x != NULL:
                self._overspent(x.snapshot.revision)
        if x != NULL and blocked > x.lane.hook_warn_us:
            x.lane.stats.hook_slow += 1
            self.report("hook-slow", {"policy": self.name, "blocked_ms": blocked // 1000, "request_id": _view(x).id})

    cdef _overspent(self, uint32_t revision):
        if self.budget.quarantine:
            self.stats.quarantined = revision
        action = ("skipped" if self.budget.skips else "refused") if self.budget.quarantine else "none"
        self.report("hook-budget", {"policy": self.name, "budget_us": self.budget.time_us, "over": self.stats.over, "requests": action})

    cdef int _failed(self, Exchange* x, error):
        x.lane.stats.hook_errors += 1
        x.own.reason = R_HOOK_FAILED
        x.own.fields_len = 0
        x.own.body_len = 0
        self._tell(error, _view(x).id)
        return STEP_ANSWER

    cdef _tell(self, error, str request_id):
        self.report("hook-failed", {"policy": self.name, "error": repr(error), "request_id": request_id, "traceback": "".join(traceback.format_exception(error))})

    cdef int _take(self, Exchange* x, answer, bint may_answer) except -1:
        """None: go on. A Response: it is the answer."""
        cdef Response response
        cdef bytes fields, body
        cdef const char* kept
        if answer is None:
            return STEP_NEXT
        if may_answer and isinstance(answer, Refusal):
            return self._refuse(x, answer)
        if not may_answer or not isinstance(answer, Response):
            raise TypeError(f"policy {self.name}: a request hook returns None, a Response or a Refusal, other hooks None; got {type(answer).__name__}")
        response = answer
        body = response.body.encode() if isinstance(response.body, str) else response.body
        fields = _field_lines(response.headers)
        if len(fields) + len(body) > ANSWER_MAX:
            raise ValueError(f"policy {self.name}: fields and body of a Response hold at most {ANSWER_MAX} bytes; got {len(fields) + len(body)}")
        kept = _keep(x, fields + body)
        x.own.status = response.status
        x.own.fields = kept
        x.own.fields_len = len(fields)
        x.own.body = kept + len(fields)
        x.own.body_len = len(body)
        x.own.by_hook = 1
        return STEP_ANSWER

    cdef int _refuse(self, Exchange* x, Refusal refusal) except -1:
        cdef bytes fields = _field_lines(refusal.headers)
        x.own.reason = reason_index(refusal.reason)
        x.own.fields = _keep(x, fields)
        x.own.fields_len = len(fields)
        return STEP_ANSWER

    cdef _start(self, Exchange* x, coroutine, int phase):
        cdef Parked parked = Parked.__new__(Parked)
        parked.step = self
        parked.x = x
        parked.phase = phase
        parked.coroutine = coroutine
        parked.task = _get_running_loop().create_task(parked)
        parked.task.add_done_callback(parked.finished)
        x.parked = <PyObject*>parked
        Py_INCREF(parked)


cdef bytes _field_lines(headers):
    lines = []
    for name, values in headers.items():
        _refuse_framing(name)
        for value in [values] if isinstance(values, str) else values:
            lines.append(_checked_name(name) + b": " + _checked_value(value) + b"\r\n")
    return b"".join(lines)


@cython.final
cdef class Parked:
    """An exchange that waits for a task, and what that task runs: the hook's coroutine, each of its turns timed."""
    cdef PythonStep step
    cdef Exchange* x            # borrowed; NULL once the exchange has ended and cancelled us
    cdef readonly object task
    cdef object coroutine
    cdef int phase

    def __await__(self):
        return self.coroutine.__await__()

    def send(self, value):
        return self._turn(self.coroutine.send, value)

    def throw(self, *error):
        return self._turn(self.coroutine.throw, *error)

    def close(self) -> None:
        self.coroutine.close()

    def _turn(self, go, *args):
        cdef int64_t began = clock_us()
        try:
            return go(*args)
        except (SystemExit, KeyboardInterrupt) as error:
            raise RuntimeError(f"the hook raised {type(error).__name__}") from error    # asyncio would end the worker's loop
        finally:
            self.step._took(self.x, began, self.phase)

    def finished(self, task) -> None:
        cdef Exchange* x = self.x
        cdef int verdict
        self.task = None
        if x == NULL:
            if not task.cancelled() and task.exception() is not None:
                self.step._tell(task.exception(), "")
            return
        self.x = NULL
        x.parked = NULL
        Py_DECREF(self)
        if task.cancelled():
            verdict = self.step._failed(x, asyncio.CancelledError())
        elif task.exception() is not None:
            verdict = self.step._failed(x, task.exception())
        else:
            try:
                verdict = self.step._take(x, task.result(), self.phase == REQUEST)
            except Exception as error:      # as in _call; a fault that passed here would leave the exchange waiting for ever
                verdict = self.step._failed(x, error)
        with nogil:
            x.lane.resume(x, verdict)

    def __repr__(self) -> str:
        return f"<Parked {self.step.name}: {self.coroutine!r}>"
