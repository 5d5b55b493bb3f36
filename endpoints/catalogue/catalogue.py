"""The catalogue: every hosted endpoint that is known by name, and how often each may be called."""

import datetime as dt
import difflib
import re
from collections.abc import Iterable, Iterator, Mapping

from endpoints.catalogue.entry import Endpoint
from endpoints.catalogue.limits import Limit, Operation

SUGGESTIONS = 3


class Catalogue:
    """Endpoints by id, in the order of the files: images, videos, speech, text."""

    def __init__(
        self,
        endpoints: Iterable[Endpoint],
        *,
        limits: Mapping[Operation, Limit],
        retired: Mapping[str, dt.date],
    ) -> None:
        self._endpoints = {endpoint.id: endpoint for endpoint in endpoints}
        self._aliases = {
            alias: endpoint for endpoint in self._endpoints.values() for alias in endpoint.aliases
        }
        self._limits = limits
        self._retired = retired

    def __iter__(self) -> Iterator[Endpoint]:
        return iter(self._endpoints.values())

    def __len__(self) -> int:
        return len(self._endpoints)

    def find(self, name: str) -> Endpoint | None:
        """Return the endpoint of this id or alias."""
        return self._endpoints.get(name) or self._aliases.get(name)

    def retired(self, name: str) -> str | None:
        """Say when the endpoint of this id was withdrawn; None if it was not."""
        day = self._retired.get(name)
        return None if day is None else f"endpoint {name!r} was withdrawn on {day}"

    def suggest(self, name: str) -> list[str]:
        """Return the ids that were most likely meant, at most three, the likeliest first."""
        words = re.findall(r"[a-z0-9]+", name.lower())
        names = {
            candidate.lower(): endpoint.id
            for endpoint in self
            for candidate in (endpoint.id, endpoint.name, *endpoint.aliases)
        }
        close = difflib.get_close_matches(name.lower(), names, n=SUGGESTIONS)
        holding = [known for known in names if words and all(word in known for word in words)]
        ids = dict.fromkeys(names[known] for known in (*close, *holding))
        return list(ids)[:SUGGESTIONS]

    def limit(self, endpoint_id: str, operation: Operation) -> Limit | None:
        """Return how often an operation may be called, also of an endpoint not listed here.

        None means that no limit is documented for the operation.
        """
        endpoint = self.find(endpoint_id)
        own = endpoint.limits.get(operation) if endpoint else None
        return own or self._limits.get(operation)
