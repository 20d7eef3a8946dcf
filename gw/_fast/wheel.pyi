"""A timer wheel of 50 ms ticks; for compiled callers only. gw._fast.probe.Wheel drives it from Python."""
