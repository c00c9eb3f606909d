"""The subjects by which integration secrets are managed and read: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from keyferry.contracts import integration_secrets
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

_VAULT = Role.KEY_VAULT

INTEGRATION_SECRET_SAVE = manage(
    "kf.v1.integration_secret.save",
    integration_secrets.SaveIntegrationSecret,
    integration_secrets.IntegrationSecret,
    _VAULT,
    "Add an integration secret, which arrives sealed.",
)
INTEGRATION_SECRET_ROTATE = manage(
    "kf.v1.integration_secret.rotate",
    integration_secrets.RotateIntegrationSecret,
    integration_secrets.IntegrationSecret,
    _VAULT,
    "Replace an integration secret, with overlap.",
)
INTEGRATION_SECRET_REMOVE = manage(
    "kf.v1.integration_secret.remove",
    integration_secrets.RemoveIntegrationSecret,
    integration_secrets.IntegrationSecretRemoved,
    _VAULT,
    "Destroy an integration secret.",
)
INTEGRATION_SECRET_LIST = manage(
    "kf.v1.integration_secret.list",
    integration_secrets.ListIntegrationSecrets,
    integration_secrets.IntegrationSecretList,
    _VAULT,
    "List an owner's integration secrets, masked.",
)


def _lease(
    reader: Role,
) -> Subject[integration_secrets.LeaseIntegrationSecret, integration_secrets.IntegrationSecretLease]:
    """Return the subject of one reader, by which the server vouches for who asks."""
    return request(
        f"kf.v1.integration_secret.lease_to_{reader.value}",
        integration_secrets.LeaseIntegrationSecret,
        integration_secrets.IntegrationSecretLease,
        publishers=(reader,),
        subscribers=(_VAULT,),
        queue=_VAULT.value,
        summary=f"The {reader.value} reads an integration secret, sealed to a key of its process.",
    )


INTEGRATION_SECRET_LEASE_TO_BILLING = _lease(Role.BILLING)
INTEGRATION_SECRET_LEASE_TO_NOTIFIER = _lease(Role.NOTIFIER)
WEBHOOK_SECRET_SAVE = request(
    "kf.v1.webhook_secret.save",
    integration_secrets.SaveIntegrationSecret,
    integration_secrets.IntegrationSecret,
    publishers=(Role.NOTIFIER,),
    subscribers=(_VAULT,),
    queue=_VAULT.value,
    summary="The notifier adds the signing secret that it made for a webhook endpoint.",
)
WEBHOOK_SECRET_ROTATE = request(
    "kf.v1.webhook_secret.rotate",
    integration_secrets.RotateIntegrationSecret,
    integration_secrets.IntegrationSecret,
    publishers=(Role.NOTIFIER,),
    subscribers=(_VAULT,),
    queue=_VAULT.value,
    summary="The notifier replaces the signing secret of a webhook endpoint, with overlap.",
)
WEBHOOK_SECRET_REMOVE = request(
    "kf.v1.webhook_secret.remove",
    integration_secrets.RemoveIntegrationSecret,
    integration_secrets.IntegrationSecretRemoved,
    publishers=(Role.NOTIFIER,),
    subscribers=(_VAULT,),
    queue=_VAULT.value,
    summary="The notifier destroys the signing secret of a webhook endpoint.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
LEASES: Mapping[
    Role, Subject[integration_secrets.LeaseIntegrationSecret, integration_secrets.IntegrationSecretLease]
] = MappingProxyType(
    {Role.BILLING: INTEGRATION_SECRET_LEASE_TO_BILLING, Role.NOTIFIER: INTEGRATION_SECRET_LEASE_TO_NOTIFIER}
)
"""The subject by which each role that reads integration secrets asks for one."""
READABLE: Mapping[Role, frozenset[integration_secrets.IntegrationKind]] = MappingProxyType(
    {Role.BILLING: integration_secrets.BILLING_KINDS, Role.NOTIFIER: integration_secrets.NOTIFIER_KINDS}
)
"""The kinds that each of them may read."""
