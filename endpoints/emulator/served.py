"""One endpoint as the emulator serves it: its entry in the catalogue, its workers, its pace."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from endpoints.catalogue import Endpoint, Kind
from endpoints.emulator.durations import Durations
from endpoints.emulator.frames import frame_size
from endpoints.emulator.store import Pool

# Where no page states a bound, these keep one request from costing the emulator minutes and
# gigabytes. They are far above anything that the documentation shows.
MOST_PIXELS: Final = 4096 * 4096
MOST_SECONDS: Final = 60.0
MOST_SPOKEN_CHARACTERS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """`endpoint` is None for somebody's own serverless endpoint, which echoes its input."""

    name: str
    endpoint: Endpoint | None
    durations: Durations
    pool: Pool

    @property
    def names_worker(self) -> bool:
        """Whether its replies ever hold a workerId."""
        return self.endpoint is None or self.endpoint.output.worker

    def find_problems(self, values: Mapping[str, object]) -> list[str]:
        """Return what is wrong with an input, one line each."""
        if self.endpoint is None:
            return []
        problems = [str(problem) for problem in self.endpoint.check(values)]
        return problems or list(_exceeded(self.endpoint, self.endpoint.with_defaults(values)))


def _exceeded(endpoint: Endpoint, values: Mapping[str, object]) -> Iterator[str]:
    if endpoint.kind is Kind.IMAGE:
        width, height = frame_size(values, kind=endpoint.kind)
        if width * height > MOST_PIXELS:
            yield f"size: {width}*{height} is over {MOST_PIXELS} pixels"
    match values:
        case {"duration": int() | float() as seconds} if not 0 < seconds <= MOST_SECONDS:
            yield f"duration: {seconds} is not above 0 and at most {MOST_SECONDS:g} s"
        case {"speed": int() | float() as speed} if not 0.1 <= speed <= 10:  # noqa: PLR2004
            yield f"speed: {speed} is not between 0.1 and 10"
    if endpoint.kind is Kind.SPEECH and len(str(values["prompt"])) > MOST_SPOKEN_CHARACTERS:
        yield f"prompt: longer than {MOST_SPOKEN_CHARACTERS} characters"
