"""Options that several commands share."""

import click

tenant_option = click.option("--tenant", default="demo", show_default=True, metavar="TENANT", help="Whose it is.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of words.")
