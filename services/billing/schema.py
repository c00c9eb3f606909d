"""The schema `billing`, which the stores add their tables to."""

from pathlib import Path

from keyferry.contracts.topology import Role
from keyferry.runtime.database.service_database import ServiceSchema

BILLING_SCHEMA = ServiceSchema(Role.BILLING, Path(__file__).parent / "migrations" / "versions")
