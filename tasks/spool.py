"""The spool: the folder of this machine that a file is downloaded to before it is stored.

Each download has a file of its own there, named by artifact and lease, so that one whose lease ran
out never writes into the next one's. A worker that dies leaves its files; they are swept by age.
"""

import asyncio
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from workers.settings import Settings

KEPT_SECONDS = 3600.0  # no download is written to for so long
SWEEP_SECONDS = 600.0
SWEPT = ".swept"  # its age is when the folder was last swept, by whichever process


def spool_path(settings: Settings, of: UUID, lease: UUID) -> Path:
    """
    Args:
        of: the artifact, or the campaign whose file it is.
    """
    return _folder(settings) / f"{of}.{lease}"


def _folder(settings: Settings) -> Path:
    return settings.data_dir / "spool"


async def sweep_spool(settings: Settings) -> None:
    """Delete what dead workers left, if nobody has looked for a while. Never raises.

    A folder that cannot be read is the download's to report.
    """
    with suppress(OSError):
        await asyncio.to_thread(_sweep, _folder(settings))


def _sweep(folder: Path) -> None:
    swept = folder / SWEPT
    now = time.time()
    if swept.exists() and abs(now - swept.stat().st_mtime) < SWEEP_SECONDS:
        return
    folder.mkdir(parents=True, exist_ok=True)
    swept.touch()
    for path in folder.iterdir():
        with suppress(OSError):  # its own download has just removed it
            if path.name != SWEPT and now - path.stat().st_mtime > KEPT_SECONDS:
                path.unlink()
