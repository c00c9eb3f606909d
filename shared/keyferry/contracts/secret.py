"""A secret that cannot be printed, compared by accident, pickled or serialized to JSON.

Reading it requires `reveal`, which is easy to search for in a review. Pure.
"""

import hmac
from typing import NoReturn


class Secret:
    """Holds one secret text. `repr`, `str` and `format` show only that it is a secret."""

    __slots__ = ("__text",)

    def __init__(self, text: str) -> None:
        self.__text = text

    def reveal(self) -> str:
        """Return the text itself. Call it only where the secret is used."""
        return self.__text

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__

    def __format__(self, format_spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self.__text.encode(), other.reveal().encode())

    def __hash__(self) -> NoReturn:
        raise TypeError("a Secret is not hashable: a hash of it in a log or a set is a leak")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")

    def __getstate__(self) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")
