"""Follows the providers that an operator adds and retires, for the services that are not their owner."""

from keyferry.contracts.provider_edits import install_providers
from keyferry.contracts.providers import PROVIDERS
from keyferry.contracts.routing_management import PROVIDERS_VIEW
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.views import KvView


def follow_providers(service: Service) -> None:
    """Keep the directory of providers of this process current while the service runs.

    The service is ready without it: the providers of this build are always known.
    """
    view = KvView(service.bus, PROVIDERS_VIEW)
    view.on_change(lambda: install_providers(PROVIDERS, (entry for _, entry in view), view.unreadable))
    service.opens(view.start, view.stop)
