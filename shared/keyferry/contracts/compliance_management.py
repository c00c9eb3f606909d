"""The subject of compliance reports: the part of `topology` about them.

Import it from here; `topology` adds it to the map of the bus. Pure.
"""

from keyferry.contracts import compliance
from keyferry.contracts.channels import AnySubject, Role, manage

COMPLIANCE_GET = manage(
    "kf.v1.compliance.get",
    compliance.GetComplianceReport,
    compliance.ComplianceReport,
    Role.USAGE_LEDGER,
    "Return who did what with a tenant's data, where it went, and how it is kept.",
)
SUBJECTS: tuple[AnySubject, ...] = (COMPLIANCE_GET,)
"""Every subject above, in that order."""
