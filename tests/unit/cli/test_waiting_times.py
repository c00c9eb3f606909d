"""Nobody waits for an answer longer than the bus lets the answer through."""

import pytest

from keyferry.cli import audit, endpoints, health, keys, route, vault
from keyferry.contracts.permissions import permissions
from keyferry.contracts.topology import Role


@pytest.mark.parametrize(
    ("role", "waited_seconds"),
    [
        (Role.KEY_VAULT, keys.TEST_SECONDS),
        (Role.KEY_VAULT, vault._ALL_RECORDS_SECONDS),
        (Role.USAGE_LEDGER, audit._ALL_ENTRIES_SECONDS),
        (Role.USAGE_LEDGER, health._OUTAGES_SECONDS),
        (Role.ROUTER, endpoints._SAVE_SECONDS),
        (Role.ROUTER, route._SECONDS),
    ],
    ids=["a key test", "all records", "the whole audit log", "outages", "a probed endpoint", "a dry run"],
)
def test_an_answer_is_let_through_as_long_as_somebody_waits_for_it(role: Role, waited_seconds: float) -> None:
    assert permissions(role.value).response_seconds >= waited_seconds
