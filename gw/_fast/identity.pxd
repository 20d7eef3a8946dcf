"""Who calls, told to the origin in header fields of our own, which no client can forge."""
