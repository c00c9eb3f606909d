"""The roles of people: four in a tenant, and the operator of the installation. Pure."""

from enum import StrEnum


class AccessRole(StrEnum):
    """What a person may do. Each of the first four includes the ones after it, in its own tenant."""

    OWNER = "owner"
    """Everything in the tenant, its owners and its deletion included."""
    ADMIN = "admin"
    """Keys, client tokens, preferences, rules, budgets, members and the audit log."""
    DEVELOPER = "developer"
    """Reads, tries and estimates; has client tokens of its own."""
    VIEWER = "viewer"
    """Reads usage, requests, health and settings."""
    OPERATOR = "operator"
    """Operates the installation, and acts for any tenant; never a member's role."""


TENANT_ROLES = (AccessRole.OWNER, AccessRole.ADMIN, AccessRole.DEVELOPER, AccessRole.VIEWER)
"""The roles of a tenant's members, the most powerful first."""
