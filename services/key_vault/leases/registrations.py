"""Which workers may receive keys: enrolled by an administrator, registered by a process for an hour at most.

A registration is trusted for its signature only: not for the subject it came on, and not for the table it is stored in. So
neither a hostile bus nor a changed row makes the vault seal a key to an attacker's public key. Pure.
"""

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyferry.contracts.lease import WorkerRegistration
from keyferry.sealing.private_keys import BadKeyFile, verifying_key
from keyferry.sealing.registration import BadRegistration, verify


class BadEnrolment(ValueError):
    """The file of enrolled workers cannot be used. The message says what is wrong with it."""


class EnrolledWorkers:
    """The identity keys (Ed25519) of the worker slots, by worker id."""

    def __init__(self, identities: Mapping[str, Ed25519PublicKey]) -> None:
        self._identities = dict(identities)

    @classmethod
    def parse(cls, text: str) -> "EnrolledWorkers":
        """Parse a JSON object of worker id -> public key in base64url. Raises BadEnrolment."""
        try:
            found = json.loads(text, object_pairs_hook=_reject_duplicates)
        except ValueError as error:
            raise BadEnrolment(f"the file of enrolled workers is not a JSON object: {error}") from None
        if not isinstance(found, dict):
            raise BadEnrolment("the file of enrolled workers has to hold a JSON object of worker id -> public key")
        return cls({worker_id: _parse_identity(worker_id, value) for worker_id, value in found.items()})

    def __len__(self) -> int:
        return len(self._identities)

    def check(self, registration: WorkerRegistration, now_unix_ms: int) -> None:
        """Check that the worker's enrolled identity signed this registration and it is valid now. Raises BadRegistration."""
        if (identity := self._identities.get(registration.worker_id)) is None:
            raise BadRegistration(
                f"{registration.worker_id} is not enrolled with the vault: add its identity's public key to the file that"
                " KEYFERRY_ENROLLED_WORKERS_FILE names"
            )
        verify(registration, identity, now_unix_ms)


class VerifiedRegistrations:
    """A cache of verified registrations, so that a lease needs no query and no signature check.

    Another replica may have a newer public key of the same process; the cached one is valid until it expires.
    """

    def __init__(self) -> None:
        self._verified: dict[tuple[str, str], WorkerRegistration] = {}

    def put(self, registration: WorkerRegistration, now_unix_ms: int) -> None:
        """Add one, and evict the expired ones."""
        self._verified = {who: known for who, known in self._verified.items() if known.not_after_unix_ms > now_unix_ms}
        self._verified[registration.worker_id, registration.instance_id] = registration

    def get(self, worker_id: str, instance_id: str, now_unix_ms: int) -> WorkerRegistration | None:
        """Return the registration of a process until it expires."""
        known = self._verified.get((worker_id, instance_id))
        return known if known is not None and known.not_after_unix_ms > now_unix_ms else None


def _reject_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a worker is named twice")
    return found


def _parse_identity(worker_id: str, value: object) -> Ed25519PublicKey:
    try:
        if isinstance(value, str):
            return verifying_key(value)
    except BadKeyFile:
        pass
    raise BadEnrolment(f"the public key of {worker_id} in the file of enrolled workers is not 32 bytes in base64url")
