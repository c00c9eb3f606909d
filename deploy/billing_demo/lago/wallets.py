"""Wallets of Lago, what is added to them, and invoices: of purchased credits and one-off ones."""

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from deploy.billing_demo.lago.problem import JsonObject, invalid, not_allowed, not_found
from deploy.billing_demo.lago.routes import LagoCall, LagoRoute
from deploy.billing_demo.lago.state import LagoAccount, decimal_of, given_object, new_id, page_of, require

_PAYMENT_STATES = ("pending", "succeeded", "failed")


def _cents(amount: Decimal, wallet: JsonObject) -> int:
    return int((amount * Decimal(wallet["rate_amount"]) * 100).quantize(Decimal(1), ROUND_HALF_UP))


def save_wallet(call: LagoCall) -> JsonObject:
    """Add a wallet, with its first credits."""
    given = given_object(call.body, "wallet")
    require(given, "external_customer_id", "currency", "rate_amount")
    customer = call.state.get("customer", given["external_customer_id"])
    if decimal_of(given, "rate_amount") == 0:
        raise invalid({"rate_amount": ["value_is_out_of_range"]})
    if customer["currency"] not in (None, given["currency"]):
        raise invalid({"currency": ["currencies_does_not_match"]})
    customer["currency"] = given["currency"]
    wallet: JsonObject = {
        "lago_id": new_id(),
        "lago_customer_id": customer["lago_id"],
        "external_customer_id": customer["external_id"],
        "status": "active",
        "currency": given["currency"],
        "name": given.get("name"),
        "code": given.get("code"),
        "priority": given.get("priority", 50),
        "rate_amount": str(decimal_of(given, "rate_amount")),
        "credits_balance": "0.0",
        "balance_cents": 0,
        "ongoing_balance_cents": 0,
        "ongoing_usage_balance_cents": 0,
        "credits_ongoing_balance": "0.0",
        "credits_ongoing_usage_balance": "0.0",
        "consumed_credits": "0.0",
        "created_at": call.state.now(),
        "expiration_at": given.get("expiration_at"),
        "terminated_at": None,
        "recurring_transaction_rules": [],
        "metadata": given.get("metadata"),
    }
    call.state.table("wallet")[wallet["lago_id"]] = wallet
    _add_credits(call.state, wallet, given)
    return {"wallet": wallet}


def _change_balance(wallet: JsonObject, amount: Decimal) -> None:
    balance = Decimal(wallet["credits_balance"]) + amount
    wallet |= {"credits_balance": str(balance), "credits_ongoing_balance": str(balance)}
    cents = _cents(balance, wallet)
    wallet |= {"balance_cents": cents, "ongoing_balance_cents": cents}


def _new_transaction(
    state: LagoAccount, wallet: JsonObject, amount: Decimal, kind: str, given: JsonObject
) -> JsonObject:
    settled = kind != "purchased"
    transaction = {
        "lago_id": new_id(),
        "lago_wallet_id": wallet["lago_id"],
        "lago_invoice_id": None,
        "lago_credit_note_id": None,
        "lago_voided_invoice_id": None,
        "status": "settled" if settled else "pending",
        "source": "manual",
        "transaction_status": kind,
        "transaction_type": "outbound" if kind == "voided" else "inbound",
        "credit_amount": str(amount),
        "amount": str(amount * Decimal(wallet["rate_amount"])),
        "remaining_amount_cents": None,
        "remaining_credit_amount": None,
        "priority": given.get("priority", 50),
        "invoice_requires_successful_payment": bool(given.get("invoice_requires_successful_payment")),
        "settled_at": state.now() if settled else None,
        "failed_at": None,
        "created_at": state.now(),
        "metadata": given.get("metadata") or [],
        "name": given.get("name"),
        "payment_method": None,
    }
    state.table("wallet_transaction")[transaction["lago_id"]] = transaction
    return transaction


def _add_credits(state: LagoAccount, wallet: JsonObject, given: JsonObject) -> list[JsonObject]:
    paid, granted = decimal_of(given, "paid_credits"), decimal_of(given, "granted_credits")
    voided = decimal_of(given, "voided_credits")
    if voided > Decimal(wallet["credits_balance"]):
        raise invalid({"voided_credits": ["insufficient_credits"]})
    made: list[JsonObject] = []
    if paid:
        purchase = _new_transaction(state, wallet, paid, "purchased", given)
        # Lago makes the invoice after its answer: only a later look shows the invoice's id.
        made.append(dict(purchase))
        purchase["lago_invoice_id"] = _invoice_of_credits(state, wallet, purchase)["lago_id"]
    if granted:
        _change_balance(wallet, granted)
        made.append(_new_transaction(state, wallet, granted, "granted", given))
    if voided:
        _change_balance(wallet, -voided)
        made.append(_new_transaction(state, wallet, voided, "voided", given))
    return made


