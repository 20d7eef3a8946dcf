cimport cython
import json

from cpython.bytes cimport PyBytes_AS_STRING
from cpython.object cimport PyObject
from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from gw._fast.pages cimport table_room
from gw._fast.pick cimport Choice
from gw._fast.plane cimport (
    ACT_FORWARD, ACT_REDIRECT, ACT_RESPOND, HOST_ENDPOINT, HOST_LITERAL, HOST_PRESERVE, PART_HOST, PART_PARAM, PART_PATH, PART_QUERY, PART_REST, PART_SCHEME, PART_TEXT,
    Cidr, Consumer, Part, Plan, Pool, Service, StepCall, Steps, Template,
)
from gw._fast.step cimport Step

ACTIONS = {"forward": ACT_FORWARD, "redirect": ACT_REDIRECT, "respond": ACT_RESPOND}
HOSTS = {"preserve": HOST_PRESERVE, "endpoint": HOST_ENDPOINT, "literal": HOST_LITERAL}
PARTS = {"text": PART_TEXT, "param": PART_PARAM, "rest": PART_REST, "scheme": PART_SCHEME, "host": PART_HOST, "path": PART_PATH, "query": PART_QUERY}


cdef bytes _json_text(str text):
    """The inside of a JSON string."""
    cdef bytes quoted = json.dumps(text).encode()
    return quoted[1:len(quoted) - 1]


