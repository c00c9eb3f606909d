"""Seals provider keys that came in clear, to the pinned intake key and to no other. Pure."""

from collections.abc import Mapping

from keyferry.contracts.key import IntakeKey, ProviderKey
from keyferry.contracts.key_address import UnusableAddress, key_address
from keyferry.contracts.providers import ImplausibleKey, check_format
from keyferry.contracts.secret import Secret
from keyferry.sealing.intake import seal_key
from keyferry.sealing.suite import UnknownSuite
from services.console.problem import INVALID_REQUEST, Problem


class Sealer:
    """Knows the intake key that was pinned when the installation was made (base64url)."""

    def __init__(self, pinned: str) -> None:
        self._pinned = pinned

    def trusted(self, told: IntakeKey) -> IntakeKey:
        """What came over the bus, when it is the pinned key. Raises Problem 503."""
        if told.public_key != self._pinned:
            raise Problem(
                503,
                "api_error",
                "intake_key_mismatch",
                "the vault's intake key is not the pinned one, so nothing was sealed or sent: if it was changed on purpose, the"
                " operator has to pin the new one; otherwise somebody stands between the console and the vault",
            )
        return told

    def seal_new(
        self,
        intake: IntakeKey,
        tenant: str,
        provider: str,
        base_url: str | None,
        fields: Mapping[str, str],
        key: Secret,
    ) -> str:
        """`key` sealed for its tenant, provider and address. Raises Problem 422 and 503."""
        try:
            address = key_address(
                provider, base_url, fields, operator_urls=intake.base_urls, private_networks=intake.private_networks
            )
        except UnusableAddress as error:
            raise Problem(422, INVALID_REQUEST, "invalid_address", f"{error}; nothing was sent") from None
        return self._sealed(intake, tenant, provider, address.origin, key)

    def seal_replacement(self, intake: IntakeKey, stored: ProviderKey, key: Secret) -> str:
        """`key` sealed for the place of a stored one. Raises Problem 422 and 503."""
        return self._sealed(intake, stored.tenant, stored.provider, stored.origin, key)

    def _sealed(self, intake: IntakeKey, tenant: str, provider: str, origin: str, key: Secret) -> str:
        trusted = self.trusted(intake)
        try:
            check_format(provider, key.reveal())
            return seal_key(trusted.public_key, tenant, provider, origin, key, suite=trusted.suite)
        except ImplausibleKey as error:
            message = f"{error}; nothing was sent"
            raise Problem(422, INVALID_REQUEST, "implausible_key", message, param="key") from None
        except UnknownSuite:
            message = "the vault seals in a way that this console does not know: run both of one version"
            raise Problem(503, "api_error", "unavailable", message) from None
