"""The engine of live traffic asked about one head, offline: same route search, same steps, same heads, no sockets."""

cimport cython
from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from gw._fast.answer cimport R_NONE, plain_answer, problem_answer, reason_text, redirect_answer
from gw._fast.decide cimport exchange_route, fault_reason, make_id, step_due, step_goes_on
from gw._fast.forward cimport address_trusted, client_address, request_head
from gw._fast.hash cimport Hash
from gw._fast.h1 cimport H1_DONE, H1_MORE, head_start, request_feed
from gw._fast.lane cimport Lane
from gw._fast.life cimport response_step
from gw._fast.out cimport Out, out_init
from gw._fast.path cimport path_reason
from gw._fast.pick cimport pick
from gw._fast.plane cimport ACT_FORWARD, ACT_REDIRECT, BY_GATEWAY, STEP_NEXT, STEP_PARK, X_DONE_UP, Exchange, Identity, StepCall
from gw._fast.selector cimport Selector, selector_key
from gw._fast.slab cimport buf_give
from gw._fast.step cimport Step, holds_end
from gw._fast.stream cimport CONN_CLIENT, CONN_ORIGIN, TX_SIZE, Conn, clock_us

cdef enum: WAITING = -2


cdef void _resume(Exchange* x, int verdict) noexcept with gil:
    (<Inquiry>x.view_of).verdict = verdict


