"""Rules about members: nobody rises above who lets them, and a tenant keeps an owner."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from keyferry.contracts.access_role import TENANT_ROLES, AccessRole
from keyferry.contracts.membership import (
    CreateInvitation,
    CreateTeam,
    Invitation,
    Member,
    MembershipCommand,
    MemberSource,
    MemberState,
    RemoveMember,
    SignedInPerson,
    Team,
    UpdateMember,
    UpdateTeam,
)
from keyferry.contracts.service import ErrorCode
from keyferry.contracts.tenancy import Tenant, Tier
from services.tenant_directory import invitations, members, teams
from services.tenant_directory.claims import clean_email, clean_name
from services.tenant_directory.tenants import RuleViolation

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
OWNER, ADMIN, DEVELOPER, VIEWER = TENANT_ROLES
OPERATOR = AccessRole.OPERATOR
DIGEST = "ab" * 32


def member(member_id: str = "mem_1", role: AccessRole = VIEWER, state: MemberState = MemberState.ACTIVE) -> Member:
    return Member(
        tenant="acme",
        member_id=member_id,
        user_id=f"usr_{member_id}",
        email=f"{member_id}@example.com",
        role=role,
        state=state,
        source=MemberSource.INVITATION,
        created_at=NOW,
    )


def update_command(role: AccessRole | None = None, acting: AccessRole = OPERATOR, **fields: object) -> UpdateMember:
    values = {"tenant": "acme", "member_id": "mem_1", "actor_role": acting, "role": role, **fields}
    return UpdateMember.model_validate(values)


def invitation_command(**fields: object) -> CreateInvitation:
    values = {"tenant": "acme", "actor_role": OPERATOR, "email": "a@example.com", "role": VIEWER, "digest": DIGEST}
    return CreateInvitation.model_validate(values | fields)


def invitation(**fields: object) -> Invitation:
    made = invitations.create(invitation_command(), "inv_1", [], [], NOW)
    return made.model_copy(update=fields)


@pytest.mark.parametrize("acting", [OWNER, ADMIN])
@pytest.mark.parametrize("role", TENANT_ROLES)
def test_nobody_grants_a_role_above_its_own(acting: AccessRole, role: AccessRole) -> None:
    if acting is ADMIN and role is OWNER:
        with pytest.raises(RuleViolation, match="ask an owner"):
            members.update(member(), update_command(role, acting), acting, 1, [])
    else:
        assert members.update(member(), update_command(role, acting), acting, 1, []).role is role


def test_nobody_changes_or_removes_who_is_above_them() -> None:
    owner = member(role=OWNER)
    with pytest.raises(RuleViolation, match="cannot change an owner"):
        members.update(owner, update_command(VIEWER, ADMIN), ADMIN, 2, [])
    with pytest.raises(RuleViolation, match="cannot change an owner"):
        members.check_removal(owner, ADMIN, 2)
    members.check_removal(owner, OWNER, 2)


@pytest.mark.parametrize("changes", [{"role": ADMIN}, {"state": MemberState.SUSPENDED}])
def test_the_last_active_owner_stays_one(changes: dict[str, object]) -> None:
    owner = member(role=OWNER)
    command = update_command(**changes)  # type: ignore[arg-type]
    with pytest.raises(RuleViolation, match="last active owner"):
        members.update(owner, command, OPERATOR, 1, [])
    assert members.update(owner, command, OPERATOR, 2, []) != owner
    with pytest.raises(RuleViolation, match="last active owner"):
        members.check_removal(owner, OPERATOR, 1)
    claimed = members.from_claims(
        owner, tenant="acme", member_id="mem_2", user_id="usr_1", role=VIEWER, owners=1, now=NOW
    )
    assert claimed.role is OWNER


def test_a_change_of_nothing_is_refused() -> None:
    with pytest.raises(RuleViolation, match="nothing to change"):
        members.update(member(), update_command(), OPERATOR, 0, [])


def test_a_member_joins_only_teams_that_exist() -> None:
    command = update_command(teams=["sales", "ops", "sales"])
    assert members.update(member(), command, OPERATOR, 0, ["ops", "sales"]).teams == ["ops", "sales"]
    with pytest.raises(RuleViolation, match="no team 'sales'"):
        members.update(member(), command, OPERATOR, 0, ["ops"])


def test_a_command_is_carried_out_in_the_role_that_its_actor_has_now() -> None:
    command = update_command(VIEWER, OWNER, actor_member="mem_9")
    assert members.acting_role(command, member("mem_9", ADMIN)) is ADMIN
    assert members.acting_role(update_command(VIEWER, ADMIN, actor_member="mem_9"), member("mem_9", OWNER)) is ADMIN
    for actor in (None, member("mem_9", OWNER, MemberState.SUSPENDED)):
        with pytest.raises(RuleViolation, match="not an active member"):
            members.acting_role(command, actor)
    for role in (DEVELOPER, VIEWER):
        with pytest.raises(RuleViolation, match="does not manage people"):
            members.acting_role(command, member("mem_9", role))
    assert members.acting_role(update_command(VIEWER, OPERATOR), None) is OPERATOR


@pytest.mark.parametrize(
    "tenant",
    [
        Tenant(tenant="platform", name="Platform", tier=Tier.ENTERPRISE),
        Tenant(tenant="acme", name="Acme", tier=Tier.FREE, suspended=True),
    ],
)
def test_the_platform_and_suspended_tenants_get_no_members(tenant: Tenant) -> None:
    with pytest.raises(RuleViolation):
        members.check_tenant(tenant)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["update", "suspend", "activate", "remove", "claims", "invite"]),
        st.integers(0, 4),
        st.integers(0, 4),
        st.sampled_from(TENANT_ROLES),
        st.booleans(),
    ),
    max_size=40,
)


class Company:
    """A tenant's members, to which commands are applied as the store does."""

    def __init__(self) -> None:
        self.members = {f"mem_{number}": member(f"mem_{number}", role) for number, role in enumerate(TENANT_ROLES)}
        self.added = len(self.members)

    @property
    def owners(self) -> int:
        return members.count_owners(self.members.values())

    def apply(self, step: str, actor: Member | None, target: str, role: AccessRole) -> AccessRole:
        """Apply one step, and return the role in which it was done. Raises RuleViolation."""
        claimed = OPERATOR if actor is None else actor.role
        base: dict[str, object] = {"tenant": "acme", "actor_role": claimed}
        base |= {} if actor is None else {"actor_member": actor.member_id}
        acting = members.acting_role(MembershipCommand.model_validate(base), actor)
        present = self.members.get(target)
        if step == "invite":
            members.check_grant(role, acting)
            self.added += 1
            self.members[f"mem_{self.added}"] = member(f"mem_{self.added}", role)
        elif present is None:
            raise members.unknown("acme", target)
        elif step == "remove":
            RemoveMember.model_validate(base | {"member_id": target})
            members.check_removal(present, acting, self.owners)
            del self.members[target]
        else:
            states = {"suspend": MemberState.SUSPENDED, "activate": MemberState.ACTIVE}
            change: dict[str, object] = {"role": role} if step == "update" else {"state": states[step]}
            command = UpdateMember.model_validate(base | {"member_id": target} | change)
            self.members[target] = members.update(present, command, acting, self.owners, [])
        return acting


