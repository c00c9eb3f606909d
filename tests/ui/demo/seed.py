"""What is in the demo system: tenants, keys, client tokens, rules, budgets, traffic of today and a history of two weeks."""

import json
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from tests.support.providers.openai_double import out_of_money
from tests.support.waiting import until
from tests.ui.demo.history import Account, make_history, record_history
from tests.ui.demo.people import EMPTY_TENANT, OTHER_TENANT, PEOPLE, TENANT
from tests.ui.demo.providers import OUTAGE
from tests.ui.demo.system import START_SECONDS, DemoSystem, in_thread

DAYS: Final = 14
PER_DAY: Final = 90
MARKUP: Final = '<img src=x onerror=alert(1)> & "Co" </script>'
"""A name that would be a script, if a page took it for markup."""
FOREIGN_OPERATION: Final = "globex-only"
"""What the requests of the other tenant are for."""
_RULES = """
rules:
  - name: summaries-are-cheap
    description: Summaries of the inbox go to a cheap model
    when:
      operation: [summarize]
    chain:
      - model: gpt-4o-mini
      - model: mistral-small
  - name: research-is-precise
    when:
      operation: [research]
    chain:
      - power_level: precision
"""
_PROMPTS = (
    ("gpt-4o-mini", "summarize", "Summarize this ticket: the second invoice was charged twice."),
    ("mistral-small", "extract", "Extract the invoice number and the amount from this message."),
    ("claude-sonnet-4-5", "review", "Review this change of the billing code and name the risks."),
    ("llama-3.3-70b-instruct", "classify", "Is this message a complaint, a question or praise?"),
    ("eco", "translate", "Translate the answer into French."),
)


def seed(demo: DemoSystem, *, past: bool = True) -> None:
    """Fill the system, with `past` also with a history; everything that is asynchronous has arrived at the end."""
    _add_tenants(demo)
    _add_keys(demo)
    _add_tokens(demo)
    _set_rules(demo)
    for person in PEOPLE.values():
        demo.session(person)
    if past:
        _record_past(demo)
    _send_traffic(demo)


def _add_tenants(demo: DemoSystem) -> None:
    demo.add_tenant(TENANT, "Acme", keys="own-then-platform")
    demo.add_tenant(OTHER_TENANT, "Globex", keys="own")
    demo.add_tenant(EMPTY_TENANT, "Initech", tier="starter")
    demo.cli("teams", "create", "support", "--tenant", TENANT, "--name", "Support")
    demo.cli("teams", "create", "search", "--tenant", TENANT, "--name", MARKUP)
    demo.until_done("credits", "grant", TENANT, "50000", "--reason", "Welcome", "--idempotency-key", "demo")


def _add_keys(demo: DemoSystem) -> None:
    demo.add_key("platform", "groq", "Platform Groq")
    demo.add_key("platform", "openai", "Platform OpenAI")
    demo.add_key(TENANT, "openai", "Production")
    demo.add_key(TENANT, "openai", "Backup", "--priority", "200", "--expires", "5d")
    demo.add_key(TENANT, "mistral", "Europe")
    demo.add_key(TENANT, "anthropic", "Reviews", "--monthly-limit", "200")
    demo.add_key(OTHER_TENANT, "openai", "Globex only")
    unpaid = demo.add_key(TENANT, "deepseek", "No credit")
    revoked = demo.add_key(TENANT, "groq", "Revoked")
    demo.providers.deny(unpaid, out_of_money)
    demo.providers.withdraw(revoked)
    for label in ("No credit", "Revoked"):
        demo.cli("keys", "test", demo.key_ids[TENANT, label], "--tenant", TENANT)


def _add_tokens(demo: DemoSystem) -> None:
    demo.add_token(TENANT, "Support inbox", "--team", "support", "--rpm", "600")
    demo.add_token(TENANT, "Search service", "--team", "search", "--expires", "90d")
    demo.add_token(TENANT, MARKUP, "--model", "gpt-4o-mini", "--operation", "summarize")
    demo.add_token(OTHER_TENANT, "Globex app")
    demo.add_token(TENANT, "Old laptop")
    demo.cli("tokens", "revoke", demo.token_ids[TENANT][-1], "--tenant", TENANT)
    budget = ("budgets", "set", "--tenant", TENANT, "--tz", "Europe/Berlin")
    demo.cli(*budget, "--limit", "500", "--window", "month", "--name", "Everything")
    demo.cli(*budget, "--limit", "20", "--window", "day", "--team", "support", "--name", "Support per day")


def _set_rules(demo: DemoSystem) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(_RULES)
        demo.cli("route", "publish", str(file), "--tenant", TENANT, "--note", "Cheap summaries")


def _record_past(demo: DemoSystem) -> None:
    now = datetime.now(UTC)
    own = {provider: demo.key_ids[TENANT, label] for provider, label in _OWN_KEYS.items()}
    account = Account(TENANT, demo.token_ids[TENANT][:2], own, {"groq": demo.key_ids["platform", "Platform Groq"]})
    past = make_history(account, days=DAYS, per_day=PER_DAY, now=now)
    in_thread(lambda: record_history(demo.system.home, past, now))


_OWN_KEYS = {"openai": "Production", "mistral": "Europe", "anthropic": "Reviews"}


def _requests_of_today() -> Iterator[tuple[str, str, str, str | None, dict[str, object]]]:
    for number in range(6):
        for model, operation, prompt in _PROMPTS:
            yield TENANT, model, f"{prompt} ({number})", operation, {"stream": number % 2 == 0, "max_tokens": 120}
    yield TENANT, "no-such-model", "hello", None, {}
    for number in range(3):
        yield OTHER_TENANT, "gpt-4o-mini", f"Only Globex may read this ({number})", FOREIGN_OPERATION, {}


def _send_traffic(demo: DemoSystem) -> None:
    """Send requests, the last of them while a provider is down, and wait until the ledger has all."""
    until("a request is paid for", lambda: _is_served(demo), START_SECONDS)
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda each: _send(demo, *each), _requests_of_today()))
    demo.providers.outages["groq"] = OUTAGE
    sent += [
        _send(demo, TENANT, "llama-3.3-70b-instruct", f"Is this praise? ({number})", "classify", {})
        for number in range(12)
    ]
    del demo.providers.outages["groq"]
    demo.request_ids = [request_id for tenant, request_id in sent if tenant == TENANT]
    last = demo.request_ids[-1]
    until("the ledger has the traffic", lambda: _is_recorded(demo, last), START_SECONDS)


def _send(
    demo: DemoSystem, tenant: str, model: str, prompt: str, operation: str | None, more: dict[str, object]
) -> tuple[str, str]:
    headers = {"x-operation": operation, "x-keyferry-tags": "feature=inbox"} if operation else {}
    answer = demo.ask(tenant, model, prompt, headers=headers, more=more)
    return tenant, str(answer.headers["x-request-id"])


def _is_served(demo: DemoSystem) -> bool:
    return demo.ask(TENANT, "claude-sonnet-4-5", "first", more={"max_tokens": 5}).status_code == 200


def _is_recorded(demo: DemoSystem, request_id: str) -> bool:
    answer = demo.get(PEOPLE["owner"], "/requests?limit=50")
    return answer.status_code == 200 and request_id in json.dumps(answer.json())