@cython.final
cdef class Inquiry:
    """One request asked of a lane that serves nobody. Call `route`, then `step` until it returns None, then what you want to know."""
    cdef Lane lane
    cdef Exchange* x            # owned
    cdef Conn* client           # owned: what its address, trust and TLS are said to be
    cdef Conn* origin           # owned: stands for a connection to the endpoint chosen
    cdef bytearray head         # what x.head points into; steps may take a credential out of it
    cdef dict steps             # (function, self) of a request step -> Step
    cdef StepCall* at           # the step that waits for its task
    cdef int verdict            # of it, once its task is done
    cdef bint answered          # a step has answered

    def __cinit__(self, Lane lane not None, bytes head, str client, bint secure, int64_t now_us, int64_t wall_s):
        cdef bytes address = client.encode()[:45]
        cdef Step step
        self.lane = lane
        self.head = bytearray(head)
        self.x = <Exchange*>calloc(1, sizeof(Exchange))
        self.client = <Conn*>calloc(1, sizeof(Conn))
        self.origin = <Conn*>calloc(1, sizeof(Conn))
        if self.x == NULL or self.client == NULL or self.origin == NULL:
            raise MemoryError
        lane.state.reactor.now_us = now_us
        lane.state.reactor.now_ms = now_us // 1000
        lane.state.reactor.wall_us = wall_s * 1000000 - now_us
        lane.state.resume = _resume
        self.client.kind = CONN_CLIENT
        self.client.reactor = self.origin.reactor = &lane.state.reactor
        self.origin.kind = CONN_ORIGIN
        memcpy(self.client.addr, PyBytes_AS_STRING(address), len(address))
        self.client.addr_len = len(address)
        self.client.trusted = address_trusted(lane.state.snapshot, self.client.addr, self.client.addr_len)
        self.x.lane = lane.state
        self.x.client = self.client
        self.x.snapshot = lane.state.snapshot
        self.x.snapshot.users += 1
        self.x.plan = &lane.state.snapshot.nowhere
        self.x.allowance = &self.x.plan.allowance
        self.x.secure = secure
        self.x.choice = -1
        self.x.view_of = <void*>self
        self.steps = {(<uintptr_t>step.request.run, <uintptr_t>step.request.self): step for step in lane.current.steps}

    def __dealloc__(self):
        if self.x != NULL:
            holds_end(self.x)
            if self.x.identity.release != NULL:
                self.x.identity.release(self.x.identity.held)
            if self.x.view != NULL or self.x.parked != NULL:
                self.lane.state.release_python(self.x)
            if self.x.path_buf != NULL:
                buf_give(&self.lane.state.reactor.slab, self.x.path_buf)
            if self.x.snapshot != NULL:
                self.x.snapshot.users -= 1
            free(self.x.origin_edits.items)
            free(self.x.client_edits.items)
            free(self.x.holds.items)
            free(self.x.arena)
        free(self.x)
        free(self.client)
        free(self.origin)

    def route(self, trace) -> dict:
        """Which route takes it. `trace(route, text)` is called for every route considered. ValueError when the bytes are not one whole head."""
        cdef Exchange* x = self.x
        cdef uint32_t n = 0, i
        cdef const char* client
        cdef int code
        head_start(&x.parser, &x.head, x.snapshot.max_fields)
        code = request_feed(&x.parser, PyByteArray_AS_STRING(self.head), 0, len(self.head), x.snapshot.max_head, x.snapshot.max_line, &x.request)
        if code == H1_MORE:
            raise ValueError("the head is not whole: it ends with an empty line")
        make_id(x)
        x.flags |= X_DONE_UP
        x.own.reason = exchange_route(x, NULL if trace is None else <void*>trace) if code == H1_DONE else fault_reason(x.request.fault)
        self.answered = x.own.reason != R_NONE
        client = client_address(x, &n)
        return {
            "reason": self.reason(),
            "status": reason_text(x.own.reason).status if x.own.reason else 0,
            "detail": (<const char*>path_reason(x.path_code)).decode() if x.path_code else "",
            "route": x.match.route if code == H1_DONE and x.path_len else -1,
            "host": PyBytes_FromStringAndSize(x.host, x.host_len).decode("latin-1"),
            "path": PyBytes_FromStringAndSize(x.path, x.path_len).decode("latin-1") if x.path_len else "",
            "prefix_len": x.match.prefix_len,
            "params": [PyBytes_FromStringAndSize(x.path + x.match.params[i].off, x.match.params[i].len).decode("latin-1") for i in range(x.match.n_params)],
            "client": PyBytes_FromStringAndSize(client, n).decode("latin-1"),
        }

    def reason(self) -> str:
        """Why gw answers by itself, from the closed list; empty when it does not, or not with a problem."""
        return (<const char*>reason_text(self.x.own.reason).name).decode() if self.x.own.reason else ""

    def step(self) -> dict | None:
        """Run the next request step. `verdict`: pass, next (another alternative is tried), answer, or waits (for `task`; then ask `woken`)."""
        cdef Step step
        cdef StepCall* call
        cdef int64_t began
        if self.answered:
            return None
        call = step_due(self.x)
        if call == NULL:
            return None
        step = self.steps[(<uintptr_t>call.run, <uintptr_t>call.self)]
        began = clock_us()
        self.at = call
        self.verdict = call.run(call.self, self.x)
        if self.verdict == STEP_NEXT and step.watches and "request" not in step.phases():
            return self.step()          # it looks at bodies alone, of which there is none here
        return {"policy": step.name, "pointer": step.pointer, "us": clock_us() - began, **self._judged(step)}

    cdef dict _judged(self, Step step):
        cdef str word = "pass"
        cdef str told, reason
        if self.verdict == STEP_PARK and self.x.park.leave != NULL:
            self.x.park.leave(self.x, False)    # nobody waits here: as when the longest wait is over; _resume keeps the verdict
        told = step.told(self.x, self.verdict)
        reason = self.reason()
        if self.verdict == STEP_PARK:
            self.verdict = WAITING
            return {"verdict": "waits", "told": told, "reason": ""}
        if self.verdict != STEP_NEXT:
            word = "next" if self.at.else_step else "answer"
        self.answered = not step_goes_on(self.x, self.at, self.verdict)
        return {"verdict": word, "told": told, "reason": reason if word != "pass" else ""}

    @property
    def task(self):
        """What the step that waits is waiting for."""
        return (<object>self.x.parked).task if self.x.parked != NULL else None

    def woken(self) -> dict:
        """The verdict of the step whose task is done, as `step` gives it."""
        cdef Step step = self.steps[(<uintptr_t>self.at.run, <uintptr_t>self.at.self)]
        if self.verdict == WAITING:
            raise RuntimeError("the task of this step is not done")
        return self._judged(step)

    def identity(self) -> dict:
        """Who calls, as far as the steps found out."""
        cdef const Identity* who = &self.x.identity
        return {
            "method": _text(who.method, who.method_len),
            "consumer": _text(who.consumer.name, who.consumer.name_len) if who.consumer != NULL else "",
            "subject": _text(who.subject, who.subject_len),
            "credential": _text(who.credential, who.credential_len),
            "groups": _text(who.groups, who.groups_len),
            "scopes": _text(who.scopes, who.scopes_len),
        }

    def key(self, Selector selector not None) -> tuple:
        """What a limit counts it by: whether all parts are there, and their hash under a seed of zeros."""
        cdef Hash key
        cdef bint whole = selector_key(selector.parts, selector.n, self.x, Hash(0, 0), &key)
        return whole, (<const char*>&key)[:sizeof(Hash)]

    def endpoint(self) -> int:
        """Index of the endpoint that would be chosen now, -1 when the service has none that may be tried, or the route forwards nothing."""
        cdef Exchange* x = self.x
        if x.plan.action != ACT_FORWARD:
            return -1
        x.choice = pick(&x.plan.service.picker, x.lane.reactor.now_ms, 0)
        return x.choice

    def forwarded(self) -> bytes:
        """The head as it would go to the endpoint; empty when nothing is forwarded."""
        cdef Exchange* x = self.x
        cdef Out out
        if self.answered or x.plan.action != ACT_FORWARD or x.plan.service.n_pools == 0:
            return b""
        self.origin.owner = x.plan.service.pools[x.choice if x.choice >= 0 else 0]
        x.origin = self.origin
        out_init(&out, x.lane.reactor.tx, TX_SIZE)
        request_head(x, &out)
        return PyBytes_FromStringAndSize(out.start, out.p - out.start)

    def answer(self) -> bytes:
        """The answer that gw makes by itself, response steps applied; empty when the endpoint answers."""
        cdef Exchange* x = self.x
        cdef Out out
        cdef StepCall* call
        cdef uint32_t i = 0
        if not self.answered and x.plan.action == ACT_FORWARD:
            return b""
        x.by = BY_GATEWAY
        x.reason = x.own.reason
        x.status = reason_text(x.own.reason).status if x.own.reason else x.own.status if self.answered else x.plan.status
        x.answer.status = x.status
        while True:
            call = response_step(x, i)
            if call == NULL:
                break
            call.run(call.self, x)
            i += 1
        out_init(&out, x.lane.reactor.tx, TX_SIZE)
        self._write(&out)
        return PyBytes_FromStringAndSize(out.start, out.p - out.start)

    cdef _write(self, Out* out):
        cdef Exchange* x = self.x
        if x.own.reason:
            problem_answer(x, x.own.reason, out)
        elif not self.answered and x.plan.action == ACT_REDIRECT:
            redirect_answer(x, out)
        else:
            if not self.answered:
                x.own.status = x.plan.status
                x.own.fields = x.plan.fields
                x.own.fields_len = x.plan.fields_len
                x.own.body = x.plan.body
                x.own.body_len = x.plan.body_len
            plain_answer(x, out)


cdef str _text(const char* text, uint32_t n):
    return PyBytes_FromStringAndSize(text, n).decode("utf-8", "replace") if text != NULL else ""
