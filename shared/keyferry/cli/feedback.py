"""`keyferry feedback`: rate answers, and see what the ratings say."""

import click

from keyferry.cli.connection import run
from keyferry.cli.terminal import format_table, json_option, tenant_option
from keyferry.contracts.feedback import (
    Feedback,
    FeedbackPreview,
    ListFeedback,
    PreviewFeedback,
    SaveFeedback,
    TenantRatings,
)
from keyferry.contracts.routing_management import FEEDBACK_LIST, FEEDBACK_PREVIEW, FEEDBACK_SAVE

_RATINGS = ("up", "down", "1", "2", "3", "4", "5")


@click.group()
def command() -> None:
    """Rate answers, and show what ratings say about models."""


@command.command("rate")
@click.argument("request_id")
@click.argument("rating", type=click.Choice(_RATINGS))
@click.option("--rater", default="operator", show_default=True, help="Who rates: one rating is kept per rater.")
@click.option("--operation", help="What the request was for, where it did not say so itself.")
@click.option("--comment", help="What is to be said about the answer, without keys.")
@tenant_option
@json_option
def rate(
    request_id: str,
    rating: str,
    rater: str,
    operation: str | None,
    comment: str | None,
    tenant: str,
    as_json: bool,
) -> None:
    """Rate the answer to the request REQUEST_ID: 1 to 5, the best, or up (5) or down (1)."""
    query = SaveFeedback.model_validate(
        {
            "tenant": tenant,
            "request_id": request_id,
            "rating": rating if rating in ("up", "down") else int(rating),
            "rater": rater,
            "operation": operation,
            "comment": comment,
        }
    )
    saved = run(lambda me: me.ask(FEEDBACK_SAVE, query), tenant=tenant)
    click.echo(saved.model_dump_json(indent=2) if as_json else format_feedback(saved))


@command.command("list")
@tenant_option
@json_option
def list_(tenant: str, as_json: bool) -> None:
    """List the sums of a tenant's ratings by model and operation."""
    found = run(lambda me: me.ask(FEEDBACK_LIST, ListFeedback(tenant=tenant)), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else format_sums(found))


@command.command("preview")
@click.option("--operation", help="Only ratings for OPERATION, where there are enough.", metavar="OPERATION")
@tenant_option
@json_option
def preview(operation: str | None, tenant: str, as_json: bool) -> None:
    """Show how a tenant's ratings would change the ranks of models, whether or not they are applied."""
    query = PreviewFeedback(tenant=tenant, operation=operation)
    found = run(lambda me: me.ask(FEEDBACK_PREVIEW, query), tenant=tenant)
    click.echo(found.model_dump_json(indent=2) if as_json else "\n".join(format_preview(found)))


def format_feedback(saved: Feedback) -> str:
    """Return one line about a stored rating."""
    verb = "replaced the earlier rating of" if saved.replaced else "rated"
    purpose = f" for {saved.operation}" if saved.operation else ""
    return f"{saved.rater} {verb} {saved.request_id}: {saved.rating} of 5, {saved.model} of {saved.provider}{purpose}"


def format_sums(found: TenantRatings) -> str:
    """Return the table of sums."""
    rows = [
        (each.provider, each.model, each.operation or "-", str(each.ratings), f"{each.stars / each.ratings:.1f}")
        for each in found.models
    ]
    return format_table(("PROVIDER", "MODEL", "OPERATION", "RATINGS", "MEAN"), rows, empty="nothing was rated")


def format_preview(found: FeedbackPreview) -> list[str]:
    """Return the table of ranks, and whether they are in force."""
    rows = [
        (
            each.model,
            str(each.ratings),
            _text(each.quality),
            _text(each.learned_quality),
            _text(each.rank),
            _text(each.learned_rank),
        )
        for each in found.models
    ]
    heads = ("MODEL", "RATINGS", "QUALITY", "LEARNED", "RANK", "LEARNED RANK")
    state = (
        "the learned quality is applied to this tenant's requests"
        if found.applied
        else "the learned quality is not applied: the preference learned_quality is not on"
    )
    return [format_table(heads, rows, empty="nothing was rated"), state]


def _text(number: int | None) -> str:
    return "unknown" if number is None else str(number)
