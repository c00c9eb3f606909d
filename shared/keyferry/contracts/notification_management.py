"""The subjects by which channels, webhook endpoints and scheduled reports are managed: the part of `topology` about them.

Import them from here; `topology` adds them to the map of the bus. Pure.
"""

from typing import Any

from keyferry.contracts import notification_channels as channels
from keyferry.contracts import usage_mail, webhooks
from keyferry.contracts.channels import AnySubject, Bucket, Role, Subject, manage, request

_NOTIFIER = Role.NOTIFIER

CHANNEL_SAVE = manage(
    "kf.v1.channel.save",
    channels.SaveChannel,
    channels.NotificationChannel,
    _NOTIFIER,
    "Add a channel for notifications, or replace its terms.",
)
CHANNEL_LIST = manage(
    "kf.v1.channel.list",
    channels.ListChannels,
    channels.NotificationChannels,
    _NOTIFIER,
    "List a tenant's channels and how they do.",
)
CHANNEL_REMOVE = manage(
    "kf.v1.channel.remove", channels.RemoveChannel, channels.ChannelRemoved, _NOTIFIER, "Remove a channel."
)
CHANNEL_TEST = manage(
    "kf.v1.channel.test",
    channels.TestChannel,
    channels.DeliveryTest,
    _NOTIFIER,
    "Send a test by a channel, and return what was answered.",
)
CHANNEL_ADDRESS_ASK = manage(
    "kf.v1.channel_address.ask",
    channels.SendConfirmation,
    channels.AddressConfirmation,
    _NOTIFIER,
    "Send a new code to an address that is not confirmed.",
)
CHANNEL_ADDRESS_CONFIRM = manage(
    "kf.v1.channel_address.confirm",
    channels.ConfirmAddress,
    channels.AddressConfirmation,
    _NOTIFIER,
    "Confirm an address by the code that was sent to it.",
)
WEBHOOK_ENDPOINT_SAVE = manage(
    "kf.v1.webhook_endpoint.save",
    webhooks.SaveWebhookEndpoint,
    webhooks.WebhookEndpoint,
    _NOTIFIER,
    "Add a webhook endpoint with its sealed secret, or replace its terms.",
)
WEBHOOK_ENDPOINT_LIST = manage(
    "kf.v1.webhook_endpoint.list",
    webhooks.ListWebhookEndpoints,
    webhooks.WebhookEndpoints,
    _NOTIFIER,
    "List a tenant's webhook endpoints and how they do.",
)
WEBHOOK_ENDPOINT_REMOVE = manage(
    "kf.v1.webhook_endpoint.remove",
    webhooks.RemoveWebhookEndpoint,
    webhooks.WebhookEndpointRemoved,
    _NOTIFIER,
    "Remove a webhook endpoint, its log and its secret.",
)
WEBHOOK_ENDPOINT_ROTATE = manage(
    "kf.v1.webhook_endpoint.rotate_secret",
    webhooks.RotateWebhookSecret,
    webhooks.WebhookEndpoint,
    _NOTIFIER,
    "Replace the secret of a webhook endpoint, with overlap.",
)
WEBHOOK_ENDPOINT_TEST = manage(
    "kf.v1.webhook_endpoint.test",
    webhooks.TestWebhookEndpoint,
    channels.DeliveryTest,
    _NOTIFIER,
    "Send a test event, and return what the endpoint answered.",
)
DELIVERY_LIST = manage(
    "kf.v1.delivery.list",
    webhooks.ListDeliveries,
    webhooks.Deliveries,
    _NOTIFIER,
    "A page of the log of a webhook endpoint or a channel, newest first.",
)
DELIVERY_REPLAY = manage(
    "kf.v1.delivery.replay",
    webhooks.ReplayDeliveries,
    webhooks.ReplayedDeliveries,
    _NOTIFIER,
    "Send events of the log again.",
)
REPORT_SAVE = manage(
    "kf.v1.report.save",
    usage_mail.SaveReport,
    usage_mail.ScheduledReport,
    _NOTIFIER,
    "Add a scheduled report, or replace its terms.",
)
REPORT_LIST = manage(
    "kf.v1.report.list",
    usage_mail.ListReports,
    usage_mail.ScheduledReports,
    _NOTIFIER,
    "List a tenant's scheduled reports.",
)
REPORT_REMOVE = manage(
    "kf.v1.report.remove", usage_mail.RemoveReport, usage_mail.ReportRemoved, _NOTIFIER, "Remove a scheduled report."
)
REPORT_PREVIEW = manage(
    "kf.v1.report.preview",
    usage_mail.PreviewReport,
    usage_mail.ReportMail,
    _NOTIFIER,
    "Return the mail of the period that ended last.",
)
REPORT_SEND = manage(
    "kf.v1.report.send", usage_mail.SendReport, usage_mail.ReportMail, _NOTIFIER, "Send a scheduled report now."
)
USAGE_GET_PRICED = request(
    "kf.v1.usage.get_priced",
    webhooks.GetPricedAttempts,
    webhooks.PricedAttempts,
    publishers=(_NOTIFIER,),
    subscribers=(Role.USAGE_LEDGER,),
    queue=Role.USAGE_LEDGER.value,
    summary="Return attempts of a tenant with their prices, for its webhooks.",
)
SUBJECTS: tuple[AnySubject, ...] = tuple(value for value in list(globals().values()) if isinstance(value, Subject))
"""Every subject above, in that order."""
BUCKETS: tuple[Bucket[Any], ...] = ()
