"""The queue of notifications, and what sends them."""
