"""The error of a request about purchases that cannot be carried out. Pure."""

from keyferry.contracts.service import ErrorCode


class PurchaseRefused(Exception):
    """A request breaks a rule; the message says what to do instead, and may be shown."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