@given(STEPS)
def test_no_sequence_of_commands_removes_the_last_owner_or_lets_somebody_rise(
    steps: list[tuple[str, int, int, AccessRole, bool]],
) -> None:
    company = Company()
    for step, who, whom, role, as_operator in steps:
        actor = None if as_operator else company.members.get(f"mem_{who}")
        target = f"mem_{whom}"
        before = dict(company.members)
        try:
            if step == "claims":
                present = before.get(target)
                if present is not None:
                    company.members[target] = members.from_claims(
                        present,
                        tenant="acme",
                        member_id="mem_99",
                        user_id="usr_1",
                        role=role,
                        owners=company.owners,
                        now=NOW,
                    )
                continue
            if actor is None and not as_operator:
                continue
            acting = company.apply(step, actor, target, role)
            for member_id, changed in company.members.items():
                was = before.get(member_id)
                if changed != was:
                    assert not members.is_above(changed.role, acting)
                    assert was is None or not members.is_above(was.role, acting)
        except RuleViolation:
            assert company.members == before
        finally:
            assert company.owners >= 1


def test_an_invitation_counts_once_and_for_its_address_only() -> None:
    made = invitation()
    assert made.expires_at == NOW + timedelta(days=7)
    person = SignedInPerson(user_id="usr_1", email="A@Example.COM", email_verified=True, name="Ann")
    accepted = invitations.accept(made, person, "mem_1", NOW)
    assert (accepted.tenant, accepted.role, accepted.email) == ("acme", VIEWER, "a@example.com")
    wrong = [
        (made, person.model_copy(update={"email": "b@example.com"}), "another address"),
        (made, person.model_copy(update={"email": None}), "another address"),
        (made, person.model_copy(update={"email_verified": False}), "verified"),
        (invitation(accepted_at=NOW), person, "accepted already"),
        (invitation(revoked_at=NOW), person, "revoked"),
        (invitation(expires_at=NOW), person, "expired"),
    ]
    for each, who, why in wrong:
        with pytest.raises(RuleViolation, match=why):
            invitations.accept(each, who, "mem_1", NOW)


def test_who_is_a_member_or_invited_is_not_invited_again() -> None:
    with pytest.raises(RuleViolation, match="member already"):
        invitations.create(invitation_command(), "inv_2", [], ["a@example.com"], NOW)
    with pytest.raises(RuleViolation, match="revoke it"):
        invitations.create(invitation_command(), "inv_2", [invitation()], [], NOW)
    ended = [invitation(revoked_at=NOW), invitation(accepted_at=NOW), invitation(expires_at=NOW)]
    assert invitations.create(invitation_command(), "inv_2", ended, [], NOW).invitation_id == "inv_2"


