"""What grants cost a request in one process: a signature where it is taken in, and a check where a key is leased."""

import secrets
import time
from collections.abc import Callable

from keyferry.contracts import ids
from keyferry.contracts.chat import ChatRequest
from keyferry.contracts.lease import LeaseKey
from keyferry.sealing.delivery import NONCE_BYTES
from keyferry.sealing.framing import to_base64
from services.provider_worker.keys.lease_client import check_body
from tests.bench.keys import GRANT_CHECKED, GRANT_CHECKED_PROGRAM, GRANT_COMPARED, GRANT_SIGNED, GRANT_SIGNED_PROGRAM
from tests.bench.keys.timing import Timing, timing
from tests.support.providers.attempt_runs import attempt_run
from tests.support.vault.grants import INGRESS, PROGRAM, Granting

_BODY = secrets.token_bytes(2048)
_SAMPLES = 20_000
_WARM_UP = 1000
_LASTS_MS = 600_000


def measure() -> list[Timing]:
    """Time the signature of a request of 2 KB, the comparison of its body, and the vault's check of its grant."""
    granting = Granting()
    return [
        _timed(GRANT_SIGNED, _signing(granting, INGRESS)),
        _timed(GRANT_SIGNED_PROGRAM, _signing(granting, PROGRAM)),
        _timed(GRANT_COMPARED, _comparing(granting)),
        _timed(GRANT_CHECKED, _checking(granting, INGRESS)),
        _timed(GRANT_CHECKED_PROGRAM, _checking(granting, PROGRAM)),
    ]


def _timed(name: str, work: Callable[[], object]) -> Timing:
    for _ in range(_WARM_UP):
        work()
    taken: list[int] = []
    began = time.monotonic()
    for _ in range(_SAMPLES):
        started = time.perf_counter_ns()
        work()
        taken.append(time.perf_counter_ns() - started)
    return timing(name, taken, time.monotonic() - began)


def _signing(granting: Granting, user: str) -> Callable[[], object]:
    """Return what `CallInbox.call` does for a grant, the copy of the head included."""
    signer = granting.signer(user)
    head = ChatRequest(
        request_id=ids.new(ids.REQUEST),
        tenant="acme",
        model="m",
        stream=False,
        deadline_ms=_LASTS_MS,
        start_by_unix_ms=0,
    )

    def sign() -> ChatRequest:
        grant = signer.sign(head.tenant, head.request_id, _BODY, now_unix_ms=_now(), lasts_ms=head.deadline_ms)
        return head.model_copy(update={"grant": grant})

    return sign


def _comparing(granting: Granting) -> Callable[[], object]:
    run = attempt_run().model_copy(update={"grant": granting.grant("acme", "req_test", body=_BODY)})
    return lambda: check_body(run, _BODY)


def _checking(granting: Granting, user: str) -> Callable[[], object]:
    check, now = granting.check(), _now()
    request = LeaseKey(
        instance_id="inst_1",
        tenant="acme",
        owner="acme",
        provider="openai",
        key_id="key_1",
        origin="https://api.openai.com",
        attempt_id="att_1",
        nonce=to_base64(secrets.token_bytes(NONCE_BYTES)),
        sent_at_unix_ms=now,
        request_id="req_1",
        grant=granting.grant("acme", "req_1", body=_BODY, user=user, now_unix_ms=now),
    )
    return lambda: check.check("provider-worker-1", request, now)


def _now() -> int:
    return time.time_ns() // 1_000_000
