"""The sets of roles that the access tables are written with. Pure."""

from keyferry.contracts.access_role import AccessRole

OPERATORS = frozenset({AccessRole.OPERATOR})
# In the tenant of the credential: the operator's is the platform itself.
OWNERS = OPERATORS | {AccessRole.OWNER}
ADMINS = OWNERS | {AccessRole.ADMIN}
DEVELOPERS = ADMINS | {AccessRole.DEVELOPER}
EVERYBODY = DEVELOPERS | {AccessRole.VIEWER}
