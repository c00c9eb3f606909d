"""Sealing of provider keys and integration secrets that arrive in clear text, to the pinned intake key only. Pure."""

from collections.abc import Collection, Mapping

from keyferry.contracts.integration_formats import ImplausibleSecret, check_secret_format
from keyferry.contracts.integration_secrets import IntegrationKind
from keyferry.contracts.key import IntakeKey, ProviderKey
from keyferry.contracts.key_address import UnusableAddress, key_address
from keyferry.contracts.providers import ImplausibleKey, check_format
from keyferry.contracts.secret import Secret
from keyferry.runtime.http.problem import INVALID_REQUEST, HttpProblem
from keyferry.sealing.intake import seal_integration_secret, seal_key
from keyferry.sealing.suite import UnknownSuite


class Sealer:
    """Seals to the intake key that was pinned when the installation was set up (base64url), and nothing in `own`.

    `own` are credentials of this installation, which need not have a form that distinguishes them from a provider's key.
    """

    def __init__(self, pinned: str, own: Collection[Secret] = ()) -> None:
        self._pinned = pinned
        self._own = tuple(own)

    def require_pinned(self, received: IntakeKey) -> IntakeKey:
        """Return the key received over the bus if it is the pinned one. Raises HttpProblem 503."""
        if received.public_key != self._pinned:
            raise HttpProblem(
                503,
                "api_error",
                "intake_key_mismatch",
                "the vault's intake key is not the pinned one, so nothing was sealed or sent: if it was changed on purpose, the"
                " operator must pin the new one; otherwise somebody may intercept traffic between the console and the vault",
            )
        return received

    def seal_new(
        self,
        intake: IntakeKey,
        tenant: str,
        provider: str,
        base_url: str | None,
        fields: Mapping[str, str],
        key: Secret,
    ) -> str:
        """Seal `key` for its tenant, provider and address. Raises HttpProblem 422 and 503."""
        try:
            address = key_address(
                provider, base_url, fields, operator_urls=intake.base_urls, private_networks=intake.private_networks
            )
        except UnusableAddress as error:
            raise HttpProblem(422, INVALID_REQUEST, "invalid_address", f"{error}; nothing was sent") from None
        return self._seal(intake, tenant, provider, address.origin, key)

    def seal_replacement(self, intake: IntakeKey, stored: ProviderKey, key: Secret) -> str:
        """Seal `key` as the replacement of a stored one. Raises HttpProblem 422 and 503."""
        return self._seal(intake, stored.tenant, stored.provider, stored.origin, key)

    def seal_integration(self, intake: IntakeKey, tenant: str, kind: IntegrationKind, secret: Secret) -> str:
        """Seal an integration secret for its owner and kind. Raises HttpProblem 422 and 503."""
        pinned = self.require_pinned(intake)
        try:
            check_secret_format(kind, secret.reveal(), private_networks=pinned.private_networks)
            if secret in self._own:
                raise ImplausibleSecret(
                    "this is the operator's token of this installation, and no secret of an integration"
                )
            return seal_integration_secret(pinned.public_key, tenant, kind.value, secret, suite=pinned.suite)
        except ImplausibleSecret as error:
            message = f"{error}; nothing was sent"
            raise HttpProblem(422, INVALID_REQUEST, "implausible_secret", message, param="secret") from None
        except UnknownSuite:
            raise _unknown_suite() from None

    def _seal(self, intake: IntakeKey, tenant: str, provider: str, origin: str, key: Secret) -> str:
        pinned = self.require_pinned(intake)
        try:
            check_format(provider, key.reveal())
            if key in self._own:
                raise ImplausibleKey("this is the operator's token of this installation, and no key of a provider")
            return seal_key(pinned.public_key, tenant, provider, origin, key, suite=pinned.suite)
        except ImplausibleKey as error:
            message = f"{error}; nothing was sent"
            raise HttpProblem(422, INVALID_REQUEST, "implausible_key", message, param="key") from None
        except UnknownSuite:
            raise _unknown_suite() from None


def _unknown_suite() -> HttpProblem:
    message = "this console does not support the vault's cipher suite: run both in the same version"
    return HttpProblem(503, "api_error", "unavailable", message)
