"""The names of the usage ledger's figures, which have goals."""

INGEST = "attempts recorded, from the stream to the commit"
STORAGE = "bytes per request, attempt and decision with indexes"
CREDIT_COST = "requests paid in credits at 64 clients, against those on own keys"
HOT_TENANT = "attempts reserved for one tenant at 64 clients, by leases against a hold in the database for each"
USAGE_VIEW = "latency while the usage view is opened every second over a million attempts, p99, against that without"

ALERT_LATENCY = "from an attempt to the alert's event with 10 000 rules, p99"
ALERT_AT_ONCE = "from the first of 9 000 attempts to the event of each of 9 000 alerts, p99"
ALERT_INGEST = "attempts recorded with 100 alert rules for each of 100 tenants, against without any"
RESTORE = "a backup with a million attempts restored"
ALERT_PREVIEW = "an alert rule tried on a million attempts"
