"""Regular expressions in linear time: parsed to a tree, compiled to a Pike VM program, and from it to a DFA when that stays small.

The subset: literals, `.` (any byte), classes, `\\d \\w \\s \\D \\W \\S` (ASCII), `\\t \\n \\r \\f \\v \\xHH`, escaped punctuation, `* + ? {m} {m,} {,n} {m,n}` and
their lazy forms, alternation, `( )` and `(?: )` (neither captures), `(?P<name> )`, `(?i)` in front, `^` in front and `$` at the end (a match is always of the whole).
Bytes are matched, not characters; a literal beyond ASCII stands for its UTF-8 bytes.
"""
from cpython.mem cimport PyMem_RawCalloc, PyMem_RawFree
from libc.stdint cimport uint8_t, uint16_t, uint32_t
from libc.string cimport memcpy, memset

cimport cython

from gw._fast.headers cimport Span

cdef enum:                  # Inst.op
    OP_SET = 0              # one byte of set x
    OP_SPLIT = 1            # go on at x and, second best, at y
    OP_JUMP = 2             # go on at x
    OP_SAVE = 3             # store the position in slot x
    OP_MATCH = 4

cdef enum:
    MAX_REPEAT = 1000       # largest bound of {m,n}
    MAX_DEPTH = 100         # nested groups
    DFA_WORK = 300_000      # steps spent on building a DFA, about 50 ms; a program that needs more does without
    MAX_SLOTS = 2 * REGEX_MAX_GROUPS
    MARKS = 1               # offset of the marks in Program.scratch; the word before is the generation

cdef enum:
    NO_POSITION = 0xFFFFFFFF

