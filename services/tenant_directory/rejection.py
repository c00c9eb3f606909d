"""Why the directory does not do what it was asked."""

from keyferry.contracts.service import ErrorCode


class Rejected(Exception):
    """A rule of the directory says no; the message says what to do instead."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
