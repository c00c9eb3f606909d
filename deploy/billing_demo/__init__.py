"""Doubles of the companies that billing works with: Stripe, Lago and a mail server that keeps what it gets.

`python -m deploy.billing_demo` runs them in one process on loopback addresses; what they know is in memory and ends with it.
`make up` starts them with KEYFERRY_BILLING=demo, and tests run the same doubles in their own process.
"""
