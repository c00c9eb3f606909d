"""One process of the tenant directory: `python -m services.tenant_directory`."""

from keyferry.contracts.topology import Role
from keyferry.runtime.lifecycle import main
from services.tenant_directory.app import create_app

main(Role.TENANT_DIRECTORY, create_app)
