"""Which of the compressed forms of a file a client takes (RFC 9110, section 12.5.3). Pure."""

from collections.abc import Iterable


def choose_encoding(accepted: str | None, available: Iterable[str]) -> str | None:
    """Return the first of `available` that the header Accept-Encoding names without refusing it, or None."""
    taken = {name for part in (accepted or "").split(",") if (name := _taken(part))}
    return next((encoding for encoding in available if encoding in taken), None)


def matches(if_none_match: str | None, etag: str) -> bool:
    """Return whether the client has this very content (RFC 9110, section 13.1.2)."""
    known = (part.strip().removeprefix("W/") for part in (if_none_match or "").split(","))
    return any(part in ("*", etag) for part in known)


def _taken(part: str) -> str | None:
    """Return the name in one part of such a header in lower case; None if its weight refuses it or cannot be read."""
    name, *parameters = (piece.strip().lower() for piece in part.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            try:
                return name if float(value) > 0 else None
            except ValueError:
                return None
    return name
