"""From the claims of a token to a person, memberships and a tier, by the installation's configuration. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.ids import is_tenant_id
from keyferry.contracts.sessions import MAX_MEMBERSHIPS, ClaimedMembership, Email, PersonName
from keyferry.contracts.tenancy import PLATFORM_TENANT, Tier
from keyferry.contracts.text import clean, is_safe

_MAX_VALUES = 1000
_MAX_NAME_CHARACTERS = 100
_MAX_METHODS = 16
_MAX_METHOD_CHARACTERS = 200
_EMAIL: TypeAdapter[str] = TypeAdapter(Email)
_NAME: TypeAdapter[str] = TypeAdapter(PersonName)

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class ClaimsMapping:
    """Which claims mean what. A path is a claim's name, or names separated by dots; an empty one means nothing."""

    tenant: str = "tenant"
    role: str = "realm_access.roles"
    operator: str = "realm_access.roles"
    membership: str = "groups"
    tier: str = "subscription_tier"
    name: str = "name"
    email: str = "email"
    roles: Mapping[str, AccessRole] = field(default_factory=lambda: {f"keyferry-{role}": role for role in TENANT_ROLES})
    """Value of the role's claim -> role. Other values mean nothing: a provider has roles of other programs, too."""
    operators: frozenset[str] = frozenset({"keyferry-operator"})
    """Values of the operator's claim that make an operator."""
    tenants: Mapping[str, str] = field(default_factory=dict)
    """Value of the tenant's claim -> tenant; without any, a value is the tenant's own name."""
    memberships: Mapping[str, ClaimedMembership] = field(default_factory=dict)
    """Value of the membership's claim, such as a group -> tenant and role."""
    tiers: Mapping[str, Tier] = field(default_factory=lambda: {tier.value: tier for tier in Tier})


@dataclass(frozen=True, slots=True)
class ClaimedIdentity:
    """Who a token says that somebody is, and what it lets them do."""

    subject: str
    name: str
    email: str | None
    """Only one that the provider has verified."""
    operator: bool
    memberships: tuple[ClaimedMembership, ...]
    says_memberships: bool
    """Whether it names all memberships, so that others end. A claim that is left out names none: many leave out empty ones."""
    tier: Tier | None
    acr: str | None
    amr: tuple[str, ...]
    auth_time: int | None
    """Seconds since 1970."""


def read_identity(claims: Mapping[str, object], mapping: ClaimsMapping) -> ClaimedIdentity:
    """Return what the claims of a verified token mean. A claim of another form than expected means nothing."""
    subject = claims["sub"]
    assert isinstance(subject, str)
    tiers = _mapped(claims, mapping.tier, mapping.tiers)
    acr, moment = claims.get("acr"), claims.get("auth_time")
    return ClaimedIdentity(
        subject=subject,
        name=_name(claims, mapping),
        email=_email(claims, mapping),
        operator=not mapping.operators.isdisjoint(_texts(claims, mapping.operator)),
        memberships=_memberships(claims, mapping),
        says_memberships=not any(
            _is_elsewhere(claims, path) for path in (mapping.tenant, mapping.role, mapping.membership)
        ),
        tier=tiers[0] if len(set(tiers)) == 1 else None,
        acr=acr if isinstance(acr, str) and _is_method(acr) else None,
        amr=tuple(value for value in _texts(claims, "amr") if _is_method(value))[:_MAX_METHODS],
        auth_time=int(moment)
        if isinstance(moment, int) and not isinstance(moment, bool) and 0 <= moment < 2**40
        else None,
    )


def look_up(claims: Mapping[str, object], path: str) -> object:
    """Return the claim at a dotted path, or None. A claim whose own name has the dots, such as a URL, comes first."""
    if path in claims:
        return claims[path]
    found: object = claims
    for name in path.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(name)
    return found


def _is_elsewhere(claims: Mapping[str, object], path: str) -> bool:
    """Return whether the provider keeps a claim out of the token, which would be too long (OpenID Connect Core, 5.6.2).

    Entra ID does so with the groups of somebody who has more than 200, or says `hasgroups`.
    """
    names = claims.get("_claim_names")
    return (isinstance(names, Mapping) and path.partition(".")[0] in names) or (
        path == "groups" and claims.get("hasgroups") is True
    )


def _texts(claims: Mapping[str, object], path: str) -> Sequence[str]:
    """Return the texts of a claim that is one or a list of them."""
    if not path:
        return ()
    found = look_up(claims, path)
    values = [found] if isinstance(found, str) else found
    return [value for value in values[:_MAX_VALUES] if isinstance(value, str)] if isinstance(values, list) else ()


def _mapped(claims: Mapping[str, object], path: str, known: Mapping[str, V]) -> list[V]:
    return [known[value] for value in _texts(claims, path) if value in known]


def _memberships(claims: Mapping[str, object], mapping: ClaimsMapping) -> tuple[ClaimedMembership, ...]:
    """Return the memberships, each tenant once, with the most powerful of its roles."""
    found: dict[str, AccessRole] = {}
    roles = sorted(_mapped(claims, mapping.role, mapping.roles), key=TENANT_ROLES.index)
    if roles:
        for value in _texts(claims, mapping.tenant):
            tenant = mapping.tenants.get(value) if mapping.tenants else value
            if tenant is not None:
                _add(found, tenant, roles[0])
    for membership in _mapped(claims, mapping.membership, mapping.memberships):
        _add(found, membership.tenant, membership.role)
    return tuple(ClaimedMembership(tenant=tenant, role=role) for tenant, role in list(found.items())[:MAX_MEMBERSHIPS])


def _add(found: dict[str, AccessRole], tenant: str, role: AccessRole) -> None:
    """Add a membership; nobody is a member of the platform's own tenant, whose keys are the operator's."""
    if not is_tenant_id(tenant) or tenant == PLATFORM_TENANT:
        return
    known = found.get(tenant)
    if known is None or TENANT_ROLES.index(role) < TENANT_ROLES.index(known):
        found[tenant] = role


def _name(claims: Mapping[str, object], mapping: ClaimsMapping) -> str:
    for path in (mapping.name, "preferred_username"):
        for value in _texts(claims, path):
            if name := _valid(_NAME, clean(value, _MAX_NAME_CHARACTERS).strip()):
                return name
    return "somebody without a name"


def _email(claims: Mapping[str, object], mapping: ClaimsMapping) -> str | None:
    """Return the address, if the provider says that it is the person's: an invitation is accepted by it."""
    if claims.get("email_verified") is not True:
        return None
    for value in _texts(claims, mapping.email):
        if is_safe(value) and (email := _valid(_EMAIL, value.lower())):
            return email
    return None


def _valid(adapter: TypeAdapter[str], text: str) -> str | None:
    """Return a text as a session has it, or None: a strange name or address must not keep anybody from signing in."""
    try:
        return adapter.validate_python(text)
    except ValidationError:
        return None


def _is_method(text: str) -> bool:
    return 0 < len(text) <= _MAX_METHOD_CHARACTERS and is_safe(text)
