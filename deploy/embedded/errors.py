"""The launcher's errors: each ends it with a message for the operator instead of a traceback."""


class LaunchFailed(Exception):
    """The system cannot start or cannot be reached; the message says what happened and what to do."""


class SettingsInvalid(LaunchFailed):
    """A setting of the launcher itself is invalid; the message names it."""


class StartFailed(LaunchFailed):
    """A process exited or did not become ready in time; the message ends with its last output."""


class UnknownService(LaunchFailed):
    """No service of that name is running; the message lists the ones that are."""


class AlreadyRunning(Exception):
    """Another process holds the lock of the home directory; `pid` is that process."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"process {pid} holds the home directory")
        self.pid = pid
