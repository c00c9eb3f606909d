"""Whether an attempt may be made where it would be processed, checked again by the process that makes it. Pure."""

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.residency import find_violation
from services.provider_worker.adapters.adapter import RefusedByAdapter


def check_residency(run: AttemptRun) -> None:
    """Raise RefusedByAdapter for an attempt that would be processed where it must not be; nothing is sent then."""
    if run.residency is None:
        return
    violation = find_violation(run.residency, run.key_fields)
    if violation is not None:
        message = f"the worker refuses to call {run.provider}: {violation}"
        raise RefusedByAdapter(Failure(failure_class=FailureClass.POLICY, message=message, where=Where.NOT_SENT))
