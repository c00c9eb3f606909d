"""How a tenant's ratings would change the ranks of models, before it lets them. Pure."""

from collections.abc import Iterable, Mapping

from keyferry.contracts.catalog import Capability, CatalogModel
from keyferry.contracts.feedback import FeedbackPreview, PreviewedModel
from services.router.power.quality import Kind, QualityTable
from services.router.power.ratings import LearnedQuality

MAX_PREVIEWED = 200


def preview_ranks(
    tenant: str,
    catalog: Iterable[CatalogModel],
    quality: QualityTable,
    learned: LearnedQuality,
    *,
    operation: str | None,
    applied: bool,
) -> FeedbackPreview:
    """Return the chat models that were rated or whose rank would change, the best first.

    Ranks are among all chat models of the catalog by their general quality; equal qualities share a rank.
    """
    chats = [model.id for model in catalog if Capability.CHAT in model.capabilities]
    before = {model: quality.of(model).of(Kind.GENERAL) for model in chats}
    after = {model: learned.blend(before[model], model, operation) for model in chats}
    ranks, learned_ranks = _rank(before), _rank(after)
    found = [
        PreviewedModel(
            model=model,
            quality=before[model],
            rank=ranks.get(model),
            ratings=learned.relevant(model, operation).ratings,
            learned_quality=after[model],
            learned_rank=learned_ranks.get(model),
        )
        for model in chats
    ]
    shown = [each for each in found if each.ratings or each.rank != each.learned_rank]
    shown.sort(key=lambda each: (-1 if each.learned_quality is None else -each.learned_quality, each.model))
    return FeedbackPreview(tenant=tenant, applied=applied, models=shown[:MAX_PREVIEWED])


def _rank(qualities: Mapping[str, int | None]) -> dict[str, int]:
    """Return the rank of each model whose quality is known, from 1 for the best."""
    known = sorted(-score for score in qualities.values() if score is not None)
    first = {score: place for place, score in reversed(list(enumerate(known, 1)))}
    return {model: first[-score] for model, score in qualities.items() if score is not None}