_DIGITS = frozenset(b"0123456789")
_WORDS = frozenset(b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_SPACES = frozenset(b" \t\n\r\f\v")
_EVERY = frozenset(range(256))
_CLASSES = {"d": _DIGITS, "w": _WORDS, "s": _SPACES, "D": _EVERY - _DIGITS, "W": _EVERY - _WORDS, "S": _EVERY - _SPACES}
_CONTROLS = {"t": 9, "n": 10, "v": 11, "f": 12, "r": 13}
_LOOK_AROUND = {"=": "look-ahead", "!": "look-ahead", "<=": "look-behind", "<!": "look-behind"}
_BACK_REFERENCE = "back-references are not supported, they cannot be matched in linear time"


class _Parser:
    """Pattern text to a tree of ("set", octets), ("cat", nodes), ("alt", nodes), ("repeat", node, least, most, lazy), ("group", index, node)."""

    def __init__(self, text):
        self.fold = text.startswith("(?i)")
        self.text = text
        self.at = 4 if self.fold else 0
        self.depth = 0
        self.names = []

    def parse(self):
        if self.peek() == "^":
            self.at += 1
        node = self.alternation()
        if self.at < len(self.text):
            self.fail("unbalanced ')'")
        return node

    def fail(self, message, at=None):
        raise ValueError(f"{message} at offset {self.at if at is None else at}")

    def peek(self, length=1):
        return self.text[self.at : self.at + length]

    def take(self):
        if self.at >= len(self.text):
            self.fail("the expression ends too early")
        self.at += 1
        return self.text[self.at - 1]

    def alternation(self):
        branches = [self.sequence()]
        while self.peek() == "|":
            self.at += 1
            branches.append(self.sequence())
        return branches[0] if len(branches) == 1 else ("alt", branches)

    def sequence(self):
        nodes = []
        while self.peek() not in ("", "|", ")"):
            if self.peek() == "$" and self.at == len(self.text) - 1:
                self.at += 1
                break
            nodes.append(self.repetition(self.atom()))
        return ("cat", nodes)

    def atom(self):
        start = self.at
        char = self.take()
        if char == "(":
            return self.group(start)
        if char == "[":
            return ("set", self.bracket(start))
        if char == "\\":
            return ("set", self.folded(self.escape(start)))
        if char == ".":
            return ("set", _EVERY)
        if char in "*+?":
            self.fail("nothing to repeat", start)
        if char == "{":
            self.fail("'{' stands for itself only as '\\{'", start)
        if char in "^$":
            self.fail(f"'{char}' is only supported at the {'start' if char == '^' else 'end'} of the expression", start)
        octets = [("set", self.folded(frozenset([octet]))) for octet in char.encode()]
        return octets[0] if len(octets) == 1 else ("cat", octets)

    def folded(self, octets):
        if not self.fold:
            return octets
        letters = bytes(octet for octet in octets if octet < 0x80)
        return octets | frozenset(letters.upper()) | frozenset(letters.lower())

    def escape(self, start):
        char = self.take()
        if char in _CLASSES:
            return _CLASSES[char]
        if char in _CONTROLS:
            return frozenset([_CONTROLS[char]])
        if char == "x":
            digits = self.peek(2)
            if len(digits) != 2 or not all(digit in "0123456789abcdefABCDEF" for digit in digits):
                self.fail("'\\x' needs two hex digits", start)
            self.at += 2
            return frozenset([int(digits, 16)])
        if char.isascii() and not char.isalnum():
            return frozenset([ord(char)])
        self.fail(_BACK_REFERENCE if char in "123456789" else f"'\\{char}' is not supported", start)

    def bracket(self, start):
        negated = self.peek() == "^"
        self.at += negated
        octets = frozenset()
        first = self.at
        while self.peek() != "]" or self.at == first:
            if self.at >= len(self.text):
                self.fail("missing ']' of the class", start)
            octets |= self.span()
        self.at += 1
        octets = self.folded(octets)
        return _EVERY - octets if negated else octets

    def member(self):
        start = self.at
        if self.peek(2) in ("[:", "[.", "[="):
            self.fail("POSIX classes are not supported", start)
        char = self.take()
        if char == "\\":
            return self.escape(start)
        if not char.isascii():
            self.fail("a class holds bytes, this character is more than one", start)
        return frozenset([ord(char)])

    def span(self):
        start = self.at
        low = self.member()
        if self.peek() != "-" or self.peek(2) in ("-", "-]"):
            return low
        self.at += 1
        high = self.member()
        if len(low) != 1 or len(high) != 1 or min(low) > min(high):
            self.fail("bad range in a class", start)
        return frozenset(range(min(low), min(high) + 1))

    def group(self, start):
        index = None
        if self.peek() == "?":
            index = self.extension(start)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.fail(f"more than {MAX_DEPTH} groups inside each other", start)
        node = self.alternation()
        self.depth -= 1
        if self.peek() != ")":
            self.fail("missing ')' of the group", start)
        self.at += 1
        return node if index is None else ("group", index, node)

    def extension(self, start):
        """What follows `(?`: the index of a named group, or None for one that does not capture."""
        for form, name in _LOOK_AROUND.items():
            if self.text.startswith(form, self.at + 1):
                self.fail(f"{name} is not supported, it cannot be matched in linear time", start)
        if self.peek(2) == "?:":
            self.at += 2
            return None
        if self.peek(3) == "?P<":
            self.at += 3
            return self.name(start)
        if self.peek(3) == "?P=":
            self.fail(_BACK_REFERENCE, start)
        self.fail("only (?:...), (?P<name>...) and a leading (?i) are supported", start)

    def name(self, start):
        end = self.text.find(">", self.at)
        name = self.text[self.at : max(end, self.at)]
        if not (name.isidentifier() and name.isascii()):
            self.fail("bad group name", self.at)
        if name in self.names:
            self.fail(f"group name '{name}' is used twice", self.at)
        if len(self.names) == REGEX_MAX_GROUPS:
            self.fail(f"more than {REGEX_MAX_GROUPS} named groups", start)
        self.at = end + 1
        self.names.append(name)
        return len(self.names) - 1

    def repetition(self, node):
        start = self.at
        char = self.peek()
        if char not in ("*", "+", "?", "{"):
            return node
        self.at += 1
        least, most = {"*": (0, None), "+": (1, None), "?": (0, 1)}.get(char) or self.bounds(start)
        lazy = self.peek() == "?"
        self.at += lazy
        if self.peek() in ("*", "+", "?", "{") and self.peek():
            self.fail("possessive repeats are not supported" if self.peek() == "+" else "a repeat of a repeat needs a group", self.at)
        return ("repeat", node, least, most, lazy)

    def bounds(self, start):
        end = self.text.find("}", self.at)
        low, comma, high = self.text[self.at : max(end, self.at)].partition(",")
        if end < 0 or not all(part == "" or (part.isascii() and part.isdecimal()) for part in (low, high)) or not (low or high):
            self.fail("'{' stands for itself only as '\\{'", start)
        self.at = end + 1
        least = int(low or 0)
        most = int(high) if high else None if comma else least
        if max(least, most or 0) > MAX_REPEAT:
            self.fail(f"a repeat is limited to {MAX_REPEAT}", start)
        if most is not None and most < least:
            self.fail("the bounds of the repeat are in the wrong order", start)
        return least, most


class _Compiler:
    """Tree to instructions, as lists [op, x, y]."""

    def __init__(self):
        self.code = []
        self.sets = {}

    def emit(self, op, x=0, y=0):
        if len(self.code) >= REGEX_MAX_STATES:
            raise ValueError(f"the expression needs more than {REGEX_MAX_STATES} states: make its repeats smaller")
        self.code.append([op, x, y])
        return len(self.code) - 1

    def compile(self, node):
        kind = node[0]
        if kind == "set":
            self.emit(OP_SET, self.sets.setdefault(node[1], len(self.sets)))
        elif kind == "cat":
            for part in node[1]:
                self.compile(part)
        elif kind == "alt":
            self.alternation(node[1])
        elif kind == "group":
            self.emit(OP_SAVE, 2 * node[1])
            self.compile(node[2])
            self.emit(OP_SAVE, 2 * node[1] + 1)
        else:
            self.repetition(*node[1:])

    def alternation(self, branches):
        *rest, last = branches
        jumps = []
        for branch in rest:
            split = self.emit(OP_SPLIT, len(self.code) + 1)
            self.compile(branch)
            jumps.append(self.emit(OP_JUMP))
            self.code[split][2] = len(self.code)
        self.compile(last)
        for jump in jumps:
            self.code[jump][1] = len(self.code)

    def choose(self, split, stay, leave, lazy):
        self.code[split][1:] = (leave, stay) if lazy else (stay, leave)

    def repetition(self, node, least, most, lazy):
        for _ in range(least):
            start = len(self.code)
            self.compile(node)
            if len(self.code) == start:
                return              # the body is empty: more of it changes nothing
        if most is None:
            split = self.emit(OP_SPLIT)
            self.compile(node)
            self.emit(OP_JUMP, split)
            self.choose(split, split + 1, len(self.code), lazy)
            return
        splits = []
        for _ in range(most - least):
            split = self.emit(OP_SPLIT)
            splits.append(split)
            self.compile(node)
            if len(self.code) == split + 1:
                break
        for split in splits:
            self.choose(split, split + 1, len(self.code), lazy)


def _byte_classes(sets):
    """Octets that no set tells apart share a class: the class of each octet, and one octet of each class."""
    classes = [0] * 256
    for octets in sets:
        renamed = {}
        classes = [renamed.setdefault((name, octet in octets), len(renamed)) for octet, name in enumerate(classes)]
    return classes, [classes.index(name) for name in range(max(classes) + 1)]


class _Automaton:
    """Subset construction over sets of instructions, kept as bits of an integer."""

    def __init__(self, code, members):
        self.code = code
        self.members = members      # for each set, the byte classes in it
        self.work = 0
        self.reached = {}

    def closure(self, start):
        """The instructions that consume a byte or match, and that `start` leads to without a byte."""
        if start in self.reached:
            return self.reached[start]
        seen, pending, found = set(), [start], 0
        while pending:
            at = pending.pop()
            if at in seen:
                continue
            seen.add(at)
            op, x, y = self.code[at]
            if op == OP_SPLIT:
                pending += (x, y)
            elif op == OP_JUMP:
                pending.append(x)
            elif op == OP_SAVE:
                pending.append(at + 1)
            else:
                found |= 1 << at
        self.work += len(seen)
        self.reached[start] = found
        return found

    def row(self, state, n_classes):
        targets = [0] * n_classes
        while state:
            at = (state & -state).bit_length() - 1
            state &= state - 1
            op, x, _ = self.code[at]
            if op == OP_SET:
                after = self.closure(at + 1)
                self.work += len(self.members[x])
                for name in self.members[x]:
                    targets[name] |= after
        return targets

    def build(self, n_classes):
        """Rows of next states and the set of accepting ones, or None when it grows too large. State 0 is dead, 1 the entry."""
        cdef object last = len(self.code) - 1      # an object: shifts of C integers end at 64 bits
        final = 1 << last
        states = [0, self.closure(0)]
        numbers = {state: number for number, state in enumerate(states)}
        rows = []
        while len(rows) < len(states):
            targets = self.row(states[len(rows)], n_classes)
            for target in targets:
                if target not in numbers:
                    numbers[target] = len(states)
                    states.append(target)
            if len(states) > REGEX_MAX_DFA or self.work > DFA_WORK:
                return None
            rows.append([numbers[target] for target in targets])
        return rows, [number for number, state in enumerate(states) if state & final]


cdef void* _room(size_t count, size_t size) except NULL:
    cdef void* memory = PyMem_RawCalloc(count, size)
    if memory == NULL:
        raise MemoryError
    return memory


cdef void _free(Program* program) noexcept:
    PyMem_RawFree(program.code)
    PyMem_RawFree(program.sets)
    PyMem_RawFree(program.dfa)
    PyMem_RawFree(program.accepts)
    PyMem_RawFree(program.scratch)
    PyMem_RawFree(program)


cdef int _store_code(Program* program, list code, list sets) except -1:
    program.code = <Inst*>_room(len(code), sizeof(Inst))
    for number, (op, x, y) in enumerate(code):
        program.code[number].op = op
        program.code[number].x = x
        program.code[number].y = y
    program.n_code = <uint32_t>len(code)
    program.sets = <uint8_t*>_room(len(sets) + 1, 256)
    for number, octets in enumerate(sets):
        for octet in octets:
            program.sets[256 * <int>number + <int>octet] = 1
    return 0


cdef int _store_dfa(Program* program, list code, list sets) except -1:
    classes, representatives = _byte_classes(sets)
    members = [[name for name, octet in enumerate(representatives) if octet in octets] for octets in sets]
    automaton = _Automaton(code, members).build(len(representatives))
    if automaton is None:
        return 0
    rows, accepts = automaton
    cdef uint32_t n_classes = <uint32_t>len(representatives)
    cdef uint32_t at = 0
    program.dfa = <uint16_t*>_room(len(rows) * n_classes, sizeof(uint16_t))
    program.accepts = <uint8_t*>_room(len(rows), 1)
    program.n_classes = n_classes
    for octet in range(256):
        program.classes[octet] = classes[octet]
    for row in rows:
        for target in row:
            program.dfa[at] = target
            at += 1
    for state in accepts:
        program.accepts[state] = 1
    return 0


# Words of the scratch: generation, marks, then a queue of Restores, then two lists of threads (instruction, slots).
cdef size_t _scratch_words(const Program* program) noexcept nogil:
    return MARKS + program.n_code + 3 * (2 * program.n_code + 2) + 2 * program.n_code * (1 + 2 * program.n_groups)


@cython.final
cdef class Regex:
    def __cinit__(self, str pattern not None):
        parser = _Parser(pattern)
        compiler = _Compiler()
        compiler.compile(parser.parse())
        compiler.emit(OP_MATCH)
        self.pattern = pattern
        self.names = tuple(parser.names)
        self.program = <Program*>_room(1, sizeof(Program))
        self.program.n_groups = <uint32_t>len(self.names)
        _store_code(self.program, compiler.code, list(compiler.sets))
        _store_dfa(self.program, compiler.code, list(compiler.sets))
        self.program.scratch = <uint32_t*>_room(_scratch_words(self.program), sizeof(uint32_t))

    def __dealloc__(self):
        if self.program != NULL:
            _free(self.program)

    def __repr__(self):
        return f"<Regex {self.pattern!r}, {self.program.n_code} instructions, {'DFA' if self.program.dfa != NULL else 'no DFA'}>"

    @property
    def has_dfa(self):
        return self.program.dfa != NULL

    def match(self, bytes data not None):
        return regex_match(self.program, data, <uint32_t>len(data))

    def match_by_threads(self, bytes data not None):
        return _run(self.program, <const uint8_t*><const char*>data, <uint32_t>len(data), NULL)

    def groups(self, bytes data not None):
        cdef Span spans[REGEX_MAX_GROUPS]
        if regex_groups(self.program, data, <uint32_t>len(data), spans) < 0:
            return None
        return {name: data[spans[i].off : spans[i].off + spans[i].len] for i, name in enumerate(self.names)}


cdef struct Threads:        # one list of the Pike VM, best thread first
    uint32_t* pc
    uint32_t* slots         # n_slots for each thread
    uint32_t n


cdef struct Walk:           # what following instructions without a byte needs
    const Program* program
    uint32_t* marks         # generation in which an instruction was last reached
    uint32_t* pending       # stack of (instruction or NO_POSITION, slot, former value)
    uint32_t generation
    uint32_t n_slots        # 0 when only yes or no is asked
    uint32_t slots[MAX_SLOTS]


# Add the threads that `start` leads to at `position`, best first. walk.slots is as before on return.
cdef void _follow(Walk* walk, Threads* threads, uint32_t start, uint32_t position) noexcept nogil:
    cdef uint32_t* pending = walk.pending
    cdef uint32_t depth = 1, at
    cdef const Inst* inst
    pending[0] = start
    while depth:
        depth -= 1
        at = pending[3 * depth]
        if at == NO_POSITION:
            walk.slots[pending[3 * depth + 1]] = pending[3 * depth + 2]
            continue
        while walk.marks[at] != walk.generation:
            walk.marks[at] = walk.generation
            inst = &walk.program.code[at]
            if inst.op == OP_JUMP:
                at = inst.x
            elif inst.op == OP_SPLIT:
                pending[3 * depth] = inst.y
                depth += 1
                at = inst.x
            elif inst.op == OP_SAVE:
                if walk.n_slots:
                    pending[3 * depth] = NO_POSITION
                    pending[3 * depth + 1] = inst.x
                    pending[3 * depth + 2] = walk.slots[inst.x]
                    depth += 1
                    walk.slots[inst.x] = position
                at += 1
            else:
                threads.pc[threads.n] = at
                memcpy(threads.slots + threads.n * walk.n_slots, walk.slots, walk.n_slots * sizeof(uint32_t))
                threads.n += 1
                break


cdef void _next_generation(Walk* walk) noexcept nogil:
    walk.generation += 1
    if walk.generation == 0:
        memset(walk.marks, 0, walk.program.n_code * sizeof(uint32_t))
        walk.generation = 1
    walk.program.scratch[0] = walk.generation


# The Pike VM over the whole of s. With `slots` the positions of the groups are stored there, NO_POSITION for one that took no part.
cdef bint _run(const Program* program, const uint8_t* s, uint32_t n, uint32_t* slots) noexcept nogil:
    cdef Walk walk
    cdef Threads here, there
    cdef uint32_t i, t
    cdef const Inst* inst
    walk.program = program
    walk.marks = program.scratch + MARKS
    walk.pending = walk.marks + program.n_code
    walk.generation = program.scratch[0]
    walk.n_slots = 2 * program.n_groups if slots != NULL else 0
    here.pc = walk.pending + 3 * (2 * program.n_code + 2)
    there.pc = here.pc + program.n_code
    here.slots = there.pc + program.n_code
    there.slots = here.slots + program.n_code * walk.n_slots
    here.n = 0
    memset(walk.slots, 0xFF, sizeof(walk.slots))
    _next_generation(&walk)
    _follow(&walk, &here, 0, 0)
    for i in range(n):
        there.n = 0
        _next_generation(&walk)
        for t in range(here.n):
            inst = &program.code[here.pc[t]]
            if inst.op == OP_SET and program.sets[256 * <uint32_t>inst.x + s[i]]:
                memcpy(walk.slots, here.slots + t * walk.n_slots, walk.n_slots * sizeof(uint32_t))
                _follow(&walk, &there, here.pc[t] + 1, i + 1)
        if there.n == 0:
            return False
        here, there = there, here
    for t in range(here.n):
        if program.code[here.pc[t]].op == OP_MATCH:
            if slots != NULL:
                memcpy(slots, here.slots + t * walk.n_slots, walk.n_slots * sizeof(uint32_t))
            return True
    return False


cdef bint _run_dfa(const Program* program, const uint8_t* s, uint32_t n) noexcept nogil:
    cdef uint32_t i, state = 1
    for i in range(n):
        state = program.dfa[state * program.n_classes + program.classes[s[i]]]
        if state == 0:
            return False
    return program.accepts[state]


cdef bint regex_match(const Program* program, const char* s, uint32_t n) noexcept nogil:
    if program.dfa != NULL:
        return _run_dfa(program, <const uint8_t*>s, n)
    return _run(program, <const uint8_t*>s, n, NULL)


cdef int regex_groups(const Program* program, const char* s, uint32_t n, Span* groups) noexcept nogil:
    cdef uint32_t slots[MAX_SLOTS]
    cdef uint32_t i
    if program.dfa != NULL and not _run_dfa(program, <const uint8_t*>s, n):
        return -1
    if program.n_groups == 0:
        return 0 if program.dfa != NULL or _run(program, <const uint8_t*>s, n, NULL) else -1
    if not _run(program, <const uint8_t*>s, n, slots):
        return -1
    for i in range(program.n_groups):
        groups[i].off = 0
        groups[i].len = 0
        if slots[2 * i] != NO_POSITION and slots[2 * i + 1] != NO_POSITION:
            groups[i].off = slots[2 * i]
            groups[i].len = slots[2 * i + 1] - slots[2 * i]
    return <int>program.n_groups
