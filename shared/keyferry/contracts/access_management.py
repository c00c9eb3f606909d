"""The record of operators' access to tenants, which a tenant's owners see in its audit log; a part of `topology`. Pure."""

from typing import Annotated

from keyferry.contracts.channels import AnySubject, Role, Subject, manage
from keyferry.contracts.envelope import Command, Message
from keyferry.contracts.ids import Actor, TenantId
from keyferry.contracts.text import Refusing

COALESCED_SECONDS = 300
"""Accesses of one operator to one resource of a tenant within this time are one entry of the audit log."""

Resource = Annotated[str, Refusing(64, pattern=r"^[a-z][a-z0-9_-]*$", form="a word as in provider-keys")]
AccessSource = Annotated[str, Refusing(64, pattern=r"^[0-9A-Za-z.:_-]+$", form="an IP address, or a word")]


class RecordAccess(Command):
    """Record that an operator reads a tenant's data, before it does."""

    tenant: TenantId
    actor: Actor
    resource: Resource
    """What is read: the first part of a route, such as `provider-keys`."""
    source: AccessSource | None = None
    """From where: an IP address, or `bus`; null if it is unknown."""


class AccessRecorded(Message):
    """The answer to `RecordAccess`: the access is in the tenant's audit log."""

    coalesced: bool = False
    """Whether an entry of the last minutes stands for it."""


ACCESS_RECORD = manage(
    "kf.v1.access.record",
    RecordAccess,
    AccessRecorded,
    Role.TENANT_DIRECTORY,
    "Record that an operator reads a tenant's data.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above."""
