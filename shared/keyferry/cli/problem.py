"""What goes wrong, told to a person: what happened, and what to do about it."""

from collections.abc import Iterator

_DOCTOR = "`keyferry doctor` tells what is missing"
_MODELS = "`keyferry models` lists what a tenant can call, `keyferry tenants list` the tenants"
_REMEDIES = {
    "unavailable": _DOCTOR,
    "expired": _DOCTOR,
    "internal": _DOCTOR,
    "truncated": _DOCTOR,
    "policy": _MODELS,
    "not_found": _MODELS,
}
"""By failure class; what a provider said about the request itself needs no more words."""
_DEBUG_HINT = "Run it again with KEYFERRY_DEBUG=1 to see where, and report it"


class Problem(Exception):
    """Something a person can act upon. `remedy` says how, or is empty where `what` says it all."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def lines(self) -> Iterator[str]:
        """One line for what happened, and one for what to do."""
        yield " ".join(self.what.split())
        if self.remedy:
            yield f"  -> {self.remedy}"


def to_problem(error: Exception) -> Problem:
    """Any error as a Problem. Looks only at types whose text is made for people; of others only the type is told."""
    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from keyferry.contracts.envelope import MalformedMessage, describe
    from keyferry.runtime.bus.requests import BusError, Refused
    from keyferry.runtime.process.settings import SettingsError
    from keyferry.runtime.request.calls import CallFailed

    if isinstance(error, Problem):
        return error
    if isinstance(error, BusError | Refused | SettingsError):
        return Problem(str(error))
    if isinstance(error, CallFailed):
        return Problem(
            f"no answer: {error} ({error.failure.failure_class})", _REMEDIES.get(error.failure.failure_class, "")
        )
    if isinstance(error, ValidationError):
        return Problem(f"that cannot be sent: {describe(error)}", "Correct the argument; `--help` shows them all")
    if isinstance(error, MalformedMessage):
        return Problem(
            f"an answer could not be read: {error}",
            "This command and the services are of different versions: use the command of the running version",
        )
    if isinstance(error, NatsError):
        return Problem("the connection to the bus broke", "Try again; `keyferry doctor` tells what is missing")
    if isinstance(error, OSError):
        return Problem(f"{error.strerror or type(error).__name__}: {error.filename or ''}".rstrip(": "), _DEBUG_HINT)
    return Problem(f"unexpected: {type(error).__name__}", _DEBUG_HINT)
