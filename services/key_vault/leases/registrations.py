"""Which workers the vault delivers to: enrolled by an administrator, registered by a process, for an hour at most.

A registration is believed for its signature and for nothing else: not for the subject it came on, and not for the table it is
kept in. So neither a hostile bus nor a changed row makes the vault seal a key to somebody else's public key.
"""

import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyferry.contracts.key import WorkerRegistration
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
        """From JSON: an object of worker id -> public key in base64url. Raises BadEnrolment."""
        try:
            found = json.loads(text, object_pairs_hook=_without_repeats)
        except ValueError as error:
            raise BadEnrolment(f"the file of enrolled workers is no JSON object: {error}") from None
        if not isinstance(found, dict):
            raise BadEnrolment("the file of enrolled workers has to hold a JSON object of worker id -> public key")
        return cls({worker_id: _identity(worker_id, value) for worker_id, value in found.items()})

    def __len__(self) -> int:
        return len(self._identities)

    def check(self, registration: WorkerRegistration, now_unix_ms: int) -> None:
        """Nothing when this registration was made by the identity its worker was enrolled with, and is good now.

        Raises BadRegistration.
        """
        if (identity := self._identities.get(registration.worker_id)) is None:
            raise BadRegistration(
                f"{registration.worker_id} is not enrolled with the vault: add its identity's public key to the file that"
                " KEYFERRY_ENROLLED_WORKERS_FILE names"
            )
        verify(registration, identity, now_unix_ms)


class KnownRegistrations:
    """Registrations that were checked, so that a lease need not ask the table and check a signature again.

    Another replica may have heard of a newer public key of the same process; the one here still opens until it runs out.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], WorkerRegistration] = {}

    def put(self, registration: WorkerRegistration, now_unix_ms: int) -> None:
        """Remember one; what has run out is forgotten."""
        self._known = {who: known for who, known in self._known.items() if known.not_after_unix_ms > now_unix_ms}
        self._known[registration.worker_id, registration.instance_id] = registration

    def get(self, worker_id: str, instance_id: str, now_unix_ms: int) -> WorkerRegistration | None:
        """The registration of a process, while it lasts."""
        known = self._known.get((worker_id, instance_id))
        return known if known is not None and known.not_after_unix_ms > now_unix_ms else None


def _without_repeats(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a worker is named twice")
    return found


def _identity(worker_id: str, value: object) -> Ed25519PublicKey:
    try:
        if isinstance(value, str):
            return verifying_key(value)
    except BadKeyFile:
        pass
    raise BadEnrolment(f"the public key of {worker_id} in the file of enrolled workers is not 32 bytes in base64url")
