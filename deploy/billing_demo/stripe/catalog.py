"""Products and prices."""

from decimal import Decimal
from typing import Any

from deploy.billing_demo.stripe.currencies import check_currency
from deploy.billing_demo.stripe.listing import list_page, search_page
from deploy.billing_demo.stripe.problem import JsonObject, StripeApiError, invalid_parameter, missing_parameter
from deploy.billing_demo.stripe.routes import StripeCall, StripeRoute
from deploy.billing_demo.stripe.state import StripeState, merged_metadata

_PRODUCT_FIELDS = (
    *("active", "description", "images", "marketing_features", "name", "package_dimensions", "shippable"),
    *("statement_descriptor", "tax_code", "unit_label", "url"),
)


def new_product(state: StripeState, values: JsonObject) -> JsonObject:
    """Store a product and its event; return it."""
    given = {name: values[name] for name in _PRODUCT_FIELDS if name in values}
    if (wanted := values.get("id")) and wanted in state.table("product"):
        raise StripeApiError(f"Product already exists with id {wanted}", code="resource_already_exists", param="id")
    product = state.add(
        "product",
        **{
            "active": True,
            "images": [],
            "marketing_features": [],
            "type": "service",
            "updated": state.now,
            "metadata": merged_metadata({}, values.get("metadata")),
            **given,
        },
    )
    if wanted:
        state.table("product")[wanted] = state.table("product").pop(product["id"])
        product["id"] = wanted
    state.emit("product.created", product)
    return product


def new_price(state: StripeState, values: JsonObject, *, param: str = "") -> JsonObject:
    """Store a price and its event; return it. `param` is where its values are in the request."""
    currency = check_currency(values["currency"], f"{param}[currency]" if param else "currency")
    recurring = values.get("recurring")
    _free_lookup_key(state, values)
    return state.add(
        "price",
        active=values.get("active", True),
        billing_scheme=values.get("billing_scheme", "per_unit"),
        currency=currency,
        lookup_key=values.get("lookup_key"),
        metadata=merged_metadata({}, values.get("metadata")),
        nickname=values.get("nickname"),
        product=_product_of(state, values, param),
        recurring=_recurring(recurring) if recurring else None,
        tax_behavior=values.get("tax_behavior", "unspecified"),
        type="recurring" if recurring else "one_time",
        **_amount(values, param),
    )


def _product_of(state: StripeState, values: JsonObject, param: str) -> str:
    if product := values.get("product"):
        found = state.get("product", product, "product")
        return str(found["id"])
    if (data := values.get("product_data")) is None:
        raise missing_parameter(f"{param}[product]" if param else "product")
    return str(new_product(state, data)["id"])


def _recurring(given: JsonObject) -> JsonObject:
    return {"interval_count": 1, "meter": None, "usage_type": "licensed", "trial_period_days": None, **given}


def _amount(values: JsonObject, param: str) -> JsonObject:
    if custom := values.get("custom_unit_amount"):
        bounds = {name: custom.get(name) for name in ("minimum", "maximum", "preset")}
        return {"custom_unit_amount": bounds, "unit_amount": None, "unit_amount_decimal": None}
    amount: Any = values.get("unit_amount")
    if amount is None and "unit_amount_decimal" in values:
        amount = Decimal(values["unit_amount_decimal"])
    if amount is None:
        raise missing_parameter(f"{param}[unit_amount]" if param else "unit_amount")
    if amount < 0:
        raise invalid_parameter("unit_amount", "Invalid non-negative integer", "parameter_invalid_integer")
    whole = int(amount) if amount == int(amount) else None
    return {"unit_amount": whole, "unit_amount_decimal": str(amount)}


def _free_lookup_key(state: StripeState, values: JsonObject, own_id: str = "") -> None:
    """Take a lookup key from the price that has it, if the request says so. Raises StripeApiError if it does not."""
    key = values.get("lookup_key")
    for other in state.where("price", lookup_key=key) if key else ():
        if other["id"] == own_id:
            continue
        if not values.get("transfer_lookup_key"):
            raise StripeApiError(
                f"A price (`{other['id']}`) already uses that lookup key.",
                code="resource_already_exists",
                param="lookup_key",
            )
        other["lookup_key"] = None


