"""The checks of one provider: what an application sends, compared with what the ledger has recorded of it."""

import json
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import openai
from openai.types.chat import ChatCompletionFunctionToolParam, ChatCompletionMessageParam

from keyferry.contracts.secret import Secret
from keyferry.contracts.usage import TokenUsage, UsageSource
from tests.live.providers import LiveModels
from tests.support.servers.ports import find_free_port
from tests.support.system.command_line import run_command
from tests.support.system.keyferry_system import KeyferrySystem
from tests.support.waiting import until

_PROMPT: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Answer with the single word: ferry"}]
_TOOL: ChatCompletionFunctionToolParam = {
    "type": "function",
    "function": {
        "name": "get_tide",
        "description": "Returns the tide at a harbour",
        "parameters": {"type": "object", "properties": {"harbour": {"type": "string"}}, "required": ["harbour"]},
    },
}
_MAX_TOKENS = 300
"""Enough for a model that thinks before it answers one word."""
_SECONDS = 120.0
_MAX_SHOWN = 300


class CheckFailed(Exception):
    """A check found something else than it should; the message says what."""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of one check. `detail` says what was found, or what is wrong."""

    name: str
    passed: bool
    detail: str
    cost_usd: Decimal = Decimal(0)


class ProviderChecks:
    """A tenant of its own with this provider's key alone, so nothing else can answer."""

    def __init__(self, system: KeyferrySystem, provider: str, key: Secret, models: LiveModels) -> None:
        self._system, self._provider, self._models = system, provider, models
        self._tenant = f"live-{provider}"
        system.cli("tenants", "create", self._tenant, "--tier", "enterprise")
        system.cli("tenants", "set", self._tenant, "--keys", "own")
        self._add_key(key)
        token = json.loads(system.cli("tokens", "create", "--tenant", self._tenant, "--json"))["token"]
        self._client = openai.OpenAI(base_url=f"{system.http_url}/v1", api_key=token, max_retries=0, timeout=_SECONDS)
        until("the model is offered", self._is_offered, _SECONDS)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def run(self) -> Iterator[CheckResult]:
        """Run every check of this provider, whatever the others find."""
        checks: dict[str, Callable[[], tuple[str, Decimal]]] = {"chat": self.chat, "stream": self.stream}
        if self._models.tools:
            checks["tools"] = self.tools
        if self._models.embedding is not None:
            checks["embedding"] = self.embedding
        checks["fallback"] = self.fallback
        for name, check in checks.items():
            try:
                detail, cost_usd = check()
            except openai.APIStatusError as error:
                yield CheckResult(name, False, f"HTTP {error.status_code}: {error.message}"[:_MAX_SHOWN])
            except (openai.OpenAIError, CheckFailed, AssertionError) as error:
                yield CheckResult(name, False, f"{type(error).__name__}: {error}"[:_MAX_SHOWN])
            else:
                yield CheckResult(name, True, detail, cost_usd)

    def chat(self) -> tuple[str, Decimal]:
        """Ask for a word at once."""
        raw = self._client.chat.completions.with_raw_response.create(
            model=self._models.chat,
            messages=_PROMPT,
            max_tokens=_MAX_TOKENS,
        )
        answer = raw.parse()
        _require(bool(answer.choices and answer.choices[0].message.content), "the answer has no text")
        return self._account(raw.headers["x-request-id"], answer.usage)

    def stream(self) -> tuple[str, Decimal]:
        """Ask for a word as a stream, with its usage at the end."""
        request_id, text, usage, finished = "", "", None, False
        with self._client.chat.completions.with_streaming_response.create(
            model=self._models.chat,
            messages=_PROMPT,
            max_tokens=_MAX_TOKENS,
            stream=True,
            stream_options={"include_usage": True},
        ) as raw:
            request_id = raw.headers["x-request-id"]
            for chunk in raw.parse():
                usage = chunk.usage or usage
                for choice in chunk.choices:
                    text += choice.delta.content or ""
                    finished = finished or choice.finish_reason is not None
        _require(finished, "the stream ended without a finish_reason")
        _require(bool(text), "the stream has no text")
        return self._account(request_id, usage)

    def tools(self) -> tuple[str, Decimal]:
        """Have the model call a function."""
        raw = self._client.chat.completions.with_raw_response.create(
            model=self._models.chat,
            messages=[{"role": "user", "content": "What is the tide in Hamburg? Use the tool."}],
            tools=[_TOOL],
            max_tokens=_MAX_TOKENS,
        )
        answer = raw.parse()
        calls = answer.choices[0].message.tool_calls or []
        _require(bool(calls), "the model called no tool")
        function: Any = getattr(calls[0], "function", None)
        _require(function is not None and function.name == "get_tide", "the model called another tool")
        try:
            arguments = json.loads(function.arguments)
        except ValueError:
            raise CheckFailed("the arguments of the tool call are no JSON") from None
        _require(isinstance(arguments, dict) and "harbour" in arguments, "the tool call has no harbour")
        return self._account(raw.headers["x-request-id"], answer.usage)

    def embedding(self) -> tuple[str, Decimal]:
        """Ask for the vector of a word."""
        assert self._models.embedding is not None
        raw = self._client.embeddings.with_raw_response.create(model=self._models.embedding, input="ferry")
        answer = raw.parse()
        _require(bool(answer.data and answer.data[0].embedding), "there is no vector")
        return self._account(raw.headers["x-request-id"], answer.usage)

    def fallback(self) -> tuple[str, Decimal]:
        """Ask a server of the tenant's own on which nothing listens; the provider has to answer in its place."""
        name = f"absent-{secrets.token_hex(3)}"
        address = f"http://127.0.0.1:{find_free_port()}/v1"
        add = ("endpoints", "add", name, "--tenant", self._tenant, "--base-url", address)
        self._system.cli(*add, "--no-probe", "--model", "lost")
        self._system.cli("preferences", "set", "--tenant", self._tenant, f"fallback_models={self._models.chat}")
        until(
            f"{name} is offered", lambda: f"{name}/lost" in {model.id for model in self._client.models.list()}, _SECONDS
        )

        def answered_elsewhere() -> Any:
            try:
                return self._client.chat.completions.with_raw_response.create(
                    model=f"{name}/lost",
                    messages=_PROMPT,
                    max_tokens=_MAX_TOKENS,
                )
            except openai.APIStatusError as error:  # the preference takes a moment to reach every router
                if error.status_code not in (502, 503, 504):
                    raise
                return None

        raw = until("the provider answers in place of the server", answered_elsewhere, _SECONDS)
        _require(bool(raw.parse().choices[0].message.content), "the answer has no text")
        return self._account(raw.headers["x-request-id"], raw.parse().usage)

    def _account(self, request_id: str, usage: Any) -> tuple[str, Decimal]:
        """Compare the provider's own usage, as the answer has it, with the ledger's. Return both in words, and the cost."""
        _require(usage is not None, "the answer has no usage")
        row = until(f"the ledger has {request_id}", lambda: self._recorded(request_id), _SECONDS)
        record = row["record"]
        recorded = TokenUsage.model_validate(record["token_usage"])
        found = recorded.prompt, recorded.completion
        reported = usage.prompt_tokens, getattr(usage, "completion_tokens", 0)
        _require(found == reported, f"the ledger has {found} tokens, the answer says {reported}")
        source = record["usage_source"]
        _require(source == UsageSource.REPORTED, f"the usage is {source}, and not reported by the provider")
        _require(row["cost_usd"] is not None, "the ledger has no cost: the model has no price")
        cost_usd = Decimal(str(row["cost_usd"]))
        _require(cost_usd > 0, "the ledger says that it cost nothing")
        own_cost = record.get("reported_cost_usd")
        if own_cost is not None:
            _require(
                abs(Decimal(str(own_cost)) - cost_usd) <= cost_usd / 10,
                f"the provider says that it cost ${own_cost}, the ledger ${cost_usd}",
            )
        return f"{reported[0]} + {reported[1]} tokens", cost_usd

    def _recorded(self, request_id: str) -> dict[str, Any] | None:
        explained = run_command(("explain", request_id, "--tenant", self._tenant, "--json"), self._system.environment)
        rows = json.loads(explained.out)["attempts"] if explained.status == 0 else []
        served = [row for row in rows if row["record"]["provider"] == self._provider]
        return next((row for row in served if row["record"]["outcome"] == "completed"), None)

    def _add_key(self, key: Secret) -> None:
        """Store the key, which the provider accepts, once a worker is there that tests it."""
        arguments = ("keys", "add", "--provider", self._provider, "--tenant", self._tenant, "--key-file", "-")

        def added() -> bool:
            done = run_command(arguments, self._system.environment, f"{key.reveal()}\n")
            if done.status and "no worker" not in done.output:
                raise CheckFailed(f"the key is not accepted: {done.output.strip()[:_MAX_SHOWN]}")
            return done.status == 0

        until("a worker tests the key", added, _SECONDS)

    def _is_offered(self) -> bool:
        try:
            return self._models.chat in {model.id for model in self._client.models.list()}
        except openai.AuthenticationError:  # the new token takes a moment to reach every ingress
            return False


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise CheckFailed(otherwise)
