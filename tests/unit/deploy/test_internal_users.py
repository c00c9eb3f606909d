"""Which internal services become users of the NATS server."""

from datetime import UTC, datetime
from pathlib import Path

from deploy.nats.internal_users import internal_users
from deploy.nats.render import render_server_conf
from deploy.nats.user_list import read_copy, write_copy
from keyferry.contracts.internal_services import InternalService
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
