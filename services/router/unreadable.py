"""Tenants whose requests are refused because an entry of a view that limits them cannot be read, or because there are none.

A limit that is left out lets more pass than somebody decided: without its preferences a tenant leaves the European Union, without
its own key the platform pays. An older value is no substitute, since the unreadable one may be the limit.
"""

from collections.abc import Sequence
from typing import Any

from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.bus.requests import Refused
from keyferry.runtime.views import KvView
from services.router.planning.context import RoutingContext


class UnreadableLimits:
    """Finds what limits a tenant's requests and cannot be read."""

    def __init__(self, views: Sequence[KvView[Any]], for_all: Sequence[KvView[Any]]) -> None:
        """Watch `views`, whose entries limit their tenant; in those of `for_all` the platform's entries limit every tenant."""
        self._views = tuple(views)
        self._for_all = tuple(for_all)

    def of(self, tenant: str) -> str | None:
        """Return why nothing may be sent for a tenant; None if everything about it can be read."""
        for view in self._views:
            if view.unreadable_owners and (
                tenant in view.unreadable_owners
                or (PLATFORM_TENANT in view.unreadable_owners and view in self._for_all)
            ):
                return _describe(tenant, view)
        return None


def require_tenant(tenant: str, context: RoutingContext) -> None:
    """Check that a tenant whose settings are read or changed exists; `context` is the tenant's. Raises Refused.

    Its limits may be unreadable, since saving them anew repairs them; the tenant itself may not.
    """
    if context.tenant is not None:
        return
    if context.unreadable is not None:
        raise Refused(ErrorCode.UNAVAILABLE, f"{context.unreadable}; try again when it is repaired")
    raise Refused(ErrorCode.NOT_FOUND, f"there is no tenant {tenant}; add it with `keyferry tenants create`")


def _describe(tenant: str, view: KvView[Any]) -> str:
    whose = tenant if tenant in view.unreadable_owners else "the whole installation"
    return (
        f"nothing was sent, because the gateway cannot read what limits the requests of {tenant}: an entry of its view"
        f" {view.bucket.name} about {whose} is damaged. The operator sees with `keyferry status` what to do"
    )
