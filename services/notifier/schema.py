"""The schema `notifier`, which the stores add their tables to."""

from pathlib import Path

from keyferry.contracts.topology import Role
from keyferry.runtime.database.service_database import ServiceSchema

NOTIFIER_SCHEMA = ServiceSchema(Role.NOTIFIER, Path(__file__).parent / "migrations" / "versions")
