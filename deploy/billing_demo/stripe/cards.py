"""The card numbers that Stripe documents for tests, and what becomes of payments with them. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DemoCard:
    """One number: what a bank answers while its owner is there, and what it answers later without the owner."""

    number: str
    token: str
    brand: str = "visa"
    decline_code: str = ""
    later_decline_code: str = ""
    authentication: str = ""
    """`always`, or `once`: a saved card then needs no authentication any more."""
    dispute_reason: str = ""
    refund_fails: bool = False

    @property
    def code(self) -> str:
        """The error code that belongs to the bank's reason."""
        return ERROR_CODES.get(self.decline_code or self.later_decline_code, "card_declined")


ERROR_CODES = {"expired_card": "expired_card", "incorrect_cvc": "incorrect_cvc", "processing_error": "processing_error"}
MESSAGES = {
    "expired_card": "Your card has expired.",
    "fraudulent": "Your card was declined.",
    "generic_decline": "Your card was declined.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "insufficient_funds": "Your card has insufficient funds.",
    "lost_card": "Your card was declined.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
    "stolen_card": "Your card was declined.",
    "authentication_required": "Your card was declined. This transaction requires authentication.",
}

CARDS = (
    DemoCard("4242424242424242", "visa"),
    DemoCard("5555555555554444", "mastercard", "mastercard"),
    DemoCard("378282246310005", "amex", "amex"),
    DemoCard("4000000000000002", "visa_chargeDeclined", decline_code="generic_decline"),
    DemoCard("4000000000009995", "visa_chargeDeclinedInsufficientFunds", decline_code="insufficient_funds"),
    DemoCard("4000000000009987", "visa_chargeDeclinedLostCard", decline_code="lost_card"),
    DemoCard("4000000000009979", "visa_chargeDeclinedStolenCard", decline_code="stolen_card"),
    DemoCard("4000000000000069", "chargeDeclinedExpiredCard", decline_code="expired_card"),
    DemoCard("4000000000000127", "chargeDeclinedIncorrectCvc", decline_code="incorrect_cvc"),
    DemoCard("4000000000000119", "chargeDeclinedProcessingError", decline_code="processing_error"),
    DemoCard("4000000000000341", "chargeCustomerFail", later_decline_code="generic_decline"),
    DemoCard("4000002500003155", "authenticationRequiredOnSetup", authentication="once"),
    DemoCard("4000002760003184", "authenticationRequired", authentication="always"),
    DemoCard("4000000000000259", "createDispute", dispute_reason="fraudulent"),
    DemoCard("4000000000002685", "createDisputeProductNotReceived", dispute_reason="product_not_received"),
    DemoCard("4000000000005126", "refundFail", refund_fails=True),
)
BY_NUMBER = {card.number: card for card in CARDS}
BY_TOKEN = {
    **{f"pm_card_{card.token}": card for card in CARDS},
    **{f"tok_{card.token}": card for card in CARDS},
    "pm_card_threeDSecure2Required": BY_NUMBER["4000002760003184"],
}
