"""Service levels: what processes counted of good and bad events, and how well objectives are met by it."""
