"""One process of the tenant directory: `python -m services.tenant_directory`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.process.boot import boot

boot("services.tenant_directory.app", Role.TENANT_DIRECTORY)
