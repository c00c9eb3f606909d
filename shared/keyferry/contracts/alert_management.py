"""The subjects of alerts: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from datetime import timedelta

from keyferry.contracts import alert_events, alert_references, alert_rules, alerts, key
from keyferry.contracts.channels import AnySubject, Role, Stream, Subject, event, manage, request

_LEDGER = Role.USAGE_LEDGER
ALERTS = Stream(name="ALERTS", max_age=timedelta(days=30), max_bytes=1024**3, synced=True)

ALERT_CHANGED = event(
    "kf.v1.alert.changed.{tenant}",
    alert_events.AlertChanged,
    publishers=(_LEDGER,),
    subscribers=(Role.NOTIFIER,),
    stream=ALERTS.name,
    summary="An alert has fired, was acknowledged or is resolved; committed with its state.",
)
ALERT_REPORT = request(
    "kf.v1.alert.report",
    alert_events.ReportAlert,
    alert_events.AlertReported,
    publishers=(Role.BILLING, Role.NOTIFIER, Role.KEY_VAULT, Role.HEALTH_MONITOR),
    subscribers=(_LEDGER,),
    queue=_LEDGER.value,
    summary="Another service says that something is so, or is no longer so, of which the ledger has no figures.",
)
KEY_DISABLE = request(
    "kf.v1.key.disable",
    key.DisableKey,
    key.ProviderKey,
    publishers=(_LEDGER,),
    subscribers=(Role.KEY_VAULT,),
    queue=Role.KEY_VAULT.value,
    summary="The ledger has a key disabled of which the use is unusual, where a rule of its owner says so.",
)
REFERENCE_CHECK_DIRECTORY = request(
    "kf.v1.reference.check_in_directory",
    alert_references.CheckReferences,
    alert_references.MissingReferences,
    publishers=(_LEDGER,),
    subscribers=(Role.TENANT_DIRECTORY,),
    queue=Role.TENANT_DIRECTORY.value,
    summary="The ledger asks which teams, members and client tokens that alert rules name do not exist.",
)
REFERENCE_CHECK_ROUTER = request(
    "kf.v1.reference.check_in_router",
    alert_references.CheckReferences,
    alert_references.MissingReferences,
    publishers=(_LEDGER,),
    subscribers=(Role.ROUTER,),
    queue=Role.ROUTER.value,
    summary="The ledger asks which providers and models that alert rules name are unknown.",
)
ALERT_RULE_SAVE = manage(
    "kf.v1.alert_rule.save",
    alert_rules.SaveAlertRule,
    alert_rules.AlertRuleStatus,
    _LEDGER,
    "Add an alert rule, or replace its terms.",
)
ALERT_RULE_LIST = manage(
    "kf.v1.alert_rule.list",
    alert_rules.ListAlertRules,
    alert_rules.AlertRules,
    _LEDGER,
    "List a tenant's alert rules and their states.",
)
ALERT_RULE_REMOVE = manage(
    "kf.v1.alert_rule.remove",
    alert_rules.RemoveAlertRule,
    alert_rules.AlertRuleRemoved,
    _LEDGER,
    "Remove an alert rule, or restore the usual terms of a default one.",
)
ALERT_RULE_PREVIEW = manage(
    "kf.v1.alert_rule.preview",
    alert_rules.PreviewAlertRule,
    alert_rules.AlertPreview,
    _LEDGER,
    "Return when an alert rule would have fired in the last days.",
)
ALERT_LIST = manage(
    "kf.v1.alert.list", alerts.ListAlerts, alerts.Alerts, _LEDGER, "List a tenant's alerts, newest first."
)
ALERT_ACKNOWLEDGE = manage(
    "kf.v1.alert.acknowledge", alerts.AcknowledgeAlert, alerts.Alert, _LEDGER, "Say that somebody has seen an alert."
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
