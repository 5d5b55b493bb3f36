"""A stand-in for the upstream on 127.0.0.1: honest about money, strict about input, and nasty.

It speaks the protocol of hosted endpoints (`/v2/{endpoint}/run`, `/status/{id}` and the rest),
keeps their limits, retention and prices, renders real files, and does on demand whatever a remote
service may do to its callers (see `faults`). It shares no code with the client that it tests: of
this project it imports the catalogue alone, which says what an endpoint takes, gives and costs.
"""

from endpoints.emulator.app import create_app, listening, serve
from endpoints.emulator.clock import Clock
from endpoints.emulator.config import EmulatorConfig
from endpoints.emulator.upstream import UPSTREAM, Upstream

__all__ = ["UPSTREAM", "Clock", "EmulatorConfig", "Upstream", "create_app", "listening", "serve"]