def create_product(call: StripeCall) -> JsonObject:
    """Create a product, and its default price if the request describes one."""
    product = new_product(call.state, call.params)
    if data := call.params.get("default_price_data"):
        price = new_price(call.state, {**data, "product": product["id"]}, param="default_price_data")
        call.state.emit("price.created", price)
        product["default_price"] = price["id"]
    return product


def update_product(call: StripeCall) -> JsonObject:
    """Change a product."""
    product = call.state.get("product", call.ids[0])
    values = {name: None if value == "" else value for name, value in call.pick(*_PRODUCT_FIELDS).items()}
    if price := call.params.get("default_price"):
        values["default_price"] = call.state.get("price", price, "default_price")["id"]
    values["metadata"] = merged_metadata(product["metadata"], call.params.get("metadata"))
    previous = call.state.change(product, **values, updated=call.state.now)
    call.state.emit("product.updated", product, previous)
    return product


def delete_product(call: StripeCall) -> JsonObject:
    """Delete a product that has no price."""
    product = call.state.get("product", call.ids[0])
    if next(call.state.where("price", product=product["id"]), None):
        raise StripeApiError("This product cannot be deleted because it has one or more user-created prices.")
    del call.state.table("product")[product["id"]]
    call.state.emit("product.deleted", product)
    return {"id": product["id"], "object": "product", "deleted": True}


def list_products(call: StripeCall) -> JsonObject:
    """List products: all, active ones, or those with these ids."""
    found = call.state.where("product", **call.pick("active", "url"))
    if ids := call.params.get("ids"):
        found = (row for row in found if row["id"] in ids)
    return list_page(found, call.params, "/v1/products")


def search_products(call: StripeCall) -> JsonObject:
    """Search products."""
    return search_page(call.state.table("product").values(), call.params, "/v1/products/search")


def create_price(call: StripeCall) -> JsonObject:
    """Create a price."""
    price = new_price(call.state, call.params)
    call.state.emit("price.created", price)
    return price


def update_price(call: StripeCall) -> JsonObject:
    """Change a price; its amount and its currency never change."""
    price = call.state.get("price", call.ids[0])
    _free_lookup_key(call.state, call.params, price["id"])
    values = call.pick("active", "nickname", "tax_behavior", "lookup_key")
    values["metadata"] = merged_metadata(price["metadata"], call.params.get("metadata"))
    previous = call.state.change(price, **values)
    call.state.emit("price.updated", price, previous)
    return price


def list_prices(call: StripeCall) -> JsonObject:
    """List prices: all, or those of a product, of a currency, with one of these lookup keys."""
    found = call.state.where("price", **call.pick("active", "currency", "product", "type"))
    if keys := call.params.get("lookup_keys"):
        found = (row for row in found if row["lookup_key"] in keys)
    return list_page(found, call.params, "/v1/prices")


def search_prices(call: StripeCall) -> JsonObject:
    """Search prices."""
    return search_page(call.state.table("price").values(), call.params, "/v1/prices/search")


ROUTES = (
    StripeRoute("POST", "/v1/products", "ProductCreateParams", create_product),
    StripeRoute("GET", "/v1/products", "ProductListParams", list_products),
    StripeRoute("GET", "/v1/products/search", "ProductSearchParams", search_products),
    StripeRoute("GET", "/v1/products/{}", "ProductRetrieveParams", lambda call: call.state.get("product", call.ids[0])),
    StripeRoute("POST", "/v1/products/{}", "ProductUpdateParams", update_product),
    StripeRoute("DELETE", "/v1/products/{}", "ProductDeleteParams", delete_product),
    StripeRoute("POST", "/v1/prices", "PriceCreateParams", create_price),
    StripeRoute("GET", "/v1/prices", "PriceListParams", list_prices),
    StripeRoute("GET", "/v1/prices/search", "PriceSearchParams", search_prices),
    StripeRoute("GET", "/v1/prices/{}", "PriceRetrieveParams", lambda call: call.state.get("price", call.ids[0])),
    StripeRoute("POST", "/v1/prices/{}", "PriceUpdateParams", update_price),
)
