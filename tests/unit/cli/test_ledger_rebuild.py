"""What `keyferry ledger rebuild` prints."""

from datetime import UTC, datetime

from keyferry.cli.ledger import format_rebuilt
from keyferry.contracts.projections import CheckedProjection, ProjectionDifference, RebuiltProjections

AT = datetime(2026, 11, 29, tzinfo=UTC)
RIGHT = CheckedProjection(name="account days", compared=3, different=0, differences=[])
WRONG = CheckedProjection(
    name="accounts",
    compared=9,
    different=52,
    differences=[ProjectionDifference(subject=f"credits/t{number}", detail="is 1, not 2") for number in range(50)],
)


def test_each_difference_is_named_and_the_rest_counted() -> None:
    lines = format_rebuilt(RebuiltProjections(projections=[RIGHT, WRONG], replaced=False, at=AT))
    assert lines[:3] == [
        "account days: 3 compared, all are what the records give",
        "accounts: 9 compared, 52 DIFFERENT",
        "  credits/t0: is 1, not 2",
    ]
    assert lines[-1] == "  and 2 more"


def test_what_was_replaced_says_so() -> None:
    lines = format_rebuilt(RebuiltProjections(projections=[WRONG], replaced=True, at=AT))
    assert lines[0] == "accounts: 9 compared, 52 replaced"
