"""Which attempts a worker process runs at once, which wait for a moment, and which it refuses. Pure."""