@cython.final
cdef class Snapshot:
    """Built by gw.runtime from plain values; every text is copied, every number is checked there."""

    def __init__(self, revision: int, settings: dict, router: Router, services: list, plans: list, listeners: list, consumers: list) -> None:
        self.revision = revision
        self.settings = settings
        self.router = router
        self.services = services
        self.plans = plans
        self.listeners = listeners
        self.consumers = consumers
        self.consumer_index = {given["name"]: i for i, given in enumerate(consumers)}
        self.steps = [step for each in [*plans, *consumers] for step in each["steps"]]
        self.held = []
        self.state = <SnapshotState*>calloc(1, sizeof(SnapshotState))
        if self.state == NULL:
            raise MemoryError
        self.state.owner = <PyObject*>self
        self.state.revision = revision
        self.state.router = router.state
        self._fill_settings(settings)
        self._fill_services(services)
        self._fill_consumers(consumers)
        self._fill_plans(plans)

    cdef const char* _hold(self, bytes text):
        self.held.append(text)
        return PyBytes_AS_STRING(text)

    cdef _fill_settings(self, dict settings):
        cdef SnapshotState* s = self.state
        cdef bytes name = settings["request_id"].encode()
        cdef bytes address
        cdef uint32_t i
        s.max_head = settings["max_head"]
        s.max_line = settings["max_line"]
        s.max_fields = settings["max_fields"]
        s.max_requests = settings["max_requests"]
        s.head_ms = settings["head_ms"]
        s.keep_alive_ms = settings["keep_alive_ms"]
        s.linger_ms = settings["linger_ms"]
        s.hook_ms = settings["hook_ms"]
        s.path_flags = settings["path_flags"]
        s.x_forwarded = settings["x_forwarded"]
        s.forwarded = settings["forwarded"]
        s.via = settings["via"]
        s.log = settings["log"]
        if len(name) >= sizeof(s.id_name):
            raise ValueError("the request id's field name is too long")
        s.id_name_len = len(name)
        memcpy(s.id_name, PyBytes_AS_STRING(name), len(name))
        name = name.lower()
        memcpy(s.id_lower, PyBytes_AS_STRING(name), len(name))
        trusted = settings["trusted"]
        s.n_trusted = len(trusted)
        s.trusted = <Cidr*>calloc(len(trusted) + 1, sizeof(Cidr))
        if s.trusted == NULL:
            raise MemoryError
        for i, (address, bits) in enumerate(trusted):
            memcpy(s.trusted[i].bytes, PyBytes_AS_STRING(address), 16)
            s.trusted[i].bits = bits

    cdef _fill_services(self, list services):
        cdef Service* service
        cdef uint32_t i, n
        cdef bytes text
        self.state.n_services = len(services)
        self.state.services = <Service*>calloc(len(services) + 1, sizeof(Service))
        if self.state.services == NULL:
            raise MemoryError
        for i, given in enumerate(services):
            service = &self.state.services[i]
            text = _json_text(given["name"])
            service.name = self._hold(text)
            service.name_len = len(text)
            n = len(given["endpoints"])
            service.n_pools = n
            service.pools = <Pool**>calloc(n + 1, sizeof(Pool*))
            service.picker.choices = <Choice*>calloc(n + 1, sizeof(Choice))
            if service.pools == NULL or service.picker.choices == NULL:
                raise MemoryError
            service.retries = given["retries"]
            service.fails = given["fails"]
            service.eject_ms = given["eject_ms"]
            service.retry_tokens = 100000
            service.host_mode = HOSTS[given["host_mode"]]
            text = given["host_text"].encode()
            service.host_text = self._hold(text)
            service.host_len = len(text)

    cdef _fill_plans(self, list plans):
        cdef uint32_t i
        self.state.n_plans = len(plans)
        self.state.plans = <Plan*>calloc(len(plans) + 1, sizeof(Plan))
        if self.state.plans == NULL:
            raise MemoryError
        for i, given in enumerate(plans):
            self._fill_plan(&self.state.plans[i], given)
        self.state.nowhere.allowance.idle_ms = self.state.head_ms
        self.state.nowhere.action = ACT_RESPOND

    cdef _fill_plan(self, Plan* plan, dict given):
        cdef bytes text = _json_text(given["name"])
        plan.name = self._hold(text)
        plan.name_len = len(text)
        plan.action = ACTIONS[given["action"]]
        if plan.action == ACT_FORWARD:
            plan.service = &self.state.services[given["service"]]
        plan.host_mode = HOSTS[given["host_mode"]]
        text = given["host_text"].encode()
        plan.host_text = self._hold(text)
        plan.host_len = len(text)
        plan.strip_prefix = given["strip_prefix"]
        plan.status = given["status"]
        plan.fields = self._hold(given["fields"])
        plan.fields_len = len(given["fields"])
        plan.body = self._hold(given["body"])
        plan.body_len = len(given["body"])
        plan.allowance.max_body = given["max_body"]
        plan.allowance.connect_ms = given["connect_ms"]
        plan.allowance.answer_ms = given["answer_ms"]
        plan.allowance.idle_ms = given["idle_ms"]
        plan.tunnel_ms = given["tunnel_ms"]
        self._fill_upgrades(plan, given["upgrades"])
        self._fill_template(&plan.rewrite, given["rewrite"])
        self._fill_template(&plan.redirect, given["redirect"])
        self._fill_steps(&plan.steps, given["steps"], given["jumps"])

    cdef _fill_consumers(self, list consumers):
        cdef Consumer* consumer
        cdef list names = [given["name"].encode() for given in consumers]
        cdef list groups = [",".join(given["groups"]).encode() for given in consumers]
        cdef const char* text = self._hold(b"".join([part for pair in zip(names, groups) for part in pair]))    # side by side: many fit the cache
        cdef uint32_t i
        self.state.consumers = <Consumer*>table_room((len(consumers) + 1) * sizeof(Consumer))
        if self.state.consumers == NULL:
            raise MemoryError
        memset(self.state.consumers, 0, (len(consumers) + 1) * sizeof(Consumer))
        self.state.n_consumers = len(consumers)
        for i, given in enumerate(consumers):
            consumer = &self.state.consumers[i]
            consumer.index = i
            consumer.name = text
            consumer.name_len = len(names[i])
            consumer.groups = text + consumer.name_len
            consumer.groups_len = len(groups[i])
            text = consumer.groups + consumer.groups_len
            consumer.steps = &self.state.nowhere.steps
            if given["steps"]:
                consumer.steps = <Steps*>calloc(1, sizeof(Steps))
                if consumer.steps == NULL:
                    raise MemoryError
                self._fill_steps(consumer.steps, given["steps"], given["jumps"])

    cdef _fill_upgrades(self, Plan* plan, list upgrades):
        cdef bytes joined = "".join(upgrades).lower().encode()
        cdef uint32_t i, at = 0
        plan.upgrade_text = self._hold(joined)
        plan.n_upgrades = len(upgrades)
        for i, name in enumerate(upgrades):
            plan.upgrades[i].off = at
            plan.upgrades[i].len = len(name)
            at += len(name)

    cdef _fill_template(self, Template* template, list parts):
        cdef uint32_t i
        cdef bytes text
        if not parts:
            return
        template.parts = <Part*>calloc(len(parts), sizeof(Part))
        if template.parts == NULL:
            raise MemoryError
        template.n = len(parts)
        for i, (kind, value) in enumerate(parts):
            template.parts[i].kind = PARTS[kind]
            if kind == "text":
                text = value.encode()
                template.parts[i].text = self._hold(text)
                template.parts[i].len = len(text)
            elif kind == "param":
                template.parts[i].param = value

    cdef _fill_steps(self, Steps* into, list steps, dict jumps):
        """`jumps`: position in steps -> (position where it goes on, or 0; position of the next alternative, or 0)."""
        cdef Step step
        cdef StepCall* call
        cdef list asked = [position for position, step in enumerate(steps) if step.request.run != NULL]
        cdef list response = [step for step in reversed(steps) if step.response.run != NULL]
        cdef list done = [step for step in reversed(steps) if step.done.run != NULL]
        into.n_request = len(asked)
        into.n_response = len(response)
        into.n_done = len(done)
        into.on_request = <StepCall*>calloc(len(asked) + 1, sizeof(StepCall))
        into.on_response = <StepCall*>calloc(len(response) + 1, sizeof(StepCall))
        into.on_done = <StepCall*>calloc(len(done) + 1, sizeof(StepCall))
        if into.on_request == NULL or into.on_response == NULL or into.on_done == NULL:
            raise MemoryError
        for i, position in enumerate(asked):
            step = steps[position]
            call = &into.on_request[<uint32_t>i]
            call[0] = step.request
            then, other = jumps.get(position, (0, 0))
            call.then_step = sum(each < then for each in asked)
            call.else_step = sum(each < other for each in asked)
        for i, step in enumerate(response):
            into.on_response[<uint32_t>i] = step.response
        for i, step in enumerate(done):
            into.on_done[<uint32_t>i] = step.done

    def users(self) -> int:
        """Exchanges of this process that run on it."""
        return self.state.users

    def __repr__(self) -> str:
        return f"<Snapshot {self.revision}: {self.state.n_plans} routes, {self.state.n_services} services, {self.state.users} users>"

    def __dealloc__(self):
        cdef uint32_t i
        if self.state == NULL:
            return
        if self.state.services != NULL:
            for i in range(self.state.n_services):
                free(self.state.services[i].pools)
                free(self.state.services[i].picker.choices)
        if self.state.plans != NULL:
            for i in range(self.state.n_plans):
                _free_plan(&self.state.plans[i])
        if self.state.consumers != NULL:
            for i in range(self.state.n_consumers):
                if self.state.consumers[i].steps != NULL and self.state.consumers[i].steps != &self.state.nowhere.steps:
                    _free_steps(self.state.consumers[i].steps)
                    free(self.state.consumers[i].steps)
        free(self.state.consumers)
        free(self.state.services)
        free(self.state.plans)
        free(self.state.trusted)
        free(self.state)


cdef void _free_plan(Plan* plan):
    free(plan.rewrite.parts)
    free(plan.redirect.parts)
    _free_steps(&plan.steps)


cdef void _free_steps(Steps* steps):
    free(steps.on_request)
    free(steps.on_response)
    free(steps.on_done)
