"""How a rule of the vault says no."""

from keyferry.contracts.service import ErrorCode


class RequestRejected(Exception):
    """A rule of the vault says no; the message says what to do instead, and goes to the audit too."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
