"""What people do with integration secrets, right and wrong, with a secret in every place where one could leak."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

from tests.support.canary.key_journeys import KeyJourneys
from tests.support.canary.planted_secrets import random_text
from tests.support.canary.searcher import Canary

_STRIPE = "sk_test_"
_SLACK = "https://hooks.slack.com/services/T00000000/B00000000/"


@dataclass
class IntegrationJourneys:
    """Uses the command line and the management API of the system of `keys`."""

    keys: KeyJourneys
    directory: Path

    def run_all(self) -> None:
        """Run all journeys in order."""
        self._life()
        self._misplaced()
        self._over_the_management_api()
        for form in ([], ["--json"]):
            self._cli("integrations", "list", "--tenant", "platform", *form)
            self._cli("audit", "list", "--tenant", "platform", *form)
        self._cli("vault", "verify")
        self._cli("tenants", "export", "demo", "--output", str(self.directory / "demo.jsonl"))

    def _life(self) -> None:
        """Add, rotate and remove secrets; those that are rotated stay, with both of their versions."""
        stripe_id = self._add("stripe_api_key", self._planted("Stripe key", _STRIPE))
        replacement = self._file(self._planted("Stripe key that replaces it", _STRIPE))
        self._cli("integrations", "rotate", stripe_id, "--tenant", "platform", "--secret-file", replacement)
        self._add("smtp_password", self._planted("password of the mail server"))
        removed_id = self._add("lago_api_key", self._planted("Lago key that is removed"))
        self._cli("integrations", "remove", removed_id, "--tenant", "platform", "--yes")
        slack = ("integrations", "add", "slack_webhook_url", "--tenant", "demo", "--json", "--secret-file")
        self._cli(*slack, self._file(_SLACK + self._planted("path of a webhook at Slack")))

    def _misplaced(self) -> None:
        """Give secrets that are refused: of another kind, malformed, or in place of something else."""
        add = ("integrations", "add")
        last = ("--tenant", "platform", "--secret-file")
        wrong = self._planted("signing secret in place of a key", "whsec_")
        self._cli(*add, "stripe_api_key", *last, self._file(wrong), status=1)
        broken = self._planted("Stripe key with a line break", _STRIPE)
        self._cli(*add, "stripe_api_key", *last, self._file(f"{broken}\nx: {broken}"), status=1)
        self._cli(*add, "stripe_api_key", *last, self._planted("Stripe key in place of its file", _STRIPE), status=1)
        named = self._planted("Stripe key as a name", _STRIPE)
        good = self._file(self._planted("signing secret that is not stored", "whsec_"))
        self._cli(*add, "stripe_webhook_secret", "--name", named, *last, good, status=1)
        as_id = self._planted("Stripe key in place of an id", _STRIPE)
        self._cli("integrations", "remove", as_id, "--tenant", "platform", "--yes", status=1)

    def _over_the_management_api(self) -> None:
        """Send secrets in clear and in wrong places to the console, as programs do."""
        path = "/api/v1/ops/tenants/platform/integrations"
        typed = self._planted("signing secret over the management API", "whsec_")
        body = {"kind": "stripe_webhook_secret", "name": "typed"}
        assert self.keys.manage("POST", path, body | {"secret": typed}) == 201
        wrong = self._planted("Stripe key in a wrong field", _STRIPE)
        for bad in (
            body | {"secret": [wrong]},
            body | {"sealed": wrong},
            body | {"secret": typed, "key": wrong},
            {"kind": wrong, "name": wrong, "secret": wrong},
        ):
            assert self.keys.manage("POST", path, bad) >= 400
        for place in (f"{path}/{wrong}", f"{path}?kind={wrong}", f"{path}?secret={wrong}"):
            self.keys.manage("GET", place)

    def _add(self, kind: str, secret: str) -> str:
        """Store a planted secret of the platform, and return its id."""
        arguments = ("integrations", "add", kind, "--tenant", "platform", "--json", "--secret-file")
        stored: dict[str, str] = json.loads(self._cli(*arguments, self._file(secret)))
        return stored["secret_id"]

    def _planted(self, name: str, prefix: str = "") -> str:
        return self.keys.journeys.plant_secret(Canary(name, prefix + random_text(), prefix))

    def _cli(self, *arguments: str, status: int | None = 0) -> str:
        return self.keys.journeys.cli(*arguments, status=status)

    def _file(self, secret: str) -> str:
        file = self.directory / secrets.token_hex(4)
        file.write_text(f"{secret}\n")
        return str(file)
