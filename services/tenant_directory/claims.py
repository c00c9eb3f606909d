"""Text from an identity provider's claims, which is cleaned: a strange name must not keep anybody from signing in. Pure."""

from pydantic import TypeAdapter, ValidationError

from keyferry.contracts.membership import EmailAddress
from keyferry.contracts.tenancy import Label
from keyferry.contracts.text import clean

_MAX_NAME = 100
_EMAIL: TypeAdapter[str] = TypeAdapter(EmailAddress)
_NAME: TypeAdapter[str] = TypeAdapter(Label)


def clean_email(text: str | None) -> str | None:
    """Return an address in lower case; None for what is no address that the directory takes."""
    return _valid(_EMAIL, text)


def clean_name(text: str | None) -> str | None:
    """Return a name of at most 100 characters on one line; None if nothing of it can be seen, or if it may be a key."""
    return None if text is None else _valid(_NAME, clean(text, _MAX_NAME).strip())


def _valid(adapter: TypeAdapter[str], text: str | None) -> str | None:
    try:
        return None if text is None else adapter.validate_python(text)
    except ValidationError:
        return None
