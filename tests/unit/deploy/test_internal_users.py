"""Which internal services become users of the NATS server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import pytest

from deploy.embedded import internal_users as following
from deploy.embedded.home import Home
from deploy.embedded.internal_users import InternalUsers, UsersNotApplied
from deploy.nats.internal_users import internal_users
from deploy.nats.render import render_server_conf
from deploy.nats.user_list import read_copy, write_copy
from keyferry.cli.connection import OperatorConnection
from keyferry.contracts.internal_services import InternalService, InternalServices, ListInternalServices
from keyferry.contracts.topology import Role, internal_client
from tests.support.internal_services import create_command, new_nkey

NOW = datetime(2030, 1, 2, tzinfo=UTC)
DEMO = internal_client("demo", "main")


def service(
    tenant: str = "acme", name: str = "crm", *, nkey: str | None = None, revoked: bool = False
) -> InternalService:
    """Return a registered service with new keys."""
    command = create_command(tenant, name)
    end = {"revoked_at": NOW, "revoked_by": "operator"} if revoked else {}
    return InternalService.model_validate(
        {
            **command.model_dump(exclude={"actor"}),
            "nkey_public": nkey or command.nkey_public,
            "created_at": NOW,
            "created_by": "operator",
            **end,
        }
    )


def test_each_service_that_is_not_revoked_is_a_user() -> None:
    live, other, revoked = service(), service("other"), service(name="old", revoked=True)
    users, left_out = internal_users([live, other, revoked], {}, {})
    assert users == {
        internal_client("acme", "crm"): live.nkey_public,
        internal_client("other", "crm"): other.nkey_public,
    }
    assert left_out == []


def test_a_service_with_the_key_of_another_user_is_left_out() -> None:
    """The server refuses a configuration that names a key twice, and would then start no more."""
    operator, shared = new_nkey(), new_nkey()
    services = [service(nkey=operator), service(name="a", nkey=shared), service(name="b", nkey=shared)]
    users, left_out = internal_users(services, {Role.OPERATOR: operator}, {})
    assert users == {internal_client("acme", "a"): shared}
    assert left_out == [internal_client("acme", "crm"), internal_client("acme", "b")]


def test_the_first_program_is_a_user_until_its_key_is_revoked() -> None:
    first = {DEMO: new_nkey()}
    assert internal_users([], {}, first) == (first, [])
    listed = service("demo", "main", nkey=first[DEMO])
    assert internal_users([listed], {}, first) == (first, [])
    gone = service("demo", "main", nkey=first[DEMO], revoked=True)
    assert internal_users([gone], {}, first) == ({}, [])
    again = service("demo", "main")
    assert internal_users([gone, again], {}, first) == ({DEMO: again.nkey_public}, [])


def test_the_copy_of_the_list_survives_damage_by_being_empty(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    assert read_copy(path) == []
    kept = [service(), service(name="old", revoked=True)]
    write_copy(path, kept)
    assert read_copy(path) == kept
    for damaged in (b"", b"{", b'{"services": [{}]}', b"\xff\x00"):
        path.write_bytes(damaged)
        assert read_copy(path) == []


def test_the_probe_has_no_rights() -> None:
    text = render_server_conf({}, port=1, store_dir=Path("/x"), probe_key="UPROBE")
    (line,) = [line for line in text.splitlines() if "UPROBE" in line]
    assert line.strip() == '{ nkey: UPROBE, permissions: { publish: { deny: [">"] }, subscribe: { deny: [">"] } } }'


class ListedServices:
    """A connection on which the directory lists these services, and announces a change whenever one is waited for."""

    is_connected = True

    def __init__(self) -> None:
        self.services: list[InternalService] = []
        self.client = self

    async def subscribe(self, _: str, *, cb: Callable[[object], Awaitable[None]]) -> None:
        """Announce a change at once."""
        await cb(None)

    async def ask(self, _: object, query: ListInternalServices) -> InternalServices:
        """Answer as the directory does."""
        assert query.without_operations, "those of a few tenants would pass the size of a message"
        return InternalServices(services=[] if query.tenant else self.services)

    def as_connection(self) -> OperatorConnection:
        """Return it as what it stands in for."""
        return cast(OperatorConnection, self)


def follower(tmp_path: Path, written: list[set[str]]) -> InternalUsers:
    """Return what follows a list, and puts each configuration that it writes into `written`."""

    def write(users: dict[str, str], _: str | None) -> Path:
        written.append(set(users))
        return tmp_path

    (tmp_path / "run").mkdir()
    return InternalUsers(
        Home(tmp_path),
        "nats://127.0.0.1:1",
        first_tenant="demo",
        users_of=lambda services: internal_users(services, {}, {})[0],
        write=write,
        server_pid=lambda: None,
        log=lambda text: pytest.fail(text),
    )


async def test_a_list_that_is_what_it_was_is_applied_after_a_reload_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that read the users too late would keep one that was revoked meanwhile."""
    written: list[set[str]] = []
    users, directory = follower(tmp_path, written), ListedServices()
    users.write_at_start()
    directory.services = [service()]

    async def fails(_: InternalUsers, __: str) -> None:
        raise UsersNotApplied("it is slow")

    with monkeypatch.context() as slow:
        slow.setattr(InternalUsers, "_reload", fails)
        with pytest.raises(UsersNotApplied):
            await users._apply(directory.as_connection())
    directory.services = []
    assert await users._apply(directory.as_connection())
    assert written == [set(), {internal_client("acme", "crm")}, set()]
    assert not await users._apply(directory.as_connection()), "and once"


async def test_after_a_reload_the_next_announcement_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reload costs requests between services their answers, those of other tenants too."""
    written: list[set[str]] = []
    users, directory, paused = follower(tmp_path, written), ListedServices(), asyncio.Event()
    users.write_at_start()
    directory.services = [service()]

    @asynccontextmanager
    async def connected(_: object) -> AsyncIterator[ListedServices]:
        yield directory

    async def sleep(seconds: float) -> None:
        assert seconds == following._PAUSE_SECONDS
        paused.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as stopped:
        stopped.setattr(following, "operator", connected)
        stopped.setattr(asyncio, "sleep", sleep)
        running = asyncio.create_task(users.run())
        async with asyncio.timeout(30):
            await paused.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(written) == 2, "at the start, and once"
