"""The HTML of the pages that people pay on. Pure."""

from html import escape

from deploy.billing_demo.stripe.cards import CARDS, MESSAGES, DemoCard
from deploy.billing_demo.stripe.currencies import format_amount
from deploy.billing_demo.stripe.problem import JsonObject

_STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { margin: 0 auto; max-width: 32rem; padding: 2rem 1rem; }
.note { border: 2px dashed; border-radius: .5rem; padding: .5rem 1rem; }
.alert { border: 2px solid #b00020; border-radius: .5rem; padding: .5rem 1rem; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; }
td { padding: .25rem 0; } td:last-child, tfoot td:last-child { text-align: right; }
tfoot { border-top: 1px solid; font-weight: 600; }
label { display: block; margin: 1rem 0 .25rem; }
input, select { box-sizing: border-box; font: inherit; padding: .5rem; width: 100%; }
button { cursor: pointer; font: inherit; margin-top: 1rem; padding: .6rem 1rem; width: 100%; }
button[value=pay] { background: #1a4fd6; border: 0; border-radius: .3rem; color: #fff; }
"""
_NOTE = "Demo of Stripe on this machine: no bank is asked and no money moves."


def page(title: str, body: str) -> str:
    """Return a whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{_STYLE}</style></head><body><main><p class="note">{_NOTE}</p>'
        f"<h1>{escape(title)}</h1>{body}</main></body></html>"
    )


def pay_page(
    session: JsonObject, rows: list[JsonObject], *, failure: str = "", waiting: bool = False, number: str = ""
) -> str:
    """Return the page of an open session: what is sold, the cards, and the buttons."""
    alert = f'<p class="alert" role="alert">{escape(failure)}</p>' if failure else ""
    if waiting:
        return page("Confirm at your bank", alert + _bank_form(session, number))
    title = {"payment": "Pay", "subscription": "Subscribe", "setup": "Save a card"}[session["mode"]]
    return page(title, alert + _table(session, rows) + _form(session, rows, title))


def _table(session: JsonObject, rows: list[JsonObject]) -> str:
    if not rows:
        return ""
    lines = "".join(
        f"<tr><td>{escape(row['description'])} × {row['quantity']}</td>"
        f"<td>{format_amount(row['amount_total'], row['currency'])}</td></tr>"
        for row in rows
    )
    total = format_amount(session["amount_total"], session["currency"])
    return f"<table><tbody>{lines}</tbody><tfoot><tr><td>Total</td><td>{total}</td></tr></tfoot></table>"


def _form(session: JsonObject, rows: list[JsonObject], title: str) -> str:
    email = escape(session["customer_email"] or "")
    custom = any(row["price"]["custom_unit_amount"] for row in rows)
    amount = (
        '<label for="amount">Amount in minor units</label><input id="amount" name="amount" inputmode="numeric" required>'
        if custom
        else ""
    )
    options = "".join(f'<option value="{card.number}">{escape(_describe(card))}</option>' for card in CARDS)
    cancel = '<button name="action" value="cancel" formnovalidate>Cancel</button>' if session["cancel_url"] else ""
    return (
        f'<form method="post">{amount}'
        f'<label for="email">E-mail</label><input id="email" name="email" type="email" value="{email}">'
        f'<label for="card">Card</label><select id="card" name="card">{options}</select>'
        f'<button name="action" value="pay">{title}</button>{cancel}</form>'
    )


def _bank_form(session: JsonObject, number: str) -> str:
    return (
        f'<p>Your bank asks whether you make this payment.</p><form method="post"><input type="hidden" name="card" '
        f'value="{escape(number)}"><input type="hidden" name="email" value="{escape(session["customer_email"] or "")}">'
        '<button name="action" value="confirm">Confirm</button><button name="action" value="refuse">Refuse</button></form>'
    )


def _describe(card: DemoCard) -> str:
    if card.decline_code:
        effect = MESSAGES[card.decline_code] + f" ({card.decline_code})"
    elif card.later_decline_code:
        effect = "pays now, and is declined later"
    elif card.authentication:
        effect = "asks for a confirmation at the bank"
    elif card.dispute_reason:
        effect = f"pays, and is disputed at once ({card.dispute_reason})"
    elif card.refund_fails:
        effect = "pays, and its refunds fail"
    else:
        effect = "pays"
    return f"{card.number}: {effect}"
