"""The engine of live traffic asked about one request, offline: same route search, same steps, same heads, no sockets."""

cimport cython

from gw._fast.shm import PHASES as _PHASES

from cpython.bytearray cimport PyByteArray_AS_STRING
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint32_t, uint8_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy

from gw._fast.answer cimport (
    R_AMBIGUOUS_PATH, R_ANSWER_TOO_LARGE, R_BODY_TOO_LARGE, R_INTERNAL, R_NONE, R_ORIGIN_HEAD_TOO_LARGE, R_OVERLOADED, plain_answer, problem_answer, reason_text,
    redirect_answer,
)
from gw._fast.bodies cimport (
    body_bytes, body_ready, frame_down, frame_up, gather_down, gather_up, gathers_down, gathers_up, origin_step, request_body_step, response_body_step,
)
from gw._fast.decide cimport allow_upgrade, exchange_route, fault_reason, make_id, step_due, step_goes_on
from gw._fast.forward cimport address_trusted, choose_framing, client_address, request_head, response_head
from gw._fast.hash cimport Hash
from gw._fast.h1 cimport BODY_CHUNKED, H1_DONE, H1_MORE, MSG_UPGRADE, MSG_WATCHED, body_start, head_start, request_feed, response_feed, response_framing
from gw._fast.headers cimport MAX_FIELDS
from gw._fast.lane cimport Lane
from gw._fast.life cimport response_step
from gw._fast.out cimport Out, out_init
from gw._fast.path cimport path_reason
from gw._fast.pick cimport pick
from gw._fast.plane cimport (
    ACT_FORWARD, ACT_REDIRECT, BY_GATEWAY, BY_ORIGIN, STEP_ANSWER, STEP_NEXT, STEP_PARK, X_DONE_UP, X_HEAD_REQUEST, X_RESPONDING, X_WATCHED, Exchange, Identity, StepCall,
)
from gw._fast.relay cimport RELAY_DONE, RELAY_MORE, RELAY_SHORT, RELAY_TOO_LARGE
from gw._fast.selector cimport Selector, selector_key
from gw._fast.shm cimport ON_DONE, ON_ORIGIN_REQUEST, ON_REQUEST, ON_REQUEST_BODY, ON_RESPONSE
from gw._fast.slab cimport Buf, buf_give
from gw._fast.step cimport Step, holds_end
from gw._fast.stream cimport CONN_CLIENT, CONN_ORIGIN, PEER_EOF, RX_SIZE, TX_SIZE, Conn, clock_us

cdef enum: WAITING = -2


cdef void _resume(Exchange* x, int verdict) noexcept with gil:
    (<Inquiry>x.view_of).verdict = verdict


