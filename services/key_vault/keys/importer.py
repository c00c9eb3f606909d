"""Imports a sealed provider key: its address, its secret, and what may be known of it. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts import ids
from keyferry.contracts.addresses import AddressPolicy, check_reachable
from keyferry.contracts.key import KeyStatus, NewKey, ProviderKey
from keyferry.contracts.key_address import KeyAddress, UnusableAddress, key_address
from keyferry.contracts.origin import ForbiddenUrl
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.intake import IntakeOpener, InvalidSealedKey
from keyferry.tiers.byok import ByokSwitch
from keyferry.tiers.file import Tiers
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys import lifecycle
from services.key_vault.keys.validation import check_plausible, mask

Fingerprint = Callable[[str, Secret], str]
"""Tenant and key -> 16 hex digits."""
_UNKNOWN = {"masked": "…", "fingerprint": "0" * 16}
"""Until the sealed key is opened."""


@dataclass(frozen=True, slots=True)
class SecretProvenance:
    """When a secret was rotated in, and by whom; null for the one that a key was added with."""

    at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class ImportRules:
    """The operator's settings for keys. `operator_urls` and `private_networks` as in `key_address`."""

    byok: ByokSwitch
    operator_urls: Mapping[str, str]
    private_networks: bool
    addresses: AddressPolicy
    revert_after: timedelta
    tiers: Tiers


class KeyImporter:
    """Opens what was sealed to the intake key. Every method raises RequestRejected."""

    def __init__(self, opener: IntakeOpener, fingerprint: Fingerprint, rules: ImportRules) -> None:
        self._opener = opener
        self._fingerprint = fingerprint
        self._rules = rules

    def import_new(self, command: NewKey, label: str, now: datetime) -> tuple[ProviderKey, Secret]:
        """Return a key that is not stored, as it is before its test, and its secret."""
        address = self._resolve_address(command)
        key = ProviderKey(
            key_id=ids.new(ids.PROVIDER_KEY),
            tenant=command.tenant,
            provider=command.provider,
            label=label,
            status=KeyStatus.UNTESTED,
            version=1,
            origin=address.origin,
            base_url=address.base_url,
            fields=command.fields,
            created_at=now,
            created_by=command.actor,
            **_UNKNOWN,
        )
        secret = self.open_sealed(command.sealed, key)
        return key.model_copy(update=self._identify(key, secret)), secret

    def open_sealed(self, sealed: str, key: ProviderKey) -> Secret:
        """Return what was sealed for this key's tenant, provider and origin."""
        try:
            secret = self._opener.open(sealed, key.tenant, key.provider, key.origin)
        except InvalidSealedKey as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored") from None
        check_plausible(key.provider, secret)
        return secret

    def replace_secret(
        self, key: ProviderKey, secret: Secret, provenance: SecretProvenance, revert_until: datetime | None
    ) -> ProviderKey:
        """Return a stored key with another secret, untested, without the former one's reminders."""
        fresh: dict[str, object] = {
            "version": key.version + 1,
            "rotated_at": provenance.at,
            "rotated_by": provenance.by,
            "rotation_due": False,
            "credit_low": False,
            "status": lifecycle.status_after(key, lifecycle.Event.REPLACED),
            "revert_until": revert_until,
            "last_test": None,
            "models": [],
        }
        return key.model_copy(update=fresh | self._identify(key, secret))

    def _identify(self, key: ProviderKey, secret: Secret) -> dict[str, object]:
        return {"masked": mask(key.provider, secret), "fingerprint": self._fingerprint(key.tenant, secret)}

    def _resolve_address(self, command: NewKey) -> KeyAddress:
        try:
            address = key_address(
                command.provider,
                command.base_url,
                command.fields,
                operator_urls=self._rules.operator_urls,
                private_networks=self._rules.private_networks,
            )
            check_reachable(address.base_url, self._rules.addresses)
        except UnusableAddress as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored") from None
        except ForbiddenUrl as error:
            reason = f"the base URL cannot be used: {error.reason}; nothing was stored"
            raise RequestRejected(ErrorCode.INVALID, reason) from None
        return address
