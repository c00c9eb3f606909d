"""Whose signatures on grants the vault accepts: of those that its file names, and of registered internal services. Pure."""

import json
from collections.abc import Callable, Mapping

from keyferry.contracts.internal_services import InternalService, view_key
from keyferry.contracts.secret import Secret
from keyferry.contracts.topology import Role, internal_client
from keyferry.sealing.framing import from_base64
from keyferry.sealing.grant import HMAC_ROLES, KEY_BYTES
from keyferry.sealing.grant_check import GrantKey
from keyferry.sealing.private_keys import verifying_key

ServiceOf = Callable[[str], InternalService | None]
"""Finds an internal service in its view, by `<tenant>.<name>`."""


class BadGrantKeys(ValueError):
    """The file of grant keys cannot be used. The message says what is wrong with it, and repeats no key."""


class GrantKeys:
    """The keys that grants are checked with, by signer: secrets of the file, and public keys of registered services."""

    def __init__(self, secrets: Mapping[str, Secret]) -> None:
        self._secrets = dict(secrets)

    @classmethod
    def parse(cls, text: str) -> "GrantKeys":
        """Parse a JSON object of `ingress` and `operator` -> the secret of each, in base64url. Raises BadGrantKeys."""
        try:
            found = json.loads(text, object_pairs_hook=_reject_duplicates)
        except (ValueError, RecursionError) as error:
            raise BadGrantKeys(f"the file of grant keys is not a JSON object: {error}") from None
        if not isinstance(found, dict):
            raise BadGrantKeys("the file of grant keys has to hold a JSON object of signer -> key")
        return cls({signer: _parse_key(signer, value) for signer, value in found.items()})

    def __len__(self) -> int:
        return len(self._secrets)

    def get(self, signer: str, service_of: ServiceOf = lambda _: None) -> GrantKey | None:
        """Return the key of a signer, which may be an internal service; None if it may not sign, or not any more."""
        if (secret := self._secrets.get(signer)) is not None:
            return secret
        role, *rest = signer.split(".")
        if role != Role.INTERNAL_CLIENT or len(rest) != 2:
            return None
        service = service_of(view_key(*rest))
        if service is None or service.revoked_at is not None:
            return None
        if internal_client(service.tenant, service.name) != signer:
            return None
        return verifying_key(service.grant_public_key)


def _reject_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError("a signer is named twice")
    return found


def _parse_key(signer: str, value: object) -> Secret:
    if signer not in HMAC_ROLES:
        raise BadGrantKeys(
            f"the file of grant keys names a signer that is none of {', '.join(HMAC_ROLES)}: a tenant's own program is registered"
            " (`keyferry services create NAME --tenant TENANT`)"
        )
    try:
        if isinstance(value, str) and len(from_base64(value)) == KEY_BYTES:
            return Secret(value)
    except ValueError:
        pass
    raise BadGrantKeys(f"the key of {signer} in the file of grant keys is not {KEY_BYTES} bytes in base64url")