@cython.final
cdef class Inquiry:
    """One request asked of a lane that serves nobody. Call `route`, then `step` until it returns None, then what you want to know, and `close` it before the lane."""
    cdef Lane lane
    cdef Exchange* x            # owned
    cdef Conn* client           # owned: what its address, trust and TLS are said to be
    cdef Conn* origin           # owned: stands for a connection to the endpoint chosen
    cdef Buf body               # what the client has sent behind the head: `sent`
    cdef bytearray head         # what x.head points into; steps may take a credential out of it
    cdef bytes told             # the request's body; None: only the head is told
    cdef bytes sent             # it, in its framing
    cdef bytes given_head       # what the endpoint answers; None: that is not known
    cdef bytes given_body
    cdef bytes origin_head      # as it would go to the endpoint; None until it was written
    cdef bytes reply            # the endpoint's answer as the client would get it; None until it was written
    cdef dict steps             # (function, self) of a request or response step, (0, self) of one that watches -> Step
    cdef StepCall* at           # the step that waits for its task
    cdef Step running           # it
    cdef uint32_t at_origin     # the hold behind which the next step of ON_ORIGIN_REQUEST is looked for
    cdef int phase
    cdef int verdict            # of a step that waited, once its task is done
    cdef bint gathered          # a body of this phase is kept for its steps
    cdef bint answered          # gw answers by itself: a step has, or something failed

    def __cinit__(self, Lane lane not None, bytes head, str client, bint secure, int64_t now_us, int64_t wall_s, bytes body=None, tuple answer=None):
        cdef bytes address = client.encode()[:45]
        cdef Step step
        self.lane = lane
        self.head = bytearray(head)
        self.told = body
        if answer is not None:
            self.given_head, self.given_body = answer
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
        self.client.inbuf = &self.body
        self.client.flags |= PEER_EOF
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
        self.steps = {}
        for step in lane.current.steps:
            self.steps[(<uintptr_t>step.request.run, <uintptr_t>step.request.self)] = step
            self.steps[(<uintptr_t>step.response.run, <uintptr_t>step.response.self)] = step
            if step.watches:
                self.steps[(0, <uintptr_t>step.request.self)] = step

    def __dealloc__(self):
        self._end()

    def close(self) -> None:
        """Give back what the request holds. It cannot be asked again."""
        self._end()
        self.phase = ON_DONE

    cdef void _end(self) noexcept:
        if self.x != NULL and self.x.snapshot != NULL:
            holds_end(self.x)
            if self.x.identity.release != NULL:
                self.x.identity.release(self.x.identity.held)
            if self.x.view != NULL or self.x.parked != NULL:
                self.x.lane.release_python(self.x)
            if self.x.path_buf != NULL:
                buf_give(&self.x.lane.reactor.slab, self.x.path_buf)
            self.x.snapshot.users -= 1
            free(self.x.origin_edits.items)
            free(self.x.client_edits.items)
            free(self.x.holds.items)
            free(self.x.arena)
        free(self.x)
        free(self.client)
        free(self.origin)
        self.x = NULL
        self.client = self.origin = NULL

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
        body_start(&x.up, x.request.framing, x.request.length)
        if x.up.done or self.told is None:
            x.flags |= X_DONE_UP
        self.sent = _framed(self.told or b"", x.request.framing == BODY_CHUNKED)
        self.body.data = PyBytes_AS_STRING(self.sent)
        self.body.end = self.body.cap = <uint32_t>len(self.sent)
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
        """Run the next step, of whatever phase. `verdict`: pass, next (another alternative is tried), answer, or waits (for `task`; then ask `woken`).

        ValueError when a step looks at the body and none was given, or it is not the one that the head announces.
        """
        cdef StepCall* call
        cdef dict found
        while self.phase != ON_DONE:
            call = NULL if self.answered else self._due()
            if call == NULL:
                self._phase_over()
                continue
            found = self._run(call)
            if found is not None:
                return found
        return None

    cdef StepCall* _due(self) noexcept:
        cdef Exchange* x = self.x
        if self.phase == ON_REQUEST:
            return step_due(x)
        if self.phase == ON_REQUEST_BODY:
            return request_body_step(x) if self.gathered else NULL
        if self.phase == ON_ORIGIN_REQUEST:
            return origin_step(x, &self.at_origin) if x.flags & X_WATCHED and x.choice >= 0 else NULL
        if not x.flags & X_RESPONDING:
            return NULL
        if self.phase == ON_RESPONSE:
            x.step += 1
            return response_step(x, x.step - 1)
        return response_body_step(x) if self.gathered else NULL

    cdef dict _run(self, StepCall* call):
        """None of a step that has nothing to say: one that takes up its place for a later phase, or edits heads as configured."""
        cdef Step step = self.steps.get((<uintptr_t>call.run, <uintptr_t>call.self))
        cdef int64_t began = clock_us()
        if step is None:
            step = self.steps[(0, <uintptr_t>call.self)]
        self.at = call
        self.running = step
        self.verdict = call.run(call.self, self.x)
        if self.verdict == STEP_NEXT and (_PHASES[self.phase] not in step.phases() or (self.phase == ON_RESPONSE and not step.python)):
            return None
        return {"policy": step.name, "pointer": step.pointer, "phase": _PHASES[self.phase], "us": clock_us() - began, **self._judged()}

    cdef dict _judged(self):
        cdef str word = "pass"
        cdef str told, reason
        if self.verdict == STEP_PARK and self.x.park.leave != NULL:
            self.x.park.leave(self.x, False)    # nobody waits here: as when the longest wait is over; _resume keeps the verdict
        told = self.running.told(self.x, self.verdict) if self.phase == ON_REQUEST else ""
        reason = self.reason()
        if self.verdict == STEP_PARK:
            self.verdict = WAITING
            return {"verdict": "waits", "told": told, "reason": ""}
        if self.verdict != STEP_NEXT:
            word = "next" if self.phase == ON_REQUEST and self.at.else_step else "answer"
        self.answered = not step_goes_on(self.x, self.at, self.verdict)
        return {"verdict": word, "told": told, "reason": reason if word != "pass" else ""}

    @property
    def task(self):
        """What the step that waits is waiting for."""
        return (<object>self.x.parked).task if self.x.parked != NULL else None

    def woken(self) -> dict:
        """The verdict of the step whose task is done, as `step` gives it."""
        if self.verdict == WAITING:
            raise RuntimeError("the task of this step is not done")
        return self._judged()

    # Between two phases

    cdef _phase_over(self):
        if not self.answered:
            if self.phase == ON_REQUEST:
                self._take_body()
            elif self.phase == ON_REQUEST_BODY:
                self._choose()
            elif self.phase == ON_ORIGIN_REQUEST:
                self._forward()
            elif self.phase == ON_RESPONSE:
                self._take_answer_body()
            elif self.x.flags & X_RESPONDING:
                self._reply()
        self.phase += 1

    cdef _fail(self, uint8_t reason):
        self.x.own.reason = reason
        self.answered = True

    cdef _take_body(self):
        cdef Exchange* x = self.x
        cdef int code = RELAY_MORE
        if x.request.flags & MSG_UPGRADE and x.plan.action == ACT_FORWARD:
            allow_upgrade(x)
        self.gathered = x.request.flags & MSG_WATCHED and gathers_up(x)
        if not self.gathered:
            if self.told is not None and x.allowance.max_body and len(self.told) > x.allowance.max_body:
                self._fail(R_BODY_TOO_LARGE)        # a chunked one, of which the head does not tell
            x.flags |= X_DONE_UP
            return
        if self.told is None and not x.up.done:
            raise ValueError("a policy looks at this request's body: the head announces one, and none was given")
        while code == RELAY_MORE:
            code = gather_up(x)
        if code == RELAY_DONE:
            return
        if code not in (RELAY_TOO_LARGE, RELAY_SHORT):
            raise ValueError("the body is not the one that the head announces")
        x.flags |= X_DONE_UP
        self._fail(R_BODY_TOO_LARGE if code == RELAY_TOO_LARGE else R_OVERLOADED)

    cdef _choose(self):
        cdef Exchange* x = self.x
        if self.gathered and not (body_ready(x, False) and frame_up(x)):
            self._fail(R_OVERLOADED)
        elif x.plan.action == ACT_FORWARD and x.plan.service.n_pools:
            x.choice = pick(&x.plan.service.picker, x.lane.reactor.now_ms, 0)
            self.origin.owner = x.plan.service.pools[x.choice if x.choice >= 0 else 0]
            x.origin = self.origin

    cdef _forward(self):
        cdef Exchange* x = self.x
        cdef Out out
        if x.origin == NULL:
            return
        out_init(&out, x.lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
        request_head(x, &out)
        if out.full:
            self._fail(R_AMBIGUOUS_PATH if x.path_code else R_INTERNAL)
            return
        self.origin_head = PyBytes_FromStringAndSize(out.start, out.p - out.start)
        if self.given_head is not None and x.choice >= 0:
            self._take_answer()

    cdef _take_answer(self):
        cdef Exchange* x = self.x
        head_start(&x.answer_parser, &x.answer_head, MAX_FIELDS)
        if response_feed(&x.answer_parser, PyBytes_AS_STRING(self.given_head), <uint32_t>len(self.given_head), x.lane.reactor.slab.cap - 1, &x.answer) != H1_DONE:
            raise ValueError("the endpoint's answer is malformed")
        if x.answer.status < 200:
            raise ValueError(f"the endpoint's answer has the status {x.answer.status}, which is not a final one")
        x.status = x.answer.status
        x.by = BY_ORIGIN
        response_framing(&x.answer, x.flags & X_HEAD_REQUEST != 0, False)
        body_start(&x.down, x.answer.framing, x.answer.length)
        x.flags |= X_RESPONDING
        x.step = 0

    cdef _take_answer_body(self):
        cdef Exchange* x = self.x
        cdef bytes framed
        cdef int code
        self.gathered = x.flags & X_RESPONDING and x.bodies != NULL and gathers_down(x)
        if self.gathered:
            framed = _framed(self.given_body, x.down.framing == BODY_CHUNKED)
            code = gather_down(x, PyBytes_AS_STRING(framed), <uint32_t>len(framed))
            if code == RELAY_TOO_LARGE or code == RELAY_SHORT:
                self._fail(R_ANSWER_TOO_LARGE if code == RELAY_TOO_LARGE else R_OVERLOADED)
            elif code != RELAY_DONE:
                raise ValueError("the body of the endpoint's answer is not the one that its head announces")

    cdef _reply(self):
        cdef Exchange* x = self.x
        cdef Out out
        cdef bytes body
        if self.gathered:
            if not body_ready(x, True) or not frame_down(x):
                self._fail(R_OVERLOADED)
                return
            body = body_bytes(x, True)
        else:
            body = b"" if x.down.done else self.given_body
        choose_framing(x)
        out_init(&out, x.lane.reactor.tx, TX_SIZE - RX_SIZE - 16384)
        response_head(x, &out)
        if out.full:
            self._fail(R_ORIGIN_HEAD_TOO_LARGE)
        else:
            self.reply = PyBytes_FromStringAndSize(out.start, out.p - out.start) + body

    # What came of it: nobody may ask once it is closed

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
        """Index of the endpoint that would be chosen now, -1 when the service has none that may be tried, or nothing is forwarded."""
        return self.x.choice

    def forwarded(self) -> bytes:
        """The head as it would go to the endpoint; empty when nothing is forwarded."""
        return self.origin_head or b""

    def forwarded_body(self) -> bytes | None:
        """The body as it would follow, without its framing; None when it is not known."""
        if self.origin_head is None or self.told is None:
            return None
        if self.x.bodies != NULL and self.x.bodies.up.whole:
            return body_bytes(self.x, False)
        return self.told

    def answer(self) -> bytes:
        """What the client gets, bodies without their framing: the endpoint's answer if that was given, or the one that gw makes by itself; else empty."""
        cdef Exchange* x = self.x
        cdef Out out
        cdef StepCall* call
        if not self.answered and x.plan.action == ACT_FORWARD:
            return self.reply or b""
        x.by = BY_GATEWAY
        x.reason = x.own.reason
        x.status = reason_text(x.own.reason).status if x.own.reason else x.own.status if self.answered else x.plan.status
        x.answer_head.n_fields = 0
        x.answer.status = x.status
        if not x.flags & X_RESPONDING:
            x.flags |= X_RESPONDING
            x.step = 0                  # those that saw the answer this one replaces are done
        while True:
            call = response_step(x, x.step)
            if call == NULL:
                break
            x.step += 1
            if call.run(call.self, x) == STEP_ANSWER:
                self.answered = True
                x.reason = x.own.reason
                x.answer.status = x.status = reason_text(x.own.reason).status
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


cdef bytes _framed(bytes body, bint chunked):
    """As it would come from its sender: in one chunk, or as it is."""
    return (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n" if chunked else body