def add_transactions(call: LagoCall) -> JsonObject:
    """Add to a wallet: credits that are paid, granted or voided."""
    given = given_object(call.body, "wallet_transaction")
    require(given, "wallet_id")
    wallet = call.state.table("wallet").get(given["wallet_id"])
    if wallet is None:
        raise invalid({"wallet_id": ["wallet_not_found"]})
    if wallet["status"] == "terminated":
        raise invalid({"wallet_id": ["wallet_is_terminated"]})
    return {"wallet_transactions": _add_credits(call.state, wallet, given)}


def list_transactions(call: LagoCall) -> JsonObject:
    """List what was added to a wallet and taken from it."""
    call.state.get("wallet", call.ids[0])
    names = ("status", "transaction_status", "transaction_type")
    found = [
        row
        for row in call.state.table("wallet_transaction").values()
        if row["lago_wallet_id"] == call.ids[0] and all(call.query.get(name) in (None, row[name]) for name in names)
    ]
    return page_of(found, call.query, "wallet_transactions")


def list_wallets(call: LagoCall) -> JsonObject:
    """List the wallets, all or those of a customer."""
    wanted = call.query.get("external_customer_id")
    found = [row for row in call.state.table("wallet").values() if wanted in (None, row["external_customer_id"])]
    return page_of(found, call.query, "wallets")


def end_wallet(call: LagoCall) -> JsonObject:
    """End a wallet."""
    wallet = call.state.get("wallet", call.ids[0])
    wallet |= {"status": "terminated", "terminated_at": call.state.now()}
    return {"wallet": wallet}


def _new_invoice(
    state: LagoAccount, customer: JsonObject, currency: str, kind: str, fees: list[JsonObject]
) -> JsonObject:
    total = sum(fee["amount_cents"] for fee in fees)
    state.numbers += 1
    invoice: JsonObject = {
        "lago_id": new_id(),
        "sequential_id": state.numbers,
        "number": f"KEY-001-{state.numbers:03}",
        "issuing_date": state.now()[:10],
        "payment_due_date": state.now()[:10],
        "payment_dispute_lost_at": None,
        "payment_overdue": False,
        "net_payment_term": 0,
        "invoice_type": kind,
        "version_number": 4,
        "status": "finalized",
        "payment_status": "pending" if total else "succeeded",
        "currency": currency,
        **dict.fromkeys(("coupons_amount_cents", "taxes_amount_cents", "credit_notes_amount_cents"), 0),
        **dict.fromkeys(
            ("progressive_billing_credit_amount_cents", "prepaid_credit_amount_cents", "total_paid_amount_cents"), 0
        ),
        **dict.fromkeys(("fees_amount_cents", "sub_total_excluding_taxes_amount_cents"), total),
        **dict.fromkeys(
            ("sub_total_including_taxes_amount_cents", "total_amount_cents", "total_due_amount_cents"), total
        ),
        "self_billed": False,
        "voided_at": None,
        "file_url": None,
        "customer": customer,
        "subscriptions": [],
        "fees": fees,
        "credits": [],
        "metadata": [],
        "applied_taxes": [],
        "billing_entity_code": "keyferry",
    }
    state.table("invoice")[invoice["lago_id"]] = invoice
    return invoice


def _fee(amount_cents: int, currency: str, units: Any, item: JsonObject) -> JsonObject:
    return {
        "lago_id": new_id(),
        "amount_cents": amount_cents,
        "amount_currency": currency,
        "taxes_amount_cents": 0,
        "total_amount_cents": amount_cents,
        "total_amount_currency": currency,
        "units": str(units),
        "payment_status": "pending",
        "item": item,
    }


def _invoice_of_credits(state: LagoAccount, wallet: JsonObject, transaction: JsonObject) -> JsonObject:
    customer = state.get("customer", wallet["external_customer_id"])
    cents = _cents(Decimal(transaction["credit_amount"]), wallet)
    item = {"type": "credit", "code": "credit", "name": "credit", "lago_item_id": transaction["lago_id"]}
    fee = _fee(cents, wallet["currency"], transaction["credit_amount"], {**item, "item_type": "WalletTransaction"})
    return _new_invoice(state, customer, wallet["currency"], "credit", [fee])


