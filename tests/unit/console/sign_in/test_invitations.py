"""Accepting an invitation with a session whose texts no member could have."""

from dataclasses import replace

import pytest

from keyferry.contracts import invitation_code, session_token
from keyferry.contracts.access_role import AccessRole
from keyferry.contracts.membership import AcceptInvitation, SignedInPerson
from keyferry.contracts.membership_management import INVITATION_ACCEPT
from keyferry.contracts.service import ErrorCode, Refusal
from keyferry.contracts.sessions import Session, SessionChannel
from services.console.authentication import OwnSession
from tests.unit.console.people import person
from tests.unit.console.surface import KEY, NOW, Surface, error


@pytest.mark.parametrize(
    ("email", "name", "sent"),
    [
        (
            "ann@example.com",
            "Ann",
            SignedInPerson(user_id="usr_ann", email="ann@example.com", email_verified=True, name="Ann"),
        ),
        ("änn@example.com", "Ann", SignedInPerson(user_id="usr_ann", name="Ann")),
        (None, KEY, SignedInPerson(user_id="usr_ann")),
    ],
)
async def test_the_directory_decides_on_what_a_member_can_have(
    email: str | None, name: str, sent: SignedInPerson
) -> None:
    session = Session(
        session_id="ses_1",
        user_id="usr_ann",
        name=name,
        email=email,
        channel=SessionChannel.BROWSER,
        created_at=NOW,
        expires_at=NOW,
        idle_seconds=60,
        last_seen_at=NOW,
    )
    login = OwnSession(session, session_token.mint(), ())
    surface = Surface(principal=replace(person(AccessRole.VIEWER, ""), login=login, no_tenant="none"))
    surface.bus.answers(INVITATION_ACCEPT, Refusal(code=ErrorCode.INVALID, message="for another address"))
    code = invitation_code.mint().reveal()
    answer = await surface.ask("POST", "/api/v1/session/invitation", {"code": code})
    assert error(answer)[0] in (400, 422)
    assert surface.bus.asked == [
        ("invitation.accept", AcceptInvitation(digest=invitation_code.digest(code), person=sent))
    ]
