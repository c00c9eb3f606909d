"""Errors and findings for people: what happened, and what to do about it."""

from collections.abc import Iterator
from dataclasses import dataclass

_DOCTOR = "Run `keyferry doctor` to find the cause"
_MODELS = "`keyferry models --tenant TENANT` lists what a tenant can call, `keyferry tenants list` the tenants"
_REMEDIES = {
    "unavailable": _DOCTOR,
    "expired": _DOCTOR,
    "internal": _DOCTOR,
    "truncated": _DOCTOR,
    "policy": _MODELS,
    "not_found": _MODELS,
}
"""By failure class; the provider's own message about a bad request needs no addition."""
_DEBUG_HINT = "Run it again with KEYFERRY_DEBUG=1 to see where, and report it"


class Problem(Exception):
    """An error that a person can act upon. `remedy` says how; it is empty if `what` says everything."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy

    def lines(self) -> Iterator[str]:
        """Yield a line for what happened, and one for what to do."""
        yield " ".join(self.what.split())
        if self.remedy:
            yield f"  -> {self.remedy}"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check by the doctor. `remedy` says what to do; it is empty if nothing is wrong."""

    subject: str
    detail: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done."""
        return not self.remedy

    def lines(self) -> list[str]:
        """Return the finding as text for people."""
        first = f"{'ok     ' if self.ok else 'PROBLEM'}  {self.subject}: {self.detail}"
        return [first] if self.ok else [first, f"         -> {self.remedy}"]


def to_problem(error: Exception) -> Problem:
    """Convert any error to a Problem. The text of unexpected types is withheld: only their name is shown."""
    from nats.errors import Error as NatsError
    from pydantic import ValidationError

    from keyferry.contracts.envelope import MalformedMessage, describe
    from keyferry.runtime.bus.requests import BusError, Refused
    from keyferry.runtime.process.os_errors import describe_os_error, remedy_for
    from keyferry.runtime.process.settings import SettingsError
    from keyferry.runtime.request.assembly import CallFailed

    if isinstance(error, Problem):
        return error
    if isinstance(error, BusError | Refused | SettingsError):
        return Problem(str(error))
    if isinstance(error, CallFailed):
        return Problem(
            f"no answer: {error} ({error.failure.failure_class})", _REMEDIES.get(error.failure.failure_class, "")
        )
    if isinstance(error, ValidationError):
        return Problem(f"invalid argument: {describe(error)}", "Correct the argument; `--help` lists all of them")
    if isinstance(error, MalformedMessage):
        return Problem(
            f"an answer could not be read: {error}",
            "This command and the services have different versions: use the command of the running version",
        )
    if isinstance(error, NatsError):
        return Problem("the connection to the bus broke", f"Try again. {_DOCTOR}")
    if isinstance(error, OSError):
        return Problem(describe_os_error(error), remedy_for(error) or _DEBUG_HINT)
    return Problem(f"unexpected: {type(error).__name__}", _DEBUG_HINT)
