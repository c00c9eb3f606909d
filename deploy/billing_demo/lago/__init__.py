"""A double of Lago's API: customers, plans, subscriptions, metrics, events, wallets and invoices, with its rules and errors."""
