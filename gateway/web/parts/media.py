"""A picture, film, sound or text, from a file's entry in the API."""

from typing import Any

from nicegui import ui

from gateway.web.api import local
from gateway.web.parts.tags import box, text


def show_file(artifact: dict[str, Any], *, alt: str, small: bool = False) -> ui.element:
    """Args:
    alt: what is to be seen, for who cannot: mostly the prompt.
    small: its thumbnail, if it has one.
    """
    media_type = artifact.get("media_type") or ""
    address = local(artifact.get("url"))
    thumbnail = local(artifact.get("thumbnail_url"))
    with box("figure", "pr-media") as drawn:
        if address is None:
            text("p", f"The file is {artifact.get('state', 'not stored')}.")
        elif media_type.startswith("image/") or (small and thumbnail):
            source = thumbnail if small and thumbnail else address
            box("img", src=source, alt=alt, loading="lazy", decoding="async")
        elif media_type.startswith("video/"):
            # No captions come with it; the prompt is its description.
            box("video", src=address, controls="", preload="metadata", aria_label=alt)
        elif media_type.startswith("audio/"):
            box("audio", src=address, controls="", preload="metadata", aria_label=alt)
        else:
            with box("a", href=address, download=""):
                text("span", f"Open the file ({media_type or 'of an unknown kind'})")
    return drawn
