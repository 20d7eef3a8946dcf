"""Everything compiled from one configuration, immutable: what exchanges run on until their end."""
from gw._fast.plane cimport Plan, SnapshotState, Steps, Template
from gw._fast.radix cimport Router


cdef class Snapshot:
    cdef SnapshotState* state       # owned; users counts the exchanges that run on it, in this process
    cdef readonly int revision
    cdef readonly Router router
    cdef readonly list services     # what the constructor was given: the lane makes pools from it
    cdef readonly list plans
    cdef readonly list listeners
    cdef readonly dict settings
    cdef readonly list consumers
    cdef readonly dict consumer_index   # name -> index
    cdef readonly list steps        # Step objects of all plans and consumers, kept alive here
    cdef list held                  # bytes objects the state points into

    cdef const char* _hold(self, bytes text)
    cdef _fill_settings(self, dict settings)
    cdef _fill_services(self, list services)
    cdef _fill_plans(self, list plans)
    cdef _fill_plan(self, Plan* plan, dict given)
    cdef _fill_upgrades(self, Plan* plan, list upgrades)
    cdef _fill_template(self, Template* template, list parts)
    cdef _fill_steps(self, Steps* into, list steps, dict jumps)
    cdef _fill_consumers(self, list consumers)
