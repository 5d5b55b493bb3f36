"""What a program is to ask for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

Mode = Literal["run", "runsync"]
MADE_OF_FILES = {"image", "video", "speech"}  # kinds whose output has addresses of files


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Args:
    endpoint: its entry in the API; of one that is not listed `{"id": ...}` alone.
    input: exactly what the job is to have.
    mode: run hands in and asks again; runsync waits within the call.
    base: where the gateway is, without a slash at the end.
    """

    endpoint: Mapping[str, Any]
    input: Mapping[str, Any]
    mode: Mode
    base: str

    @property
    def name(self) -> str:
        return str(self.endpoint["id"])

    @property
    def kind(self) -> str:
        return str(self.endpoint.get("kind", ""))

    @property
    def url(self) -> str:
        """Of the endpoint, in the upstream's API."""
        return f"{self.base}/v2/{quote(self.name, safe='')}"

    @property
    def has_files(self) -> bool:
        return self.kind in MADE_OF_FILES