def test_open_invitations_are_limited() -> None:
    present = [invitation(email=f"{number}@example.com") for number in range(200)]
    with pytest.raises(RuleViolation, match="200 open invitations"):
        invitations.create(invitation_command(), "inv_2", present, [], NOW)
    assert invitations.create(invitation_command(), "inv_2", present[1:], [], NOW).invitation_id == "inv_2"


@pytest.mark.parametrize(
    "expires_at", [NOW, NOW - timedelta(days=1), NOW + timedelta(days=91), NOW.replace(tzinfo=None)]
)
def test_an_invitation_expires_within_ninety_days(expires_at: datetime) -> None:
    with pytest.raises(RuleViolation, match="expires_at"):
        invitations.create(invitation_command().model_copy(update={"expires_at": expires_at}), "inv_1", [], [], NOW)


def test_an_accepted_invitation_is_not_revoked() -> None:
    with pytest.raises(RuleViolation, match="remove the member"):
        invitations.revoke(invitation(accepted_at=NOW), NOW)
    revoked = invitations.revoke(invitation(), NOW)
    assert revoked.revoked_at == NOW
    assert invitations.revoke(revoked, NOW + timedelta(hours=1)) == revoked


def team(*inside: str) -> Team:
    return Team(tenant="acme", team="sales", members=list(inside), created_at=NOW)


def team_command(**fields: object) -> UpdateTeam:
    return UpdateTeam.model_validate({"tenant": "acme", "actor_role": OPERATOR, "team": "sales", **fields})


def test_teams() -> None:
    command = CreateTeam(tenant="acme", actor_role=OPERATOR, team="sales", members=["mem_2", "mem_1", "mem_2"])
    assert teams.create(command, [], NOW).members == ["mem_1", "mem_2"]
    with pytest.raises(RuleViolation, match="already"):
        teams.create(command, ["sales"], NOW)
    with pytest.raises(RuleViolation, match="200 teams"):
        teams.create(command, [f"t{number}" for number in range(200)], NOW)
    changed = teams.update(team("mem_1"), team_command(name="Sales", add=["mem_2"], remove=["mem_1"]))
    assert (changed.name, changed.members) == ("Sales", ["mem_2"])
    assert teams.describe_changes(team("mem_1"), changed) == {
        "name": "- -> Sales",
        "added": "mem_2",
        "removed": "mem_1",
    }
    for fields, why in (
        ({}, "nothing to change"),
        ({"remove": ["mem_7"]}, "not in the team"),
        ({"add": ["mem_7"], "remove": ["mem_7"]}, "leave one of them out"),
    ):
        with pytest.raises(RuleViolation, match=why):
            teams.update(team("mem_1"), team_command(**fields))
    with pytest.raises(RuleViolation, match="3 client tokens"):
        teams.check_removal(team(), 3, force=False)
    teams.check_removal(team(), 3, force=True)
    with pytest.raises(RuleViolation, match="50 teams"):
        teams.check_teams_of_member(51)


@pytest.mark.parametrize(
    "name", ["a\x00b", "a\nb", "\ud800", "\u202e", " ", "x" * 101, "sk-proj-" + "aB3" * 20, "kfi_" + "aB3" * 16]
)
def test_hostile_names_are_refused_in_commands_and_cleaned_in_claims(name: str) -> None:
    for build in (lambda: update_command(name=name), lambda: team_command(name=name)):
        with pytest.raises(ValidationError) as caught:
            build()
        assert name.strip("x ") == "" or name not in str(caught.value.errors(include_input=False)[0]["msg"])
    cleaned = clean_name(name)
    assert cleaned is None or (len(cleaned) <= 100 and update_command(name=cleaned).name == cleaned)


NO_ADDRESSES = [
    *("", "a", "a@", "@b", "a b@c.d", "a@b\x00", "a@b\n", "ä@b.de", "a@b..c", "a@-b", "\u212a@b.de"),
    f"{'x' * 65}@b.de",
    "a@" + ".".join(["b" * 60] * 5),
]


@pytest.mark.parametrize("email", NO_ADDRESSES)
def test_what_is_no_address_is_refused_in_commands_and_dropped_in_claims(email: str) -> None:
    with pytest.raises(ValidationError):
        invitation_command(email=email)
    assert clean_email(email) is None


def test_the_operators_role_is_no_members() -> None:
    with pytest.raises(ValidationError, match="an owner, an admin, a developer or a viewer"):
        update_command(OPERATOR)
    with pytest.raises(ValidationError):
        member(role=OPERATOR)


def test_the_audit_shows_what_changed_and_masks_addresses() -> None:
    before = member()
    after = before.model_copy(update={"role": ADMIN, "teams": ["ops"]})
    assert members.describe_changes(before, after) == {"role": "viewer -> admin", "teams": "- -> ops"}
    assert members.mask_email("ann@example.com") == "a…@example.com"
    assert members.unknown("acme", "mem_1").code is ErrorCode.NOT_FOUND
