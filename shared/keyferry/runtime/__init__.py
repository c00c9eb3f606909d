"""How every service starts, subscribes, traces, logs and drains."""
