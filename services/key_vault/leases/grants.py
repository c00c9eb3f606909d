"""Whether a lease request comes from a request of its tenant that is under way, and whether somebody pays for it.

A worker that was broken into has the grants of the requests that it gets, and of no others. So it can lease keys of tenants whose
requests it serves while it is broken into, but it cannot list and lease the keys of everybody else. Pure.
"""

from collections import OrderedDict
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyferry.contracts.lease import LeaseKey
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.sealing.credit_certificate import pays_for
from keyferry.sealing.grant_check import (
    GrantedRequest,
    InvalidCertificate,
    InvalidGrant,
    KeyOfSigner,
    verify_certificate,
    verify_grant,
)
from keyferry.sealing.registration import MAX_SKEW_MS
from services.key_vault.database.errors import RequestRejected

MOST_KEYS = 16
"""Keys that one request gets, counted once for each worker: five attempts, each of which may be sent twice, and some to spare."""
MOST_REQUESTS = 100_000
"""Requests whose use is counted; beyond, that of the oldest is forgotten."""


class NotGranted(RequestRejected):
    """A lease request without proof of a request under way, or of somebody who pays. The message may be shown."""

    def __init__(self, message: str) -> None:
        super().__init__(ErrorCode.INVALID, message)


@dataclass(slots=True)
class _Use:
    end_unix_ms: int
    keys: set[tuple[str, str, str]] = field(default_factory=set)
    """Worker, owner and key id."""


class GrantUses:
    """Counts for how many keys each request's grant was used, in this process of the vault."""

    def __init__(self, most_keys: int = MOST_KEYS, most_requests: int = MOST_REQUESTS) -> None:
        self._most_keys = most_keys
        self._most_requests = most_requests
        self._uses: OrderedDict[GrantedRequest, _Use] = OrderedDict()

    def __len__(self) -> int:
        return len(self._uses)

    def may_use(self, request: GrantedRequest, key: tuple[str, str, str], end_unix_ms: int, now_unix_ms: int) -> bool:
        """Count a use of a grant that ends at `end_unix_ms`; return whether it may be used for this key of this worker.

        A worker may ask for the same key again, as it does when an answer is lost.
        """
        self._forget_ended(now_unix_ms)
        use = self._uses.setdefault(request, _Use(end_unix_ms))
        if key in use.keys:
            return True
        if len(use.keys) >= self._most_keys:
            return False
        use.keys.add(key)
        if len(self._uses) > self._most_requests:
            self._uses.popitem(last=False)
        return True

    def _forget_ended(self, now_unix_ms: int) -> None:
        while self._uses:
            first = next(iter(self._uses.values()))
            if first.end_unix_ms + MAX_SKEW_MS >= now_unix_ms:
                return
            self._uses.popitem(last=False)


class GrantCheck:
    """Checks lease requests before anything is looked up.

    `ledger` is the public key of the certificates that keys of the platform need; None if attempts are not paid in credits.
    """

    def __init__(self, key_of: KeyOfSigner, ledger: Ed25519PublicKey | None, uses: GrantUses | None = None) -> None:
        self._key_of = key_of
        self._ledger = ledger
        self._uses = uses or GrantUses()

    def check(self, worker_id: str, request: LeaseKey, now_unix_ms: int) -> None:
        """Check a request's grant and, for a key of the platform, its certificate. Raises NotGranted."""
        if request.grant is None or request.request_id is None:
            raise NotGranted(
                "keys are released only for requests that are under way, and this lease request names none: see that ingress,"
                " routers and workers are of this version, and that a tenant's own program signs its requests"
                " (`connect_with_credentials`)"
            )
        granted = GrantedRequest(request.tenant, request.request_id)
        try:
            grant = verify_grant(request.grant, granted, self._key_of, now_unix_ms)
            self._check_certificate(request, now_unix_ms)
        except (InvalidGrant, InvalidCertificate) as error:
            raise NotGranted(str(error)) from None
        if not self._uses.may_use(granted, (worker_id, request.owner, request.key_id), grant.end_unix_ms, now_unix_ms):
            raise NotGranted(
                f"the request {request.request_id} was used for {MOST_KEYS} keys already, and no request needs more"
            )

    def _check_certificate(self, request: LeaseKey, now_unix_ms: int) -> None:
        if self._ledger is None or request.owner != PLATFORM_TENANT or request.tenant == PLATFORM_TENANT:
            return
        certificate = request.certificate
        if certificate is None:
            raise InvalidCertificate(
                "a key of the platform is released only to who pays, and the request has no lease of credit: see that the usage"
                " ledger and the routers are of this version, and that KEYFERRY_CREDITS is the same for router and vault"
            )
        verify_certificate(certificate, request.tenant, self._ledger, now_unix_ms)
        if not pays_for(certificate, request.tenant):
            raise InvalidCertificate(
                f"the account {certificate.account} does not pay for requests of {request.tenant} on the platform's keys"
            )
