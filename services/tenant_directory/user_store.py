"""People in PostgreSQL: one row for each subject of an issuer."""

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncConnection

from keyferry.contracts.sessions import StartSession
from services.tenant_directory.session_tables import users_table


async def save_user(connection: AsyncConnection, command: StartSession, new_id: str, now: datetime) -> str:
    """Add or update the person who signs in, and return the user id: `new_id` for somebody new. Raises SQLAlchemyError.

    Somebody is recognised by issuer and subject alone: names and addresses change hands.
    """
    statement = upsert(users_table).values(
        user_id=new_id,
        issuer=command.issuer,
        subject=command.subject,
        name=command.name,
        email=command.email,
        created_at=now,
        last_sign_in_at=now,
    )
    changed = {name: statement.excluded[name] for name in ("name", "email", "last_sign_in_at")}
    saved = statement.on_conflict_do_update(constraint="users_by_subject", set_=changed)
    return str(await connection.scalar(saved.returning(users_table.c.user_id)))
