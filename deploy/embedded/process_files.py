"""The secret files of a process, by the names that they have in a container."""

from pathlib import Path

from deploy.embedded.home import Home
from deploy.embedded.services import ServiceRow, nats_user

NKEY, DATABASE_URL = "nkey.seed", "database.url"


def files_of_process(row: ServiceRow, slot: int, home: Home) -> dict[str, Path]:
    """Return exactly the files that `deploy.embedded.services` names for this process, generating missing ones.

    The URL of its database is written by `deploy.postgres.roles`.
    """
    files = {NKEY: home.seed_file(nats_user(row, slot))}
    if row.has_tables:
        files[DATABASE_URL] = home.database_secrets / f"{row.name}.url"
    return files | {secret.name: secret.path(home, slot) for secret in row.secrets}
