"""What people know jobs of a list by: the beginning of a prompt, whose it is, a small picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from models.artifact import Artifact, list_artifacts
from models.job import Job
from models.job_queries import list_prompts
from models.key import name_keys
from workers.links import Links


@dataclass(frozen=True)
class Known:
    """Of the jobs of one page."""

    prompts: Mapping[UUID, str]
    keys: Mapping[UUID, str]
    pictures: Mapping[UUID, Artifact]  # the first file of each that has a small picture

    @classmethod
    async def read(cls, session: AsyncSession, jobs: Sequence[Job]) -> Self:
        ids = [job.id for job in jobs]
        files = await list_artifacts(session, job_ids=ids)
        return cls(
            prompts=await list_prompts(session, ids),
            keys=await name_keys(session, {job.key_id for job in jobs if job.key_id}),
            pictures={file.job_id: file for file in reversed(files) if file.thumbnail_key},
        )

    def of(self, job: Job, links: Links) -> dict[str, Any]:
        """As JSON."""
        picture = self.pictures.get(job.id)
        return {
            "prompt": self.prompts.get(job.id),
            "key": self.keys.get(job.key_id) if job.key_id else None,
            "thumbnail_url": links.thumbnail(picture) if picture else None,
        }
