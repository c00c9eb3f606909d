"""The subjects of monthly statements: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import statements
from keyferry.contracts.channels import AnySubject, Role, manage

STATEMENT_GET = manage(
    "kf.v1.statement.get",
    statements.GetStatement,
    statements.Statement,
    Role.USAGE_LEDGER,
    "Return the statement of a tenant for one month.",
)
STATEMENT_LIST = manage(
    "kf.v1.statement.list",
    statements.ListStatements,
    statements.Statements,
    Role.USAGE_LEDGER,
    "List the months of a tenant that have a statement.",
)
SUBJECTS: tuple[AnySubject, ...] = (STATEMENT_GET, STATEMENT_LIST)
"""Every subject above, in that order."""
