"""What follows a failed attempt: the next candidate, a delay before the same one, or the refusal. Pure."""
