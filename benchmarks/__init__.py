"""Measurements of gw beside nginx. `wire` reports, `instructions` is the gate in `make check`, `micro` times the kernels; README.md says how."""
