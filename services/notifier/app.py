"""Assembles the notifier."""

from functools import partial

from keyferry.contracts.topology import Role
from keyferry.runtime.database.service_database import ServiceDatabase
from keyferry.runtime.process.lifecycle import Service
from keyferry.runtime.process.settings import load
from services.notifier.handlers import NotifierHandlers
from services.notifier.schema import NOTIFIER_SCHEMA
from services.notifier.settings import NotifierSettings


def create_app(settings: NotifierSettings | None = None) -> Service:
    """Assemble a notifier from `settings`, or from the environment. Raises SettingsError."""
    settings = settings or load(NotifierSettings)
    service = Service(Role.NOTIFIER, settings)
    database = ServiceDatabase.of(settings, NOTIFIER_SCHEMA)
    NotifierHandlers(database).register(service.bus)
    service.opens(partial(database.open, service.bus), database.close)
    service.needs("PostgreSQL, and the published events", database.is_publishing)
    return service
