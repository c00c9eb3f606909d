"""The fields that Stripe's objects have even without a value, and what each id begins with. Pure."""

from deploy.billing_demo.stripe.problem import JsonObject

PREFIXES = {
    "account": "acct",
    "balance_transaction": "txn",
    "billing_portal.session": "bps",
    "charge": "ch",
    "checkout.session": "cs_test",
    "customer": "cus",
    "dispute": "du",
    "event": "evt",
    "invoice": "in",
    "invoice_payment": "inpay",
    "item": "li",
    "line_item": "il",
    "payment_intent": "pi",
    "payment_method": "pm",
    "price": "price",
    "product": "prod",
    "refund": "re",
    "setup_intent": "seti",
    "subscription": "sub",
    "subscription_item": "si",
    "webhook_endpoint": "we",
}
LABELS = {
    "checkout.session": "checkout.session",
    "payment_method": "PaymentMethod",
    "webhook_endpoint": "webhook endpoint",
}
"""How an error names an object; others by the name of the object itself."""
WITHOUT_LIVEMODE = frozenset({"balance_transaction", "item", "refund", "subscription_item"})
WITHOUT_CREATED = frozenset({"item", "line_item"})

_EMPTY = {
    "balance_transaction": "description exchange_rate source",
    "charge": (
        "application application_fee application_fee_amount balance_transaction calculated_statement_descriptor customer"
        " description failure_balance_transaction failure_code failure_message on_behalf_of payment_intent payment_method"
        " receipt_email receipt_number receipt_url review shipping source source_transfer statement_descriptor"
        " statement_descriptor_suffix transfer_data transfer_group"
    ),
    "checkout.session": (
        "after_expiration allow_promotion_codes amount_subtotal amount_total billing_address_collection cancel_url"
        " client_reference_id client_secret collected_information consent consent_collection currency currency_conversion"
        " customer customer_creation customer_details customer_email discounts invoice invoice_creation locale"
        " payment_intent payment_link payment_method_collection payment_method_configuration_details permissions"
        " recovered_from saved_payment_method_options setup_intent shipping_address_collection shipping_cost submit_type"
        " subscription success_url total_details url wallet_options customer_account origin_context"
    ),
    "customer": (
        "address currency default_source description discount email invoice_prefix name phone shipping test_clock"
        " customer_account"
    ),
    "dispute": "payment_intent network_reason_code",
    "invoice": (
        "account_name account_tax_ids application automatically_finalizes_at custom_fields customer customer_address"
        " customer_email customer_name customer_phone customer_shipping customer_account default_payment_method"
        " default_source description due_date effective_at ending_balance footer from_invoice hosted_invoice_url"
        " invoice_pdf last_finalization_error latest_revision next_payment_attempt number on_behalf_of parent"
        " receipt_number rendering shipping_cost shipping_details statement_descriptor test_clock total_excluding_tax"
        " webhooks_delivered_at subtotal_excluding_tax"
    ),
    "invoice_payment": "amount_paid",
    "item": "description metadata price quantity",
    "line_item": "description invoice parent pricing quantity quantity_decimal subscription",
    "payment_intent": (
        "application application_fee_amount automatic_payment_methods canceled_at cancellation_reason client_secret customer"
        " customer_account description excluded_payment_method_types last_payment_error latest_charge next_action"
        " on_behalf_of payment_method payment_method_configuration_details processing receipt_email review"
        " setup_future_usage shipping source statement_descriptor statement_descriptor_suffix transfer_data transfer_group"
    ),
    "payment_method": "customer customer_account",
    "price": (
        "custom_unit_amount lookup_key nickname recurring tiers_mode transform_quantity unit_amount unit_amount_decimal"
    ),
    "product": ("default_price description package_dimensions shippable statement_descriptor tax_code unit_label url"),
    "refund": (
        "balance_transaction charge customer customer_account destination_details payment_intent payment_method reason"
        " receipt_number source_transfer_reversal transfer_reversal"
    ),
    "setup_intent": (
        "application automatic_payment_methods cancellation_reason client_secret customer customer_account description"
        " excluded_payment_method_types flow_directions last_setup_error latest_attempt mandate next_action on_behalf_of"
        " payment_method payment_method_configuration_details single_use_mandate"
    ),
    "subscription": (
        "application application_fee_percent billing_cycle_anchor_config billing_thresholds cancel_at canceled_at"
        " customer_account days_until_due default_payment_method default_source description ended_at latest_invoice"
        " next_pending_invoice_item_invoice on_behalf_of pause_collection pending_invoice_item_interval"
        " pending_setup_intent pending_update schedule test_clock transfer_data trial_end trial_start"
    ),
    "webhook_endpoint": "api_version application description",
}


def empty_fields(kind: str) -> JsonObject:
    """Return the fields that an object has with the value null."""
    return dict.fromkeys(_EMPTY.get(kind, "").split())


def empty_address() -> JsonObject:
    """Return an address of which nothing is known."""
    return dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state"))
