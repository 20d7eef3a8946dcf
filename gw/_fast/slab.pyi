"""Buffers of one size, reused last in, first out; for compiled callers only. gw._fast.probe.Slab drives it from Python."""
