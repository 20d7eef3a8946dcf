"""The route tree. Each node is one path segment, found by a hash of all literal segments from the root; a lookup costs a cache line per segment.

Whole segments are the edges, not bytes: a prefix ends at a segment's end by nature, and the cost does not grow with the number of routes.
Literal segments are compared percent-decoded, so that `/%40me` is taken by a route for `/@me`: the service would not tell them apart either.
"""
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcmp, memcpy, memset

cimport cython

from gw._fast.headers cimport MAX_FIELDS, Field, Head, Target
from gw._fast.octets cimport trailing_zeros, word_at
from gw._fast.predicate cimport OP_ABSENT, OP_EQ, OP_PRESENT, OP_REGEX, Predicate, next_octet, predicates_hold
from gw._fast.regex cimport Program, Regex, regex_groups, regex_match

from gw._fast.forest import Forest, Route, Text, ordered_methods
from gw._fast.losers import Question, explain

cdef extern from *:
    """
    #include <stdlib.h>
    #define GW_EVERY_BYTE 0x0101010101010101ULL
    static inline uint64_t gw_mix(uint64_t a, uint64_t b) {
        __uint128_t product = (__uint128_t)a * b;
        return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    /* 0x80 in the lowest byte of `word` that equals c; bytes above it may be marked without cause. */
    static inline uint64_t gw_mark(uint64_t word, uint8_t c) {
        uint64_t x = word ^ (GW_EVERY_BYTE * c);
        return (x - GW_EVERY_BYTE) & ~x & (GW_EVERY_BYTE * 0x80);
    }
    """
    uint64_t gw_mix(uint64_t a, uint64_t b) noexcept nogil
    uint64_t gw_mark(uint64_t word, uint8_t c) noexcept nogil
    void* aligned_alloc(size_t alignment, size_t size) noexcept nogil

cdef enum:                      # rank of a hit; a prefix ranks 2 x its segments, + 1 with a trailing '/'
    RANK_EXACT = 2 * MAX_SEGMENTS + 2
    RANK_FIRST = RANK_EXACT + 1
    RANK_NONE = -1

cdef enum:
    WORD = 8

cdef uint64_t STEP = 0x9E3779B97F4A7C15     # odd, no pattern in its bits: 2^64 divided by the golden ratio
cdef uint64_t LAST = 0xD6E8FEB86659FD93

_OPS = {"eq": OP_EQ, "regex": OP_REGEX, "present": OP_PRESENT, "absent": OP_ABSENT}


# ---------------------------------------------------------------- lookup

cdef struct Segment:            # one segment of the path as it is scanned
    uint32_t end                # offset of the '/' after it, or of the path's end
    bint escaped                # holds a '%'
    uint64_t hash               # of the literal segments up to and including it


cdef struct Hit:                # a node that takes the path, and for which routes
    int rank
    uint32_t turn               # how many hits the walk met before it: the order among equals
    int32_t candidate           # first of those
    uint32_t end                # bytes of path taken


cdef struct Turn:               # a parameter branch that the walk has yet to try
    int32_t node
    uint32_t at
    uint64_t hash
    int depth


cdef struct Scan:               # one lookup
    const RouterState* state
    const Target* target
    uint64_t method             # bit of the target's method; 0 when no route names it
    uint64_t allowed            # methods of the routes that take everything else
    const Candidate* winner
    const Program* program      # of the winner, when it is a regex
    uint32_t taken              # bytes of path that the winner took


cdef inline uint64_t _absorb(uint64_t hash, uint64_t word) noexcept nogil:
    return gw_mix((hash ^ word) + STEP, STEP)


cdef inline uint64_t _finish(uint64_t hash, uint64_t word, uint32_t n) noexcept nogil:
    return gw_mix((hash ^ word) + STEP, LAST ^ n)


cdef inline void _scan_segment(const char* path, uint32_t at, uint32_t n, uint64_t hash, Segment* segment) noexcept nogil:
    cdef uint32_t start = at
    cdef uint64_t word, stop, percent
    segment.escaped = False
    while True:
        word = word_at(path + at, n - at)
        stop = gw_mark(word, c'/')
        percent = gw_mark(word, c'%')
        if n - at < WORD:
            stop |= <uint64_t>0x80 << (8 * (n - at))
        if stop:
            stop &= 0 - stop        # the lowest mark, the only one to trust
            segment.escaped |= (percent & (stop - 1)) != 0
            word &= (stop >> 7) - 1
            segment.end = at + (<uint32_t>trailing_zeros(stop) >> 3)
            segment.hash = _finish(hash, word, segment.end - start)
            return
        segment.escaped |= percent != 0
        hash = _absorb(hash, word)
        at += WORD


