"""The demo tenant's internal service: its credentials file, and its registration."""

from pathlib import Path

from deploy.postgres.roles import write_secret
from keyferry.cli.connection import OperatorConnection
from keyferry.cli.installation import InstallationState
from keyferry.client.credentials import BadCredentials, ServiceCredentials, generate, read
from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    CreateInternalService,
    ListInternalServices,
)
from keyferry.runtime.process.settings import read_nkey_seed

NAME = "main"


async def ensure_demo_service(session: OperatorConnection, state: InstallationState, tenant: str) -> None:
    """Write the credentials and register them, unless a service of that name is or was registered.

    The nkey is the one that the server knew before there was a directory. Raises Refused, BusError, SettingsError and OSError.
    """
    if state.client_nkey_file is None or state.client_credentials_file is None:
        return  # a system that was started by an earlier version
    found = await session.ask(INTERNAL_SERVICE_LIST, ListInternalServices(tenant=tenant, revoked=True))
    known = [service for service in found.services if service.name == NAME]
    credentials = _read(state.client_credentials_file, state.nats_url)
    if known:
        return
    if credentials is None:
        seed = read_nkey_seed(state.client_nkey_file)
        credentials = generate(state.nats_url, tenant, NAME, seed)
        write_secret(state.client_credentials_file, credentials.to_text().reveal() + "\n")
    command = CreateInternalService(
        tenant=tenant,
        name=NAME,
        nkey_public=credentials.nkey_public,
        grant_public_key=credentials.grant_public_key,
        actor="launcher",
    )
    await session.ask(INTERNAL_SERVICE_CREATE, command)


def _read(file: Path, nats_url: str) -> ServiceCredentials | None:
    """Return the credentials of an earlier start, with the address of this one; None if there are none."""
    try:
        credentials = read(file)
    except BadCredentials:
        return None
    if credentials.nats_url != nats_url:
        credentials = credentials.at(nats_url)
        write_secret(file, credentials.to_text().reveal() + "\n")
    return credentials
