"""The command line: parse, call, print. No logic lives here; rooms are imported when a command needs them."""

from sciimg.cli.command import app, main

# isort: off
# importing a module registers its commands; this order is that of --help
from sciimg.cli import running, data, generation, judging, signing, handing_on, reports, review, trust
# isort: on

__all__ = ["app", "data", "generation", "handing_on", "judging", "main", "reports", "review", "running", "signing", "trust"]