# What _scan_segment computes, for a label that may hold any byte.
cdef uint64_t _hash(const char* label, uint32_t n, uint64_t hash) noexcept nogil:
    cdef uint32_t at = 0
    while n - at >= WORD:
        hash = _absorb(hash, word_at(label + at, WORD))
        at += WORD
    return _finish(hash, word_at(label + at, n - at), n)


cdef inline bint _is_label(const RouterState* state, const Node* node, const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t at = 0
    if node.label_len != n:
        return False
    if n > INLINE_LABEL:
        return memcmp(state.text + node.label, s, n) == 0
    while n - at >= WORD:
        if node.words[at >> 3] != word_at(s + at, WORD):
            return False
        at += WORD
    return at == n or node.words[at >> 3] == word_at(s + at, n - at)


cdef inline int32_t _child(const RouterState* state, int32_t parent, uint64_t hash, const char* s, uint32_t n) noexcept nogil:
    cdef uint32_t slot = <uint32_t>hash & state.mask
    cdef const Node* node = &state.nodes[slot]
    while node.parent:
        if node.hash == <uint32_t>(hash >> 32) and node.parent == <uint32_t>parent + 1 and _is_label(state, node, s, n):
            return <int32_t>slot
        slot = (slot + 1) & state.mask
        node = &state.nodes[slot]
    return -1


cdef int32_t _escaped_child(const RouterState* state, int32_t parent, uint64_t* hash, const char* s, uint32_t n) noexcept nogil:
    cdef char label[MAX_LABEL]
    cdef uint32_t at = 0, length = 0
    while at < n:
        if length == MAX_LABEL:
            return -1
        label[length] = next_octet(s, n, &at)
        length += 1
    hash[0] = _hash(label, length, hash[0])
    return _child(state, parent, hash[0], label, length)


# The best hit of a tree that comes after `after` (rank high to low, then in the order of the walk, literals first). False when there is none.
cdef bint _next_hit(const RouterState* state, int32_t root, const char* path, uint32_t n, const Hit* after, Hit* best) noexcept nogil:
    cdef Turn turns[MAX_SEGMENTS]
    cdef int n_turns = 0, depth = 0
    cdef uint32_t at = 1, seen = 0     # `at` is where the next segment starts; beyond n when the path ends before it
    cdef int32_t at_node = root, literal
    cdef uint64_t hash = <uint64_t>root * STEP, above
    cdef const Node* node
    cdef Segment segment
    best.rank = RANK_NONE
    while True:
        node = &state.nodes[at_node]
        if node.prefix >= 0:
            _consider(2 * depth, node.prefix, at - 1, &seen, after, best)
        if at <= n:
            if node.below >= 0:
                _consider(2 * depth + 1, node.below, at - 1, &seen, after, best)
            literal = -1
            if node.has_literals or node.param >= 0:
                above = hash
                _scan_segment(path, at, n, hash, &segment)
                hash = segment.hash
                if node.has_literals:
                    if not segment.escaped:
                        literal = _child(state, at_node, hash, path + at, segment.end - at)
                    else:
                        hash = above
                        literal = _escaped_child(state, at_node, &hash, path + at, segment.end - at)
                depth += 1
                if node.param >= 0 and segment.end > at:
                    if literal < 0:
                        at_node = node.param
                        at = segment.end + 1
                        hash = _finish(above, 0, 0)
                        continue
                    turns[n_turns].node = node.param
                    turns[n_turns].at = segment.end + 1
                    turns[n_turns].hash = _finish(above, 0, 0)
                    turns[n_turns].depth = depth
                    n_turns += 1
                if literal >= 0:
                    at_node = literal
                    at = segment.end + 1
                    continue
        elif node.exact >= 0 and _consider(RANK_EXACT, node.exact, n, &seen, after, best):
            return True
        if n_turns == 0:
            return best.rank != RANK_NONE
        n_turns -= 1
        at_node = turns[n_turns].node
        at = turns[n_turns].at
        hash = turns[n_turns].hash
        depth = turns[n_turns].depth


cdef inline bint _consider(int rank, int32_t candidate, uint32_t end, uint32_t* seen, const Hit* after, Hit* best) noexcept nogil:
    seen[0] += 1
    if rank <= best.rank or rank > after.rank or (rank == after.rank and seen[0] <= after.turn):
        return False
    best.rank = rank
    best.turn = seen[0]
    best.candidate = candidate
    best.end = end
    return True


cdef inline const char* _text(const RouterState* state, uint32_t at) noexcept nogil:
    return state.text + at


cdef inline bint _holds(const Scan* scan, const Candidate* c) noexcept nogil:
    return c.n_headers + c.n_query == 0 or predicates_hold(scan.state.text, scan.state.predicates + c.predicates, c.n_headers, c.n_query, scan.target)


cdef bint _take(Scan* scan, uint32_t first) noexcept nogil:
    cdef const Candidate* candidate = &scan.state.candidates[first]
    while True:
        if _holds(scan, candidate):
            if candidate.methods == 0 or candidate.methods & scan.method:
                scan.winner = candidate
                return True
            scan.allowed |= candidate.methods
        if candidate.last:
            return False
        candidate += 1


cdef bint _search_tree(Scan* scan, const Tree* tree) noexcept nogil:
    cdef Hit after, hit
    cdef const Expression* expression
    cdef uint32_t i
    after.rank = RANK_FIRST
    after.turn = 0
    while _next_hit(scan.state, <int32_t>tree.root, scan.target.path, scan.target.path_len, &after, &hit):
        if _take(scan, <uint32_t>hit.candidate):
            scan.taken = hit.end
            return True
        after = hit
    for i in range(tree.n_expressions):
        expression = &scan.state.expressions[tree.expressions + i]
        if regex_match(expression.program, scan.target.path, scan.target.path_len) and _take(scan, expression.candidate):
            scan.taken = scan.target.path_len
            scan.program = expression.program
            return True
    return False


cdef const Tree* _host_tree(const RouterState* state, const char* host, uint32_t n) noexcept nogil:
    cdef uint32_t slot = <uint32_t>_hash(host, n, 0) & state.hosts_mask
    cdef const Tree* tree
    while state.hosts[slot]:
        tree = &state.trees[state.hosts[slot] - 1]
        if tree.host_len == n and memcmp(_text(state, tree.host), host, n) == 0:
            return tree
        slot = (slot + 1) & state.hosts_mask
    return NULL


# Hosts from exact over the longest wildcard to any.
cdef bint _search(Scan* scan) noexcept nogil:
    cdef const RouterState* state = scan.state
    cdef const char* host = scan.target.host
    cdef uint32_t n = scan.target.host_len, i
    cdef const Tree* tree
    if state.n_exact_hosts and n:
        tree = _host_tree(state, host, n)
        if tree != NULL and host[0] != c'.' and _search_tree(scan, tree):
            return True
    if state.longest_wildcard:
        for i in range(n - state.longest_wildcard if n > state.longest_wildcard else 1, n):
            if host[i] == c'.':
                tree = _host_tree(state, host + i, n - i)
                if tree != NULL and _search_tree(scan, tree):
                    return True
    return state.any_host >= 0 and _search_tree(scan, &state.trees[state.any_host])


cdef uint64_t _method_bit(const RouterState* state, const char* method, uint32_t n) noexcept nogil:
    cdef uint32_t i
    for i in range(state.n_methods):
        if state.methods[i].len == n and memcmp(_text(state, state.methods[i].name), method, n) == 0:
            return <uint64_t>1 << i
    return 0


cdef void _store_params(const Scan* scan, Match* match) noexcept nogil:
    cdef const Candidate* candidate = scan.winner
    cdef const char* path = scan.target.path
    cdef uint32_t at = 1, end, number = 0, i = 0
    while i < candidate.n_params:
        end = at
        while end < scan.target.path_len and path[end] != c'/':
            end += 1
        if scan.state.params[candidate.params + i] == number:
            match.params[i].off = at
            match.params[i].len = end - at
            i += 1
        number += 1
        at = end + 1
    match.n_params = candidate.n_params


cdef void router_find(const RouterState* state, const Target* target, Match* match, void* trace) noexcept nogil:
    cdef Scan scan
    memset(&scan, 0, sizeof(scan))
    scan.state = state
    scan.target = target
    scan.method = _method_bit(state, target.method, target.method_len)
    match.n_params = 0
    match.prefix_len = 0
    if _search(&scan):
        match.route = scan.winner.route
        match.prefix_len = scan.taken
        if scan.program != NULL:
            match.n_params = <uint32_t>regex_groups(scan.program, target.path, target.path_len, match.params)
        elif scan.winner.n_params:
            _store_params(&scan, match)
    else:
        match.route = ROUTE_METHOD if scan.allowed else ROUTE_NONE
    if trace != NULL:
        _trace(state, target, match.route, trace)


cdef int router_allow(const RouterState* state, const Target* target, char* out, int cap) noexcept nogil:
    cdef Scan scan
    cdef uint32_t i
    cdef int length = 0, comma
    memset(&scan, 0, sizeof(scan))
    scan.state = state
    scan.target = target
    _search(&scan)
    for i in range(state.n_methods):
        comma = 2 if length else 0
        if not scan.allowed & (<uint64_t>1 << i) or length + comma + <int>state.methods[i].len > cap:
            continue
        memcpy(out + length, b", ", comma)
        memcpy(out + length + comma, _text(state, state.methods[i].name), state.methods[i].len)
        length += comma + <int>state.methods[i].len
    return length


# ---------------------------------------------------------------- building

cdef void* _room(size_t count, size_t size) except NULL:
    cdef void* memory = PyMem_RawCalloc(count + 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef void _free(RouterState* state) noexcept:
    free(state.nodes)
    PyMem_RawFree(state.trees)
    PyMem_RawFree(state.hosts)
    PyMem_RawFree(state.candidates)
    PyMem_RawFree(state.predicates)
    PyMem_RawFree(state.expressions)
    PyMem_RawFree(state.params)
    PyMem_RawFree(state.text)
    PyMem_RawFree(state)


cdef uint32_t _slots(size_t entries) noexcept:
    cdef uint32_t slots = 8
    while slots < 2 * entries:      # at most half full, so that a probe of a missing segment ends soon
        slots *= 2
    return slots


cdef int _store_node(RouterState* state, object draft, uint32_t tail, list starts, text) except -1:
    cdef uint64_t hash
    cdef uint32_t slot = tail
    cdef bytes label = draft.label
    if draft.parent is None:
        hash = <uint64_t>tail * STEP
    elif label is None:
        hash = _finish(<uint64_t>draft.parent.hash, 0, 0)
    else:
        hash = _hash(label, <uint32_t>len(label), <uint64_t>draft.parent.hash)
        slot = <uint32_t>hash & state.mask
        while state.nodes[slot].parent:
            slot = (slot + 1) & state.mask
    cdef Node* node = &state.nodes[slot]
    node.hash = <uint32_t>(hash >> 32)
    node.parent = 0xFFFFFFFF if draft.parent is None else <uint32_t>draft.parent.slot + 1
    node.exact = starts[draft.leaves["exact"]] if "exact" in draft.leaves else -1
    node.prefix = starts[draft.leaves["prefix"]] if "prefix" in draft.leaves else -1
    node.below = starts[draft.leaves["below"]] if "below" in draft.leaves else -1
    node.param = -1
    node.has_literals = len(draft.literals) > 0
    if label is not None:
        node.label_len = <uint16_t>len(label)
        if len(label) > INLINE_LABEL:
            node.label = text.put(label)
        for i in range(0, min(len(label), INLINE_LABEL), WORD):
            node.words[i // WORD] = word_at((<const char*>label) + <uint32_t>i, <uint32_t>(len(label) - i))
    elif draft.parent is not None:
        state.nodes[<uint32_t>draft.parent.slot].param = <int32_t>slot
    draft.slot = slot
    draft.hash = hash
    return 0


cdef int _store_nodes(RouterState* state, list nodes, list starts, text) except -1:
    cdef size_t literals = sum(node.label is not None for node in nodes)
    cdef uint32_t slots = _slots(literals), tail = slots
    state.mask = slots - 1
    state.n_nodes = slots + <uint32_t>(len(nodes) - literals)
    state.nodes = <Node*>aligned_alloc(64, state.n_nodes * sizeof(Node))
    if state.nodes == NULL:
        raise MemoryError
    memset(state.nodes, 0, state.n_nodes * sizeof(Node))
    for node in nodes:
        _store_node(state, node, tail, starts, text)
        tail += node.label is None
    return 0


cdef int _store_trees(RouterState* state, dict trees, list starts, text) except -1:
    cdef uint32_t i = 0, slot, slots = _slots(len(trees)), at = 0
    state.n_trees = <uint32_t>len(trees)
    state.trees = <Tree*>_room(len(trees), sizeof(Tree))
    state.hosts = <uint32_t*>_room(slots, sizeof(uint32_t))
    state.hosts_mask = slots - 1
    state.any_host = -1
    state.expressions = <Expression*>_room(sum(len(tree.expressions) for tree in trees.values()), sizeof(Expression))
    for host, tree in trees.items():
        state.trees[i].host = text.put(host)
        state.trees[i].host_len = <uint32_t>len(host)
        state.trees[i].root = tree.root.slot
        state.trees[i].expressions = at
        state.trees[i].n_expressions = <uint32_t>len(tree.expressions)
        for regex, leaf in tree.expressions.values():
            state.expressions[at].program = (<Regex?>regex).program
            state.expressions[at].candidate = starts[leaf]
            at += 1
        i += 1
        if not host:
            state.any_host = <int32_t>i - 1
            continue
        if host.startswith(b"."):
            state.longest_wildcard = max(state.longest_wildcard, <uint32_t>len(host))
        else:
            state.n_exact_hosts += 1
        slot = <uint32_t>_hash(host, <uint32_t>len(host), 0) & state.hosts_mask
        while state.hosts[slot]:
            slot = (slot + 1) & state.hosts_mask
        state.hosts[slot] = i
    return 0


cdef int _store_predicate(RouterState* state, uint32_t at, item, text) except -1:
    cdef Predicate* p = &state.predicates[at]
    name, op, value, regex = item
    name, value = name.encode(), value.encode()
    p.name = text.put(name)
    p.name_len = <uint32_t>len(name)
    p.value = text.put(value)
    p.value_len = <uint32_t>len(value)
    p.op = _OPS[op]
    p.program = (<Regex?>regex).program if regex is not None else NULL
    return 0


cdef list _store_leaves(RouterState* state, list leaves, list methods, text):
    """Copies the routes of each leaf; returns the first candidate of each."""
    cdef uint32_t n = 0, at = 0, param = 0
    cdef Candidate* candidate = NULL
    cdef list starts = []
    routes = [route for leaf in leaves for route in leaf]
    bits = {name: number for number, name in enumerate(methods)}
    state.candidates = <Candidate*>_room(len(routes), sizeof(Candidate))
    state.predicates = <Predicate*>_room(sum(len(route.headers) + len(route.query) for route in routes), sizeof(Predicate))
    state.params = <uint16_t*>_room(sum(len(route.params) for route in routes), sizeof(uint16_t))
    for leaf in leaves:
        starts.append(n)
        for route in leaf:
            candidate = &state.candidates[n]
            candidate.route = route.index
            for method in route.methods:
                candidate.methods |= <uint64_t>1 << <int>bits[method]
            candidate.predicates = at
            candidate.n_headers = <uint16_t>len(route.headers)
            candidate.n_query = <uint16_t>len(route.query)
            candidate.params = param
            candidate.n_params = <uint8_t>len(route.params)
            for item in route.headers + route.query:
                _store_predicate(state, at, item, text)
                at += 1
            for position in route.params:
                state.params[param] = position
                param += 1
            n += 1
        candidate.last = True
    return starts


cdef int _store_text(RouterState* state, list methods, text) except -1:
    cdef uint32_t i
    for i, method in enumerate(methods):
        state.methods[i].name = text.put(method.encode())
        state.methods[i].len = <uint32_t>len(method)
    state.n_methods = <uint32_t>len(methods)
    cdef bytes data = bytes(text.data)
    state.text = <char*>_room(len(data), 1)
    memcpy(state.text, <const char*>data, len(data))
    return 0


@cython.final
cdef class Router:
    def __cinit__(self):
        self.routes = []

    def __dealloc__(self):
        if self.state != NULL:
            _free(self.state)

    def __repr__(self):
        return f"<Router, {len(self.routes)} routes, {'frozen' if self.state != NULL else 'open'}>"

    def add(self, int32_t index, *, hosts=(), str kind not None="prefix", str path not None="/", methods=(), headers=(), query=()):
        if self.state != NULL:
            raise RuntimeError("the router is frozen")
        if kind not in ("exact", "prefix", "regex"):
            raise ValueError(f"unknown kind '{kind}'")
        self.routes.append(Route(index, tuple(dict.fromkeys(hosts)), kind, path, tuple(dict.fromkeys(methods)), headers, query))

    def freeze(self):
        if self.state != NULL:
            return
        forest = Forest(self.routes)
        methods = ordered_methods(self.routes)
        text = Text()
        cdef RouterState* state = <RouterState*>_room(1, sizeof(RouterState))
        try:
            starts = _store_leaves(state, forest.leaves, methods, text)
            _store_nodes(state, forest.nodes, starts, text)
            _store_trees(state, forest.trees, starts, text)
            _store_text(state, methods, text)
        except BaseException:
            _free(state)
            raise
        state.owner = <void*>self
        self.state = state

    def find(self, bytes method not None, bytes host not None, bytes path not None, bytes query not None=b"", headers=(), trace=None):
        cdef const RouterState* state = _frozen(self)
        cdef _Request request = _Request(method, host, path, query, headers)
        cdef Match match
        router_find(state, &request.target, &match, <void*>trace if trace is not None else NULL)
        params = [path[match.params[i].off : match.params[i].off + match.params[i].len] for i in range(match.n_params)]
        return match.route, match.prefix_len, params

    def allow(self, bytes method not None, bytes host not None, bytes path not None, bytes query not None=b"", headers=()):
        cdef const RouterState* state = _frozen(self)
        cdef _Request request = _Request(method, host, path, query, headers)
        cdef char out[1024]
        return out[: router_allow(state, &request.target, out, sizeof(out))].decode()

    def _repeat(self, list requests not None, uint64_t times):
        cdef const RouterState* state = _frozen(self)
        cdef uint64_t n = len(requests), i, _i, at = 0, total = 0
        cdef list built = [_Request(*request) for request in requests]
        cdef bytes text = b"".join(host + path for _, host, path, *_ in requests)
        cdef const char* here = text            # targets and texts side by side: what the gateway matches, it has just read
        cdef Target* targets = <Target*>_room(n, sizeof(Target))
        cdef Match match
        for i in range(n):
            targets[i] = (<_Request>built[i]).target
            targets[i].host = here
            targets[i].path = here + targets[i].host_len
            here = targets[i].path + targets[i].path_len
        with nogil:
            for _i in range(times):
                router_find(state, &targets[at], &match, NULL)
                total += <uint64_t>match.route
                at += 1
                if at == n:
                    at = 0
        PyMem_RawFree(targets)
        return total


cdef const RouterState* _frozen(Router router) except NULL:
    if router.state == NULL:
        raise RuntimeError("the router is not frozen yet")
    return router.state


@cython.final
cdef class _Request:
    """A target that owns what it points to."""

    cdef Target target
    cdef Head head
    cdef tuple parts
    cdef bytes lines

    def __cinit__(self, bytes method, bytes host, bytes path, bytes query=b"", headers=()):
        self.parts = (method, host, path, query)
        self.lines = b"".join(name + value for name, value in headers)
        self.target.method, self.target.method_len = <const char*>method, <uint32_t>len(method)
        self.target.host, self.target.host_len = <const char*>host, <uint32_t>len(host)
        self.target.path, self.target.path_len = <const char*>path, <uint32_t>len(path)
        self.target.query, self.target.query_len = <const char*>query, <uint32_t>len(query)
        self.target.head = &self.head
        self.head.base = self.lines
        if len(headers) > MAX_FIELDS:
            raise ValueError(f"more than {MAX_FIELDS} fields")
        cdef uint32_t at = 0
        cdef Field* field
        for name, value in headers:
            field = &self.head.fields[self.head.n_fields]
            field.name, field.name_len = at, <uint16_t>len(name)
            field.value, field.value_len = at + <uint32_t>len(name), <uint32_t>len(value)
            at += <uint32_t>(len(name) + len(value))
            self.head.n_fields += 1


# ---------------------------------------------------------------- trace

cdef void _trace(const RouterState* state, const Target* target, int32_t winner, void* trace) noexcept with gil:
    cdef const Head* head = target.head
    cdef const Field* field
    cdef uint32_t i
    headers = []
    for i in range(head.n_fields if head != NULL else 0):
        field = &head.fields[i]
        headers.append((head.base[field.name : field.name + field.name_len], head.base[field.value : field.value + field.value_len]))
    query = target.query[: target.query_len] if target.query_len else b""
    question = Question(target.method[: target.method_len], target.host[: target.host_len], target.path[: target.path_len], query, headers)
    explain((<Router>state.owner).routes, question, winner, <object>trace)
