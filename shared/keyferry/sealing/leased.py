"""A provider key leased to a worker; it is bound to one origin and is released for no other."""

from typing import NoReturn

from keyferry.contracts.secret import Secret


class OriginMismatch(Exception):
    """An attempt to send a key to another origin than its own. The message may be shown."""


class LeasedKey:
    """One version of a provider key, until `not_after_unix_ms`. It cannot be printed, pickled or compared."""

    __slots__ = ("__key", "__weakref__", "key_id", "not_after_unix_ms", "origin", "owner", "provider", "version")

    def __init__(
        self,
        *,
        owner: str,
        provider: str,
        key_id: str,
        version: int,
        origin: str,
        not_after_unix_ms: int,
        key: Secret,
    ) -> None:
        self.owner = owner
        self.provider = provider
        self.key_id = key_id
        self.version = version
        self.origin = origin
        self.not_after_unix_ms = not_after_unix_ms
        self.__key = key

    def for_origin(self, origin: str) -> Secret:
        """Return the key for a request to `origin` (`scheme://host[:port]`, see `keyferry.contracts.origin`).

        Raises OriginMismatch for any other origin than the key's own.
        """
        if origin != self.origin:
            raise OriginMismatch(
                f"the key {self.key_id} belongs to {self.origin} and is not sent to {origin}; add the key again for that address"
            )
        return self.__key

    def __repr__(self) -> str:
        return f"LeasedKey({self.key_id} v{self.version} for {self.origin})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a LeasedKey cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a LeasedKey cannot be pickled or copied")
