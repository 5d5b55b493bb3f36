"""Real files and texts, drawn from the words of a request and nothing else."""

from typing import TypeAlias

from endpoints.emulator.media.image import ImageSpec
from endpoints.emulator.media.speech import SpeechSpec, speech_seconds
from endpoints.emulator.media.text import Written, count_tokens, write_text
from endpoints.emulator.media.video import ClipSpec

MediaSpec: TypeAlias = ImageSpec | ClipSpec | SpeechSpec

__all__ = [
    "ClipSpec",
    "ImageSpec",
    "MediaSpec",
    "SpeechSpec",
    "Written",
    "count_tokens",
    "speech_seconds",
    "write_text",
]
