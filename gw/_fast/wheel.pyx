NEVER = 0x7fffffffffffffff


cdef void wheel_init(Wheel* wheel, int64_t now_ms) noexcept nogil:
    cdef int i
    wheel.tick = now_ms // TICK_MS
    for i in range(SLOTS):
        wheel.slots[i].next = &wheel.slots[i]
        wheel.slots[i].prev = &wheel.slots[i]


cdef void timer_init(Timer* timer) noexcept nogil:
    timer.next = NULL
    timer.prev = NULL
    timer.deadline = NEVER
    timer.tick = 0


cdef void timer_clear(Timer* timer) noexcept nogil:
    if timer.next != NULL:
        timer.prev.next = timer.next
        timer.next.prev = timer.prev
        timer.next = NULL
        timer.prev = NULL
    timer.deadline = NEVER


cdef void timer_file(Wheel* wheel, Timer* timer, int64_t tick) noexcept nogil:
    cdef Timer* ring
    if timer.next != NULL:
        timer.prev.next = timer.next
        timer.next.prev = timer.prev
    if tick <= wheel.tick:
        tick = wheel.tick + 1
    elif tick > wheel.tick + SLOTS - 1:
        tick = wheel.tick + SLOTS - 1
    timer.tick = tick
    ring = &wheel.slots[tick & (SLOTS - 1)]
    timer.next = ring
    timer.prev = ring.prev
    ring.prev.next = timer
    ring.prev = timer


cdef void wheel_advance(Wheel* wheel, int64_t now_ms, Expired expired) noexcept nogil:
    cdef int64_t target = now_ms // TICK_MS
    cdef Timer due
    cdef Timer* ring
    cdef Timer* timer
    if target - wheel.tick > SLOTS:
        wheel.tick = target - SLOTS
    while wheel.tick < target:
        wheel.tick += 1
        ring = &wheel.slots[wheel.tick & (SLOTS - 1)]
        if ring.next == ring:
            continue
        # The slot is moved to a ring of its own: a handler may file, move or clear any timer while we walk.
        due.next = ring.next
        due.prev = ring.prev
        due.next.prev = &due
        due.prev.next = &due
        ring.next = ring
        ring.prev = ring
        while due.next != &due:
            timer = due.next
            due.next = timer.next
            timer.next.prev = &due
            timer.next = NULL
            timer.prev = NULL
            if timer.deadline <= now_ms:
                timer.deadline = NEVER
                expired(timer)
            elif timer.deadline != NEVER:
                timer_file(wheel, timer, timer.deadline // TICK_MS + 1)
