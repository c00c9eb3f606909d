"""Why the vault does not do what was requested. Pure."""

from keyferry.contracts.service import ErrorCode


class RequestRejected(Exception):
    """A request that the vault's rules do not allow; the message says what to do instead and is also audited."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Conflict(Exception):
    """Another writer changed the key since it was read. Read it again."""


class DuplicateKey(Conflict):
    """The tenant already has this provider key, under the id `key_id`."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"this key is stored already, as {key_id}")
        self.key_id = key_id


class QuotaExceeded(Conflict):
    """The tenant already has as many keys of the provider as its tier allows."""
