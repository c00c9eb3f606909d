"""Keys as they arrive: where they are for, opened, plausible, and what may be known of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyferry.contracts import ids
from keyferry.contracts.key import KeyStatus, NewKey, ProviderKey
from keyferry.contracts.key_address import KeyAddress, UnusableAddress, key_address
from keyferry.contracts.secret import Secret
from keyferry.contracts.service import ErrorCode
from keyferry.sealing.intake import IntakeOpener, InvalidSealedKey
from services.key_vault.database.errors import RequestRejected
from services.key_vault.keys import lifecycle
from services.key_vault.keys import validation as intake
from services.key_vault.keys.quota import ByokSwitch

Fingerprint = Callable[[str, Secret], str]
"""Tenant and key -> 16 hex digits."""
_NOT_LOOKED_AT = {"masked": "…", "fingerprint": "0" * 16}


@dataclass(frozen=True, slots=True)
class SecretProvenance:
    """When a secret was given, and by whom; null for the one that a key was added with."""

    at: datetime | None
    by: str | None


@dataclass(frozen=True, slots=True)
class ImportRules:
    """What the operator has decided about keys. `operator_urls` and `private_networks` as in `key_address`."""

    byok: ByokSwitch
    operator_urls: Mapping[str, str]
    private_networks: bool
    revert_after: timedelta


class KeyImporter:
    """Opens what was sealed to the intake key. Every method raises Rejected."""

    def __init__(self, opener: IntakeOpener, fingerprint: Fingerprint, rules: ImportRules) -> None:
        self._opener = opener
        self._fingerprint = fingerprint
        self._rules = rules

    def newcomer(self, command: NewKey, label: str, now: datetime) -> tuple[ProviderKey, Secret]:
        """A key that is not stored: what is known of it before its test, and the key itself."""
        address = self._address(command)
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
            **_NOT_LOOKED_AT,
        )
        secret = self.unsealed(command.sealed, key)
        return key.model_copy(update=self._shown(key, secret)), secret

    def unsealed(self, sealed: str, key: ProviderKey) -> Secret:
        """What was sealed for this key's tenant, provider and origin."""
        try:
            secret = self._opener.open(sealed, key.tenant, key.provider, key.origin)
        except InvalidSealedKey as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored") from None
        intake.check_plausible(key.provider, secret)
        return secret

    def replaced(
        self, key: ProviderKey, secret: Secret, given: SecretProvenance, revert_until: datetime | None
    ) -> ProviderKey:
        """A stored key with another secret in its place, untested. What was noticed of the former one is not said of it."""
        fresh: dict[str, object] = {
            "version": key.version + 1,
            "rotated_at": given.at,
            "rotated_by": given.by,
            "rotation_due": False,
            "credit_low": False,
            "status": lifecycle.happened(key, lifecycle.Event.REPLACED),
            "revert_until": revert_until,
            "last_test": None,
            "models": [],
        }
        return key.model_copy(update=fresh | self._shown(key, secret))

    def _shown(self, key: ProviderKey, secret: Secret) -> dict[str, object]:
        return {
            "masked": intake.masked(key.provider, secret),
            "fingerprint": self._fingerprint(key.tenant, secret),
        }

    def _address(self, command: NewKey) -> KeyAddress:
        try:
            return key_address(
                command.provider,
                command.base_url,
                command.fields,
                operator_urls=self._rules.operator_urls,
                private_networks=self._rules.private_networks,
            )
        except UnusableAddress as error:
            raise RequestRejected(ErrorCode.INVALID, f"{error}; nothing was stored") from None
