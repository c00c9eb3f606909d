"""Tenants whose requests are refused because an entry of a view that limits them cannot be read.

A limit that is left out lets more pass than somebody decided: without its preferences a tenant leaves the European Union, without
its own key the platform pays. An older value is no substitute, since the unreadable one may be the limit.
"""

from collections.abc import Sequence
from typing import Any

from keyferry.contracts.tenancy import PLATFORM_TENANT
from keyferry.runtime.views import KvView


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


def _describe(tenant: str, view: KvView[Any]) -> str:
    whose = tenant if tenant in view.unreadable_owners else "the whole installation"
    return (
        f"nothing was sent, because the gateway cannot read what limits the requests of {tenant}: an entry of its view"
        f" {view.bucket.name} about {whose} is damaged. The operator sees with `keyferry status` what to do"
    )