def save_add_on(call: LagoCall) -> JsonObject:
    """Add an add-on, which one-off invoices are made of."""
    given = given_object(call.body, "add_on")
    require(given, "name", "code", "amount_cents", "amount_currency")
    if given["code"] in call.state.table("add_on"):
        raise invalid({"code": ["value_already_exist"]})
    add_on = {"lago_id": new_id(), "description": None, "taxes": [], **given, "created_at": call.state.now()}
    call.state.table("add_on")[given["code"]] = add_on
    return {"add_on": add_on}


def create_invoice(call: LagoCall) -> JsonObject:
    """Make a one-off invoice of add-ons."""
    given = given_object(call.body, "invoice")
    require(given, "external_customer_id")
    customer = call.state.get("customer", given["external_customer_id"])
    rows = given.get("fees")
    if not isinstance(rows, list) or not rows:
        raise invalid({"fees": ["value_is_mandatory"]})
    currency = given.get("currency") or customer["currency"] or "USD"
    fees = []
    for row in rows:
        add_on = call.state.table("add_on").get(row.get("add_on_code", ""))
        if add_on is None:
            raise not_found("add_on")
        amount, units = Decimal(row.get("unit_amount_cents", add_on["amount_cents"])), Decimal(str(row.get("units", 1)))
        item = {"type": "add_on", "code": add_on["code"], "name": add_on["name"], "lago_item_id": add_on["lago_id"]}
        cents = int((amount * units).quantize(Decimal(1), ROUND_HALF_UP))
        fees.append(_fee(cents, currency, units, {**item, "item_type": "AddOn"}))
    return {"invoice": _new_invoice(call.state, customer, currency, "one_off", fees)}


def update_invoice(call: LagoCall) -> JsonObject:
    """Change the payment status of an invoice: a paid purchase of credits is then in its wallet."""
    invoice = call.state.get("invoice", call.ids[0])
    given = given_object(call.body, "invoice")
    status = given.get("payment_status")
    if status is not None:
        if status not in _PAYMENT_STATES:
            raise invalid({"payment_status": ["value_is_invalid"]})
        if invoice["status"] != "finalized":
            raise not_allowed("payment_status_update_on_draft_invoice")
        _pay(call.state, invoice, status)
    if isinstance(given.get("metadata"), list):
        invoice["metadata"] = [
            {"lago_id": new_id(), "created_at": call.state.now(), **row} for row in given["metadata"]
        ]
    return {"invoice": invoice}


def _pay(state: LagoAccount, invoice: JsonObject, status: str) -> None:
    if invoice["payment_status"] == status:
        return
    invoice["payment_status"] = status
    if status == "succeeded":
        invoice |= {"total_paid_amount_cents": invoice["total_amount_cents"], "total_due_amount_cents": 0}
    for row in state.table("wallet_transaction").values():
        if row["lago_invoice_id"] == invoice["lago_id"] and row["status"] == "pending" and status != "pending":
            settled = status == "succeeded"
            row |= (
                {"status": "settled", "settled_at": state.now()}
                if settled
                else {"status": "failed", "failed_at": state.now()}
            )
            if settled:
                _change_balance(state.get("wallet", row["lago_wallet_id"]), Decimal(row["credit_amount"]))


def list_invoices(call: LagoCall) -> JsonObject:
    """List the invoices, all or those of a customer or of a payment status."""
    wanted, status = call.query.get("external_customer_id"), call.query.get("payment_status")
    found = [
        row
        for row in call.state.table("invoice").values()
        if wanted in (None, row["customer"]["external_id"]) and status in (None, row["payment_status"])
    ]
    return page_of(found, call.query, "invoices")


ROUTES = (
    LagoRoute("POST", "/wallets", save_wallet),
    LagoRoute("GET", "/wallets", list_wallets),
    LagoRoute("GET", "/wallets/{}", lambda call: {"wallet": call.state.get("wallet", call.ids[0])}),
    LagoRoute("DELETE", "/wallets/{}", end_wallet),
    LagoRoute("POST", "/wallet_transactions", add_transactions),
    LagoRoute("GET", "/wallets/{}/wallet_transactions", list_transactions),
    LagoRoute("POST", "/add_ons", save_add_on),
    LagoRoute("GET", "/add_ons/{}", lambda call: {"add_on": call.state.get("add_on", call.ids[0])}),
    LagoRoute("POST", "/invoices", create_invoice),
    LagoRoute("GET", "/invoices", list_invoices),
    LagoRoute("GET", "/invoices/{}", lambda call: {"invoice": call.state.get("invoice", call.ids[0])}),
    LagoRoute("PUT", "/invoices/{}", update_invoice),
)
