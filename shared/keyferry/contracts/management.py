"""The parts of the bus that have a module of their own, in the order of their subjects; `topology` and `buckets` add them.

A new part is one module with SUBJECTS and BUCKETS, and one entry here. Pure.
"""

from typing import Any

from keyferry.contracts import (
    access_management,
    alert_management,
    client_token_management,
    compliance_management,
    content_management,
    erasure_management,
    integration_management,
    internal_services,
    lago_management,
    lease_management,
    ledger_management,
    live_events,
    membership_management,
    notification_management,
    payment_management,
    purchase_management,
    recommendation_management,
    reconciliation_management,
    routing_management,
    service_levels,
    sign_in_management,
    statement_management,
    traces,
)
from keyferry.contracts.channels import AnySubject, Bucket

SUBJECTS: tuple[AnySubject, ...] = (
    *routing_management.SUBJECTS,
    *ledger_management.SUBJECTS,
    *internal_services.SUBJECTS,
    *membership_management.SUBJECTS,
    *client_token_management.SUBJECTS,
    *lease_management.SUBJECTS,
    *integration_management.SUBJECTS,
    *erasure_management.SUBJECTS,
    *sign_in_management.SUBJECTS,
    *access_management.SUBJECTS,
    *content_management.SUBJECTS,
    *compliance_management.SUBJECTS,
    *statement_management.SUBJECTS,
    *live_events.SUBJECTS,
    *notification_management.SUBJECTS,
    *alert_management.SUBJECTS,
    *purchase_management.SUBJECTS,
    *reconciliation_management.SUBJECTS,
    *lago_management.SUBJECTS,
    *payment_management.SUBJECTS,
    *recommendation_management.SUBJECTS,
    *traces.SUBJECTS,
    *service_levels.SUBJECTS,
)
"""Their subjects."""
BUCKETS: tuple[Bucket[Any], ...] = (
    *routing_management.BUCKETS,
    *ledger_management.BUCKETS,
    *internal_services.BUCKETS,
    *membership_management.BUCKETS,
    *lease_management.BUCKETS,
    *sign_in_management.BUCKETS,
)
"""Their buckets."""
