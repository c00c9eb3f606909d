"""The mail catcher for tests."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from deploy.billing_demo.mail.mailbox import CaughtMail
from deploy.billing_demo.mail.server import MailCatcher
from tests.support.billing.background_loop import background_loop
from tests.support.waiting import eventually


@asynccontextmanager
async def running_mail_catcher(**settings: Any) -> AsyncIterator[MailCatcher]:
    """Run a mail catcher in this loop."""
    async with MailCatcher(**settings) as catcher:
        yield catcher


@contextmanager
def running_mail_catcher_in_background(**settings: Any) -> Iterator[MailCatcher]:
    """Run a mail catcher in a thread, for tests that are not asynchronous."""
    with background_loop() as loop, loop.entered(running_mail_catcher(**settings)) as catcher:
        yield catcher


async def mail_to(catcher: MailCatcher, recipient: str, count: int = 1) -> list[CaughtMail]:
    """Wait until a recipient has this many mails, and return them."""
    return await eventually(
        f"{recipient} has {count} mails",
        lambda: found if len(found := catcher.mailbox.to(recipient)) >= count else None,
    )
