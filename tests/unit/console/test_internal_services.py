"""Internal services over HTTP: public keys only, and the directory's refusals."""

from datetime import UTC, datetime

import pytest

from keyferry.contracts.internal_services import (
    INTERNAL_SERVICE_CREATE,
    INTERNAL_SERVICE_LIST,
    INTERNAL_SERVICE_REVOKE,
    InternalService,
    InternalServices,
    ListInternalServices,
    RevokeInternalService,
)
from keyferry.contracts.service import ErrorCode, Refusal
from tests.support.internal_services import create_command
from tests.unit.console.surface import KEY, NOW, Surface, error

ACME = "/api/v1/ops/tenants/acme/internal-services"
ACTOR = "console:operator"
COMMAND = create_command(operations=["lead.write"]).model_copy(update={"actor": ACTOR})
SERVICE = InternalService.model_validate(
    {**COMMAND.model_dump(exclude={"actor"}), "created_at": NOW, "created_by": ACTOR}
)
BODY = COMMAND.model_dump(exclude={"tenant", "actor"})


async def test_a_service_is_registered_by_its_public_keys() -> None:
    surface = Surface()
    surface.bus.answers(INTERNAL_SERVICE_CREATE, SERVICE)
    created = await surface.ask("POST", ACME, BODY)
    assert (created.status_code, created.headers["location"]) == (201, f"{ACME}/crm")
    assert created.json()["nkey_public"] == SERVICE.nkey_public
    assert surface.bus.asked[-1][1] == COMMAND


async def test_services_are_listed_in_pages_and_revoked() -> None:
    surface = Surface()
    other = SERVICE.model_copy(update={"name": "mail", "nkey_public": create_command().nkey_public})
    surface.bus.answers(INTERNAL_SERVICE_LIST, InternalServices(services=[SERVICE, other]))
    revoked = SERVICE.model_copy(update={"revoked_at": datetime(2027, 1, 1, tzinfo=UTC), "revoked_by": ACTOR})
    surface.bus.answers(INTERNAL_SERVICE_REVOKE, revoked)
    page = (await surface.ask("GET", f"{ACME}?limit=1")).json()
    assert ([one["name"] for one in page["data"]], page["next"]) == (["crm"], SERVICE.nkey_public)
    rest = (await surface.ask("GET", f"{ACME}?limit=1&after={page['next']}&revoked=true")).json()
    assert ([one["name"] for one in rest["data"]], rest["next"]) == (["mail"], None)
    asked = [question for _, question in surface.bus.asked if isinstance(question, ListInternalServices)]
    assert asked == [ListInternalServices(tenant="acme"), ListInternalServices(tenant="acme", revoked=True)]
    answer = await surface.ask("DELETE", f"{ACME}/crm")
    assert (answer.status_code, answer.json()["revoked_by"]) == (200, ACTOR)
    assert surface.bus.asked[-1][1] == RevokeInternalService(tenant="acme", name="crm", actor=ACTOR)


@pytest.mark.parametrize(
    "changed",
    [
        {"nkey_public": KEY},
        # The same in each run, since it names the test: the checksum is wrong.
        {"nkey_public": "U" + "A" * 55},
        {"grant_public_key": "AAAA"},
        {"name": "Crm"},
        {"name": KEY},
        {"operations": []},
        {"operations": [KEY]},
        {"tenant": "other"},
        {"actor": "somebody"},
        {"nkey_seed": "SUAJKBQ"},
    ],
    ids=str,
)
async def test_an_invalid_body_is_refused_without_repeating_it(changed: dict[str, object]) -> None:
    surface = Surface()
    response = await surface.ask("POST", ACME, BODY | changed)
    assert error(response)[0] == (422 if changed.keys() <= BODY.keys() else 400)
    assert KEY not in response.text
    assert surface.bus.asked == []


@pytest.mark.parametrize(
    ("code", "status"), [(ErrorCode.CONFLICT, 409), (ErrorCode.NOT_FOUND, 404), (ErrorCode.INVALID, 422)]
)
async def test_refusals_of_the_directory_become_problems(code: ErrorCode, status: int) -> None:
    surface = Surface()
    for subject in (INTERNAL_SERVICE_CREATE, INTERNAL_SERVICE_LIST, INTERNAL_SERVICE_REVOKE):
        surface.bus.answers(subject, Refusal(code=code, message="no, because"))
    for method, path, body in (("POST", ACME, BODY), ("GET", ACME, None), ("DELETE", f"{ACME}/crm", None)):
        response = await surface.ask(method, path, body)
        assert (response.status_code, response.json()["error"]["message"]) == (status, "no, because")
