"""Who asks on the command line, for the audit log."""

import getpass
import itertools
import socket
import sys

from models.audit import Actor

WORDS = 2  # of a command: what follows may be anything


def cli_actor() -> Actor:
    """This user of this host, and the command."""
    words = itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1 : 1 + WORDS])
    return Actor(
        name=f"cli:{_find_user()}@{socket.gethostname()}",
        source=" ".join(("pressroom", *words)),
    )


def _find_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "unknown"
