"""The double of Lago for tests: its requests and answers are checked against the models of the official package."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from lago_python_client import Client
from lago_python_client.models.add_on import AddOnResponse
from lago_python_client.models.billable_metric import BillableMetricResponse
from lago_python_client.models.customer import CustomerResponse
from lago_python_client.models.customer_usage import CustomerUsageResponse
from lago_python_client.models.event import EventResponse
from lago_python_client.models.invoice import InvoiceResponse
from lago_python_client.models.plan import PlanResponse
from lago_python_client.models.subscription import SubscriptionResponse
from lago_python_client.models.wallet import WalletResponse
from lago_python_client.models.wallet_transaction import WalletTransactionResponse
from pydantic import v1

from deploy.billing_demo.lago.server import LagoDouble
from tests.support.billing.background_loop import background_loop

_MODELS: dict[str, Any] = {
    "add_on": AddOnResponse,
    "billable_metric": BillableMetricResponse,
    "customer": CustomerResponse,
    "customer_usage": CustomerUsageResponse,
    "event": EventResponse,
    "invoice": InvoiceResponse,
    "plan": PlanResponse,
    "subscription": SubscriptionResponse,
    "wallet": WalletResponse,
    "wallet_transaction": WalletTransactionResponse,
}
_ALSO_LISTED = {f"{name}s": model for name, model in _MODELS.items()}


class LagoAnswerCheck:
    """Collects what is wrong with the answers of a double."""

    def __init__(self, double: LagoDouble) -> None:
        self.found: list[str] = []
        double.observers.append(self._on_answer)

    def _on_answer(self, method: str, path: str, _body: Any, _status: int, answer: dict[str, Any]) -> None:
        for name, value in answer.items():
            rows = value if name in _ALSO_LISTED else [value]
            model = _ALSO_LISTED.get(name) or _MODELS.get(name)
            if model is None:
                self.found += [] if name == "meta" else [f"{method} {path}: {name} is no object of Lago's"]
                continue
            for row in rows:
                self._check(model, row, f"{method} {path}")

    def _check(self, model: Any, row: Any, where: str) -> None:
        try:
            model.parse_obj(row)
        except v1.ValidationError as error:
            self.found.append(f"{where}: {error}")

    def expect_none(self) -> None:
        """Assert that all answers were right."""
        assert not self.found, "\n".join(sorted(set(self.found)))


@asynccontextmanager
async def running_lago(**settings: Any) -> AsyncIterator[LagoDouble]:
    """Run a double of Lago in this loop; at the end all of its answers must have been right."""
    double = LagoDouble(**settings)
    check = LagoAnswerCheck(double)
    async with double:
        yield double
    check.expect_none()


@contextmanager
def running_lago_in_background(**settings: Any) -> Iterator[LagoDouble]:
    """Run a double of Lago in a thread, for tests that are not asynchronous."""
    with background_loop() as loop, loop.entered(running_lago(**settings)) as double:
        yield double


def lago_client(double: LagoDouble) -> Client:
    """Return the official client, which is not asynchronous, set to talk to a double in another thread."""
    return Client(api_key=double.api_key, api_url=double.url, retry_on_rate_limit=False)
