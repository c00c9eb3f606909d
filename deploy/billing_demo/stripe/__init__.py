"""A double of Stripe's API: its objects, rules, errors and webhooks, for the API version of the installed `stripe` package."""
