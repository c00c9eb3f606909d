"""The subjects of client tokens' rotation and use: the part of `topology` about client tokens.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import client_token_use, tenancy
from keyferry.contracts.channels import AnySubject, Role, core, manage

_DIRECTORY = Role.TENANT_DIRECTORY

TOKEN_ROTATE = manage(
    "kf.v1.token.rotate",
    client_token_use.RotateClientToken,
    tenancy.ClientToken,
    _DIRECTORY,
    "Give a client token a new secret; the old one is accepted for a while.",
)
TOKEN_END_OVERLAP = manage(
    "kf.v1.token.end_overlap",
    client_token_use.EndTokenOverlap,
    tenancy.ClientToken,
    _DIRECTORY,
    "Stop accepting the secret before a client token's current one.",
)
TOKEN_USED = core(
    "kf.v1.token.used",
    client_token_use.ClientTokensUsed,
    publishers=(Role.INGRESS,),
    subscriber=_DIRECTORY,
    queue=_DIRECTORY.value,
    summary="An ingress reports which client tokens it has accepted, at most once a minute.",
)
SUBJECTS: tuple[AnySubject, ...] = (TOKEN_ROTATE, TOKEN_END_OVERLAP, TOKEN_USED)
