"""Request bodies and queries about internal services. Pure."""

from pydantic import ConfigDict

from keyferry.contracts.internal_services import GrantPublicKey, Operations, PublicNkey, ServiceName
from services.console.bodies import Body, Paging


class CreateInternalServiceBody(Body):
    """An internal service to register. Generate both key pairs yourself, and send the public halves only."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "crm",
                    "nkey_public": "UAERE7MZB2ZTWNS3MUS2VCKSLMCHWZCN3ITUP3F6FGETKJK2U22LHN3A",
                    "grant_public_key": "rQy2-y1Fd_FAcTXiysUeZ0icLapsks5Bw8TPgL9ns9s",
                }
            ]
        }
    )

    name: ServiceName
    """Its name within the tenant: 1 to 63 of a-z, 0-9 and hyphens."""
    nkey_public: PublicNkey
    """The public nkey of its NATS user."""
    grant_public_key: GrantPublicKey
    """The public half of the Ed25519 key that signs its requests: 32 bytes in base64url without padding."""
    operations: Operations | None = None
    """The operations that it is for, as a note to people."""


class InternalServiceQuery(Paging):
    """A page of internal services."""

    revoked: bool = False
    """Whether revoked ones are listed as well."""
