"""The subjects of stored content: the part of `topology` about it.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from keyferry.contracts import content
from keyferry.contracts.channels import AnySubject, Role, Subject, event, manage

CONTENT_RECORDED = event(
    "kf.v1.content.recorded.{worker}",
    content.ContentRecord,
    publishers=(Role.PROVIDER_WORKER,),
    subscribers=(Role.USAGE_LEDGER,),
    stream="CONTENTS",
    summary="Prompt and answer of an attempt, sealed to the ledger, for tenants that want them stored; in batches.",
)
CONTENT_GET = manage(
    "kf.v1.content.get",
    content.GetContent,
    content.RequestContent,
    Role.USAGE_LEDGER,
    "Return the stored content of a request, and record in the audit who read it.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
