"""Whether an attempt may be made where it would be processed, checked again by the process that makes it. Pure."""

from keyferry.contracts.chat import AttemptRun
from keyferry.contracts.failure import Failure, FailureClass, Where
from keyferry.contracts.key_address import is_default_address
from keyferry.contracts.residency import find_violation, states_eu
from services.provider_worker.adapters.adapter import RefusedByAdapter


def check_residency(run: AttemptRun) -> None:
    """Raise RefusedByAdapter for an attempt that would be processed where it must not be; nothing is sent then."""
    if run.residency is None:
        return
    residency = run.residency
    if run.key_id is not None and not is_default_address(run.provider, run.base_url, run.key_fields):
        # Mark and region are the provider's, and say nothing about another address. An endpoint without a key has its own.
        stated = residency.eu and states_eu(run.provider, run.key_fields)
        residency = residency.model_copy(update={"eu": stated, "region": None})
    violation = find_violation(residency, run.key_fields)
    if violation is not None:
        message = f"the worker refuses to call {run.provider}: {violation}"
        raise RefusedByAdapter(Failure(failure_class=FailureClass.POLICY, message=message, where=Where.NOT_SENT))
