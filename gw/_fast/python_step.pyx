cimport cython
import asyncio
import inspect
import traceback

from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_INCREF
from libc.stdint cimport int64_t, uint32_t

from gw._fast.shm import PHASES as _PHASES

from gw._fast.answer cimport R_DECISION_UNAVAILABLE, R_HOOK_FAILED, R_HOOK_TIMEOUT, R_OVERLOADED, reason_index
from gw._fast.bodies cimport body_bytes, body_put, body_ready, body_watch
from gw._fast.budget cimport Budget, budget_spent
from gw._fast.hist cimport hist_add
from gw._fast.hooks cimport Refusal, Request, Response, field_lines, hook_view, text_kept
from gw._fast.plane cimport BY_GATEWAY, STEP_ANSWER, STEP_NEXT, STEP_PARK, Exchange, Watch
from gw._fast.shm cimport (
    ON_DONE, ON_ORIGIN_REQUEST, ON_REQUEST, ON_REQUEST_BODY, ON_RESPONSE, ON_RESPONSE_BODY, PolicyStats, Segment, shm_policy,
)
from gw._fast.step cimport Step, step_refuses
from gw._fast.stream cimport clock_us

cdef object _get_running_loop = asyncio.get_running_loop
cdef enum:
    ANSWER_MAX = 196608         # an answer of our own leaves in one piece: this much of it, and our own fields, fit reactor.tx

cdef dict RETURNS = {ON_REQUEST: "None, a Response or a Refusal", ON_REQUEST_BODY: "None, bytes, a Response or a Refusal", ON_RESPONSE_BODY: "None or bytes"}


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
            parked.step.report("hook-timeout", {"policy": parked.step.name, "waited_ms": x.snapshot.hook_ms, "request_id": hook_view(x).id})
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
        return (<PythonStep>self)._call(x, ON_REQUEST)


cdef int _run_watch(void* self, Exchange* x) noexcept nogil:
    return (<PythonStep>self)._watch(x)


cdef int _run_request_body(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, ON_REQUEST_BODY)


cdef int _run_origin_request(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, ON_ORIGIN_REQUEST)


cdef int _run_response(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, ON_RESPONSE)


cdef int _keep_head(void* self, Exchange* x) noexcept nogil:
    """A plan with a response step keeps the answer's head: that of a policy which looks at the body alone."""
    return STEP_NEXT


cdef int _run_response_body(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, ON_RESPONSE_BODY)


cdef int _run_done(void* self, Exchange* x) noexcept nogil:
    with gil:
        return (<PythonStep>self)._call(x, ON_DONE)


