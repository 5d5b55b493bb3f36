"""Links to stored files: they open without a key, cannot be guessed, and may run out.

    /files/<artifact id>/<signature>/image.png             for good
    /files/<artifact id>/<signature>/image.png?until=...   until that second (Unix time)

The last part is there for people and for programs that go by endings; nothing is read from it.
"""

import hmac
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from models.artifact import Artifact, ArtifactState
from workers.secret import Secret


@dataclass(frozen=True, slots=True)
class Links:
    """Makes and checks links.

    Args:
        base: what they begin with: the gateway's own address.
        live_seconds: how long a link opens its file; 0: for good.
    """

    secret: Secret
    base: str
    live_seconds: int = 0

    def link(self, artifact: Artifact, *, live_seconds: int | None = None) -> str | None:
        """The file's address; None while it is not stored."""
        if artifact.state is not ArtifactState.STORED or artifact.store_key is None:
            return None
        seconds = self.live_seconds if live_seconds is None else live_seconds
        until = int(time.time()) + seconds if seconds else None
        name = artifact.field.rpartition(".")[2] or "file"
        plain = "".join(letter if letter.isalnum() else "_" for letter in name if letter.isascii())
        ending = PurePosixPath(artifact.store_key).suffix
        query = f"?until={until}" if until else ""
        return (
            f"{self.base}/files/{artifact.id}/{self._sign(artifact.id, until)}"
            f"/{plain.removesuffix('_url') or 'file'}{ending}{query}"
        )

    def thumbnail(self, artifact: Artifact) -> str | None:
        """The small picture's address; None if there is none."""
        if artifact.thumbnail_key is None:
            return None
        signature = self._sign(artifact.id, None, part="thumbnail")
        return f"{self.base}/thumbnails/{artifact.id}/{signature}/thumbnail.webp"

    def check(
        self, artifact_id: UUID, signature: str, until: int | None, *, part: str = "file"
    ) -> bool:
        """Whether we made this link."""
        wanted = self._sign(artifact_id, until, part=part)
        return hmac.compare_digest(signature.encode(), wanted.encode())

    def rewrite(self, output: Any, artifacts: Sequence[Artifact]) -> Any:  # noqa: ANN401 -- any JSON
        """The output with the addresses of stored files in place of the upstream's."""
        links = {
            artifact.source_url: link
            for artifact in artifacts
            if artifact.source_url.startswith("http") and (link := self.link(artifact))
        }
        return _replace(output, links) if links else output

    def _sign(self, artifact_id: UUID, until: int | None, *, part: str = "file") -> str:
        return self.secret.sign_link(f"{part}:{artifact_id}:{'' if until is None else until}")


def _replace(value: Any, links: Mapping[str, str]) -> Any:  # noqa: ANN401 -- any JSON
    if isinstance(value, str):
        return links.get(value, value)
    if isinstance(value, list):
        return [_replace(item, links) for item in value]
    if isinstance(value, dict):
        return {key: _replace(item, links) for key, item in value.items()}
    return value
