"""A file to choose, or to drop."""

from collections.abc import Awaitable, Callable

from nicegui import ui
from nicegui.elements.upload_files import FileUpload
from nicegui.events import UploadEventArguments


class FileDrop(ui.upload, component="file_drop.js"):
    """Args:
    label: what is wanted.
    hint: of which kinds, and how large.
    accept: the endings that are offered.
    most_bytes: larger ones are not sent, and it is said why.
    """

    def __init__(
        self,
        label: str,
        on_file: Callable[[FileUpload], Awaitable[None]],
        *,
        hint: str,
        accept: str,
        most_bytes: int,
    ) -> None:
        async def came(event: UploadEventArguments) -> None:
            await on_file(event.file)

        super().__init__(label=label, max_file_size=most_bytes, on_upload=came)
        self.props["hint"] = hint
        self.props["accept"] = accept
