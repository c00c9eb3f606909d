"""Requests over provider keys on a real bus: from the vault's view to the attempt that a worker is asked to make."""

import asyncio

from keyferry.contracts.failure import Failure, FailureClass
from keyferry.contracts.key import KeyStatus
from keyferry.contracts.tenancy import KeyPolicy, Tenant, Tier
from keyferry.contracts.topology import PROVIDER_KEYS_VIEW, TENANTS_VIEW
from keyferry.contracts.usage import KeySource, RequestKind
from tests.integration.router.routing import PATIENCE_SECONDS, Surroundings
from tests.support.key_facts import key_facts, platform_key

ACME = Tenant(tenant="acme", name="Acme", tier=Tier.STARTER, drop_unsupported=True)
OWN = key_facts("openrouter", "key_own", fields={"site_name": "Acme"})
SECOND = key_facts("openrouter", "key_two", priority=200)
FOREIGN = key_facts("openai", "key_foreign", tenant="other")
PLATFORM = platform_key("openai", "key_plat")


async def test_an_own_key_pays_and_its_failure_leads_to_the_next(surroundings: Surroundings) -> None:
    async with surroundings.router([ACME], [OWN, SECOND, FOREIGN, PLATFORM]) as routing:
        await routing.knows("gpt-4o-mini")
        run, _ = await routing.chat("gpt-4o-mini")
        assert run is not None
        assert (run.provider, run.model, run.key_id, run.key_owner) == (
            "openrouter", "openai/gpt-4o-mini", "key_own", "acme"
        )  # fmt: skip
        assert (run.base_url, run.key_fields, run.drop_unsupported) == (OWN.base_url, {"site_name": "Acme"}, True)
        assert (run.key_source, run.alternatives) == (KeySource.BYOK, 1)
        refused_key = Failure(failure_class=FailureClass.AUTH, message="no")
        again, _ = await routing.hand_back(run, refused_key)
        assert again is not None
        assert (again.key_id, again.attempt_number) == ("key_two", 2)
        end, failure = await routing.hand_back(again, refused_key)
        assert end is None
        assert failure == refused_key


async def test_when_the_key_goes_the_policy_decides(surroundings: Surroundings) -> None:
    async with surroundings.router([ACME], [OWN, PLATFORM]) as routing:
        await routing.knows("gpt-4o-mini")
        await surroundings.fill(PROVIDER_KEYS_VIEW, {"acme.key_own": OWN.model_copy(update={"status": KeyStatus.INVALID}),
                                                     "platform.key_plat": PLATFORM})  # fmt: skip
        refusal = await _until_refused(routing.chat, "gpt-4o-mini")
        assert refusal.failure_class is FailureClass.POLICY
        assert "is invalid" in refusal.message
        await surroundings.fill(PROVIDER_KEYS_VIEW, {"platform.key_plat": PLATFORM})
        found = await routing.knows("gpt-4o-mini")
        assert found["gpt-4o-mini"].key_source is KeySource.PLATFORM
        run, _ = await routing.chat("gpt-4o-mini")
        assert run is not None
        assert (run.key_id, run.key_owner, run.key_source) == ("key_plat", "platform", KeySource.PLATFORM)
        only, failure = await routing.chat("gpt-4o-mini", prefer_own_keys="only")
        assert only is None
        assert failure is not None
        assert "X-Prefer-BYOK" in failure.message
        await surroundings.fill(TENANTS_VIEW, {"acme": ACME.model_copy(update={"key_policy": KeyPolicy.OWN})})
        own_only = await _until_refused(routing.chat, "gpt-4o-mini")
        assert "keyferry keys add --provider openai" in own_only.message


async def test_embeddings_keep_to_their_model_and_chats_to_theirs(surroundings: Surroundings) -> None:
    async with surroundings.router([ACME], [PLATFORM]) as routing:
        found = await routing.knows("text-embedding-3-small")
        assert found["text-embedding-3-small"].dimensions == 1536
        assert "claude-haiku-4-5" not in found
        run, _ = await routing.embed("text-embedding-3-small")
        assert run is not None
        assert (run.kind, run.key_id) == (RequestKind.EMBEDDING, "key_plat")
        _, failure = await routing.embed("gpt-4o-mini")
        assert failure is not None
        assert (failure.failure_class, failure.param) == (FailureClass.BAD_REQUEST, "model")


async def _until_refused(chat: "object", model: str) -> Failure:
    """The refusal, once the view that brings it about has arrived."""
    assert callable(chat)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            _, failure = await chat(model)
            if failure is not None:
                assert isinstance(failure, Failure)
                return failure