@cython.final
cdef class PythonStep(Step):
    """Calls a policy's Python hooks. An `async def` hook parks its exchange until it is done; `origin_request` and `done` must be plain functions."""
    cdef tuple hooks            # by phase; None: there is none
    cdef tuple waits            # by phase: it is an `async def`
    cdef object attached
    cdef object report
    cdef Watch watch            # of bodies, and of what goes to endpoints
    cdef int slot               # of the policy in the segment; -1: none
    cdef Segment segment        # keeps `stats` mapped
    cdef PolicyStats* stats     # of the lane's worker; NULL until a lane runs it
    cdef Budget budget

    def __init__(
        self, name: str, request=None, response=None, done=None, attached=None, slot: int = -1, budget: dict | None = None, *, request_body=None, origin_request=None,
        response_body=None, body_limit: int = 1 << 20,
    ) -> None:
        Step.__init__(self, name)
        if body_limit < 1:
            raise ValueError(f"policy {name}: body_limit is a number of bytes from 1; got {body_limit}")
        self.python = True
        self.attached = attached
        self.hooks = (request, request_body, origin_request, response, response_body, done)
        self.waits = tuple([inspect.iscoroutinefunction(hook) for hook in self.hooks])
        self.slot = slot
        self.budget = budget or {"time_us": 0, "window": 0, "most": 0, "quarantine": 0, "skips": 0}
        for phase, reason in ((ON_DONE, "runs after the exchange and cannot be async"), (ON_ORIGIN_REQUEST, "runs while a connection waits for it and cannot be async")):
            if self.waits[phase]:
                raise TypeError(f"policy {name}: the hook `{_PHASES[phase]}` {reason}")
        self.request.self = self.response.self = self.done.self = <void*>self
        self.watch.request_body.self = self.watch.origin_request.self = self.watch.response_body.self = <void*>self
        self.watch.limit = body_limit
        if request_body is not None:
            self.watch.request_body.run = _run_request_body
        if origin_request is not None:
            self.watch.origin_request.run = _run_origin_request
        if response_body is not None:
            self.watch.response_body.run = _run_response_body
            self.response.run = _keep_head
        if request_body is not None or origin_request is not None or response_body is not None:
            self.watches = True
            self.request.run = _run_watch
        if request is not None:
            self.request.run = _run_request
        if response is not None:
            self.response.run = _run_response
        if done is not None:
            self.done.run = _run_done

    def phases(self) -> list:
        return [phase for phase, hook in zip(_PHASES, self.hooks) if hook is not None]

    cdef int _watch(self, Exchange* x) noexcept nogil:
        """From here on: a step that was passed over as an alternative, or that refused, sees no body."""
        return STEP_NEXT if body_watch(x, &self.watch) else step_refuses(x, R_OVERLOADED, NULL, 0)

    def attach(self, report) -> None:
        """Where failures go: report(event, fields)."""
        self.report = report
        if self.attached is not None:
            self.attached(report)

    def count_in(self, Segment segment not None, int worker) -> None:
        if self.slot >= 0:
            self.segment = segment
            self.stats = shm_policy(segment, worker, self.slot)

    cdef int _call(self, Exchange* x, int phase):
        cdef int64_t began
        cdef int verdict
        cdef bint waits = self.waits[phase]
        if waits and x.by == BY_GATEWAY:
            return STEP_NEXT            # an answer of our own leaves at once: nothing waits in front of it
        if self.stats != NULL and self.stats.quarantined == x.snapshot.revision:
            return self._without(x, phase)
        if (phase == ON_REQUEST_BODY or phase == ON_RESPONSE_BODY) and not body_ready(x, phase == ON_RESPONSE_BODY):
            return step_refuses(x, R_OVERLOADED, NULL, 0)
        x.lane.stats.hook_calls += 1
        began = clock_us()
        try:
            found = self._ask(x, phase)
            if waits:
                self._start(x, found, phase)
                return STEP_PARK
            verdict = self._take(x, found, phase)
        except BaseException as error:  # the task's border of a hook: logged with traceback and policy; what got past it would end the process or let the request through
            verdict = self._failed(x, error)
        self._took(x, began, phase)
        return verdict

    cdef object _ask(self, Exchange* x, int phase):
        if phase == ON_REQUEST_BODY or phase == ON_RESPONSE_BODY:
            return self.hooks[phase](hook_view(x), body_bytes(x, phase == ON_RESPONSE_BODY))
        return self.hooks[phase](hook_view(x))

    cdef int _without(self, Exchange* x, int phase):
        self.stats.skipped += 1
        if self.budget.skips or phase == ON_DONE or x.by == BY_GATEWAY:
            return STEP_NEXT
        return step_refuses(x, R_DECISION_UNAVAILABLE, NULL, 0)

    cdef _took(self, Exchange* x, int64_t began, int phase):
        cdef int64_t blocked = clock_us() - began
        if self.stats != NULL:
            hist_add(&self.stats.phases[phase], blocked)
            if self.budget.time_us and budget_spent(&self.budget, self.stats, blocked) and x != NULL:
                self._overspent(x.snapshot.revision)
        if x != NULL and blocked > x.lane.hook_warn_us:
            x.lane.stats.hook_slow += 1
            self.report("hook-slow", {"policy": self.name, "blocked_ms": blocked // 1000, "request_id": hook_view(x).id})

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
        self._tell(error, hook_view(x).id)
        return STEP_ANSWER

    cdef _tell(self, error, str request_id):
        self.report("hook-failed", {"policy": self.name, "error": repr(error), "request_id": request_id, "traceback": "".join(traceback.format_exception(error))})

    cdef int _take(self, Exchange* x, answer, int phase) except -1:
        """None: go on. A Response: it is the answer. Bytes: they are the body."""
        cdef Response response
        cdef bytes fields, body
        cdef const char* kept
        cdef bint may_answer = phase == ON_REQUEST or phase == ON_REQUEST_BODY
        if answer is None:
            return self._watch(x) if phase == ON_REQUEST and self.watches else STEP_NEXT
        if (phase == ON_REQUEST_BODY or phase == ON_RESPONSE_BODY) and isinstance(answer, bytes):
            return STEP_NEXT if body_put(x, phase == ON_RESPONSE_BODY, answer) else step_refuses(x, R_OVERLOADED, NULL, 0)
        if may_answer and isinstance(answer, Refusal):
            return self._refuse(x, answer)
        if not may_answer or not isinstance(answer, Response):
            raise TypeError(f"policy {self.name}: {_PHASES[phase]} returns {RETURNS.get(phase, 'None')}; got {type(answer).__name__}")
        response = answer
        body = response.body.encode() if isinstance(response.body, str) else response.body
        fields = field_lines(response.headers)
        if len(fields) + len(body) > ANSWER_MAX:
            raise ValueError(f"policy {self.name}: fields and body of a Response hold at most {ANSWER_MAX} bytes; got {len(fields) + len(body)}")
        kept = text_kept(x, fields + body)
        x.own.status = response.status
        x.own.fields = kept
        x.own.fields_len = len(fields)
        x.own.body = kept + len(fields)
        x.own.body_len = len(body)
        x.own.by_hook = 1
        return STEP_ANSWER

    cdef int _refuse(self, Exchange* x, Refusal refusal) except -1:
        cdef bytes fields = field_lines(refusal.headers)
        x.own.reason = reason_index(refusal.reason)
        x.own.fields = text_kept(x, fields)
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
                verdict = self.step._take(x, task.result(), self.phase)
            except Exception as error:      # as in _call; a fault that passed here would leave the exchange waiting for ever
                verdict = self.step._failed(x, error)
        with nogil:
            x.lane.resume(x, verdict)

    def __repr__(self) -> str:
        return f"<Parked {self.step.name}: {self.coroutine!r}>"
