"""From where the request came that this task handles, for the audit and for what it requests of other services.

The command line sets it for a command, the management API for an HTTP request. `ask` sends it as a header of the
message, which is as trustworthy as the actor that the same sender names, and it is restored where the request is handled.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from keyferry.contracts.audit import SOURCE_HEADER, CommandSource
from keyferry.contracts.envelope import MalformedMessage

_source: ContextVar[CommandSource | None] = ContextVar("command source", default=None)


def command_source() -> CommandSource | None:
    """Return from where the present request came; None for what a service does by itself."""
    return _source.get()


@contextmanager
def source_scope(source: CommandSource | None) -> Iterator[None]:
    """Handle a request that came from there until the end of the block."""
    token = _source.set(source)
    try:
        yield
    finally:
        _source.reset(token)


def source_headers() -> dict[str, str] | None:
    """Return the headers of a request to another service; None if the present source is not known."""
    source = _source.get()
    return None if source is None else {SOURCE_HEADER: source.encode().decode()}


def read_source(headers: Mapping[str, object] | None) -> CommandSource | None:
    """Return the source in the headers of a request; None if there is none, or it is malformed."""
    text = (headers or {}).get(SOURCE_HEADER)
    if not isinstance(text, str):
        return None
    try:
        return CommandSource.decode(text.encode())
    except MalformedMessage:
        return None
