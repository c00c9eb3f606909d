"""Command line: python -m deploy.billing_demo --secrets DIRECTORY [--webhook URL]. Runs until SIGINT or SIGTERM."""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from deploy.billing_demo.demo_secrets import DemoSecrets
from deploy.billing_demo.lago.server import LagoDouble
from deploy.billing_demo.mail.server import MailCatcher
from deploy.billing_demo.stripe.server import StripeDouble
from keyferry.runtime.process import notify
from keyferry.runtime.process.os_errors import describe_os_error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the doubles; return the exit status: 0 stopped by a signal, 1 could not start."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.billing_demo", description="Run doubles of Stripe, Lago and a mail server on loopback."
    )
    parser.add_argument("--secrets", type=Path, required=True, help="the directory of the keys; missing ones are made")
    parser.add_argument("--webhook", metavar="URL", help="where Stripe's double sends its events")
    parser.add_argument("--stripe-port", type=int, default=8410)
    parser.add_argument("--lago-port", type=int, default=8411)
    parser.add_argument("--mail-port", type=int, default=8412, help="the port of the page with the mails")
    parser.add_argument("--smtp-port", type=int, default=8425)
    options = parser.parse_args(arguments)
    try:
        asyncio.run(_run(options))
    except OSError as error:
        print(f"the billing demo cannot run: {describe_os_error(error)}", file=sys.stderr)
        return 1
    return 0


async def _run(options: argparse.Namespace) -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    keys = DemoSecrets.ensure(options.secrets)
    async with AsyncExitStack() as running:
        stripe = await running.enter_async_context(
            StripeDouble(port=options.stripe_port, api_key=keys.stripe_api_key.reveal())
        )
        lago = await running.enter_async_context(LagoDouble(port=options.lago_port, api_key=keys.lago_api_key.reveal()))
        mail = await running.enter_async_context(MailCatcher(smtp_port=options.smtp_port, http_port=options.mail_port))
        if options.webhook:
            stripe.add_endpoint(options.webhook, keys.stripe_webhook_secret.reveal())
        print(f"Stripe {stripe.url}, Lago {lago.url}, mails {mail.url} (SMTP on port {mail.smtp_port})", flush=True)
        notify.ready()
        await stopping.wait()


if __name__ == "__main__":
    sys.exit(main())
