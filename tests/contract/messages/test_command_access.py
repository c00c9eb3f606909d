"""Every management request of the topology has a row that says who may send it over HTTP."""

from keyferry.contracts.topology import SUBJECTS, Role
from services.console.access import ALLOWED
from services.console.command_access import COMMANDS
from services.console.operations import OPERATIONS, T
from services.console.routes_without_command import ROUTES_WITHOUT_COMMAND

MANAGED = {
    subject.name
    for subject in SUBJECTS
    if Role.OPERATOR in subject.publishers or (Role.CONSOLE in subject.publishers and subject.reply is not None)
}


def test_every_management_subject_has_a_row() -> None:
    missing = MANAGED - COMMANDS.keys()
    assert not missing, (
        f"add {sorted(missing)} to services/console/command_access.py: the route with the same effect, or why there is none"
    )
    assert not COMMANDS.keys() - MANAGED, "rows of no subject"


def test_a_row_has_a_route_or_a_reason() -> None:
    for name, rule in COMMANDS.items():
        assert (rule.route is not None) + bool(rule.unavailable) == 1, name
        assert bool(rule.roles) == (not rule.unavailable), name


def test_the_routes_of_rows_are_those_of_the_command_line() -> None:
    """Else a command would have the roles of a route that does something else than `operations` says."""
    known = {(operation.method, operation.path) for operation in OPERATIONS} | ROUTES_WITHOUT_COMMAND.keys()
    own = {(method, path.replace(T, "/api/v1")) for method, path in known}
    for name, rule in COMMANDS.items():
        assert rule.route is None or rule.route in known | own, name
        assert rule.route is None or rule.roles == ALLOWED[rule.route], name


def test_what_may_be_sent_is_answered_by_one_owner() -> None:
    for subject in SUBJECTS:
        if subject.name in COMMANDS and not COMMANDS[subject.name].unavailable:
            assert Role.CONSOLE in subject.publishers, f"the console may not publish {subject.name}"
            assert subject.reply is not None
            assert len(subject.subscribers) == 1
