"""The one kind of error that ends a launch with a message instead of a traceback."""


class LaunchFailed(Exception):
    """The system cannot start or be reached; the message says what happened and what to do."""
