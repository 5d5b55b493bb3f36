"""The recording that a job asked for: a little tune that follows its words.

Every three letters are a note of a pentatonic scale, so that any text sounds pleasant. Notes are
made once each and then strung together, which makes an hour of "speech" as cheap as a second.
"""

import array
import functools
import io
import math
import wave
import zlib
from dataclasses import dataclass
from typing import Final, cast

import av
from av.audio.stream import AudioStream

CHARACTERS_A_SECOND: Final = 15  # unhurried English
SHORTEST_SECONDS: Final = 0.6
SAMPLE_RATE: Final = 24_000
NOTE_SAMPLES: Final = SAMPLE_RATE // 5
LETTERS_A_NOTE: Final = 3
SCALE: Final = (220.0, 246.94, 277.18, 329.63, 369.99, 440.0, 493.88, 554.37, 659.26)  # A major
OVERTONES: Final = ((1, 0.7), (2, 0.2), (3, 0.1))
LOUDNESS: Final = 0.45 * 32767
ATTACK: Final = 0.006  # seconds; without it every note begins with a click

CODECS: Final = {"flac": "flac", "ogg": "libopus", "mp3": "libmp3lame"}
CONTENT_TYPES: Final = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "mp3": "audio/mpeg",
}


def speech_seconds(prompt: str, *, speed: float = 1.0) -> float:
    """Return how long the recording of `prompt` is, in whole milliseconds: a bill is exact."""
    return round(max(SHORTEST_SECONDS, len(prompt) / CHARACTERS_A_SECOND / speed), 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechSpec:
    """All that a recording derives from. `format` is wav, flac, ogg or mp3."""

    prompt: str
    voice: str
    seconds: float
    format: str

    @property
    def extension(self) -> str:
        """What the file's name ends with, without the dot."""
        return self.format

    @property
    def content_type(self) -> str:
        """The media type of the file."""
        return CONTENT_TYPES[self.format]

    def render(self) -> bytes:
        """Play and encode the tune."""
        samples = self._play()
        file = io.BytesIO()
        if self.format == "wav":
            with wave.open(file, "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(SAMPLE_RATE)
                sound.writeframes(samples)
            return file.getvalue()
        with av.open(file, "w", format=self.format) as container:
            codec = CODECS[self.format]
            stream = cast("AudioStream", container.add_stream(codec, rate=SAMPLE_RATE))
            stream.layout = "mono"
            frame = av.AudioFrame(format="s16", layout="mono", samples=len(samples) // 2)
            frame.planes[0].update(samples)
            frame.sample_rate = SAMPLE_RATE
            container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return file.getvalue()

    def _play(self) -> bytes:
        wanted = round(self.seconds * SAMPLE_RATE)
        notes = math.ceil(wanted / NOTE_SAMPLES)
        spread = max(1.0, len(self.prompt)) / notes
        key = zlib.crc32(self.voice.encode(errors="surrogatepass")) % 5
        tune = bytearray()
        for note in range(notes):
            start = round(note * spread)
            letters = self.prompt[start : start + LETTERS_A_NOTE]
            first_of_word = letters[:1].isupper() or " " in letters
            pitch = zlib.crc32(letters.lower().encode(errors="surrogatepass")) % (len(SCALE) - 3)
            tune += _note(pitch + key % 4, first_of_word)
        return bytes(tune[: 2 * wanted])


@functools.lru_cache(maxsize=64)
def _note(pitch: int, loud: bool) -> bytes:  # noqa: FBT001 -- a cache key, private to this file
    loudness = LOUDNESS * (1.0 if loud else 0.6)
    samples = array.array("h")
    for index in range(NOTE_SAMPLES):
        second = index / SAMPLE_RATE
        left = 1 - index / NOTE_SAMPLES
        envelope = min(1.0, second / ATTACK) * math.exp(-7 * second) * min(1.0, left * 8)
        wave_sum = sum(
            share * math.sin(math.tau * SCALE[pitch] * overtone * second)
            for overtone, share in OVERTONES
        )
        samples.append(round(loudness * envelope * wave_sum))
    return samples.tobytes()
