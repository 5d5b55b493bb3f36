"""The text that a job asked for: a few sentences about its prompt, with honest token figures."""

import math
import re
from dataclasses import dataclass
from typing import Final

from endpoints.emulator.media.palette import seeded

LETTERS_A_TOKEN: Final = 4
MOST_SUBJECTS: Final = 40
SHORTEST_SUBJECT: Final = 4  # letters; shorter words say little about a prompt

OPENINGS: Final = (
    "This is an emulated answer about {a}.",
    "An emulator wrote these lines about {a}.",
    "Here is an emulated reply, as good as any, on {a} and {b}.",
)
SENTENCES: Final = (
    "Seen from close up, {a} is mostly a matter of patience.",
    "Those who work with {b} every day tend to speak of {a} last.",
    "There are three good reasons for {a}: it is cheap, it is quick, and nobody has tried it.",
    "The first thing to settle is {a}; {b} follows by itself.",
    "In the morning light {b} looks quite different from what one remembers.",
    "A careful reader will ask how {a} came to depend on {b}.",
    "It helps to write down what is known about {b} before anything else.",
    "Nothing about {a} is as simple as it sounds, and that is its charm.",
    "Once {b} is in place, the rest takes an afternoon.",
    "What remains is a question of taste, and of {a}.",
    "Between {a} and {b} lies most of the story.",
    "The old advice holds here too: measure {a} twice, and {b} once more.",
)
CLOSINGS: Final = (
    "So much for {a}.",
    "That is where {b} ends, for now.",
    "More about {b} another time.",
)
STOP_WORDS: Final = frozenset(
    ["about", "with", "that", "this", "from", "have", "what", "which", "write", "please"]
)


@dataclass(frozen=True, slots=True)
class Written:
    """A text and how many tokens it and its prompt are taken for."""

    text: str
    input_tokens: int
    output_tokens: int


def write_text(prompt: str, *, seed: object, max_tokens: int) -> Written:
    """Return some sentences on `prompt`, cut off at `max_tokens`: the same for the same seed."""
    draws = seeded(prompt, seed)
    subjects = [
        word
        for word in dict.fromkeys(re.findall(r"\w+", prompt.lower()))
        if len(word) >= SHORTEST_SUBJECT and word not in STOP_WORDS
    ][:MOST_SUBJECTS]
    subjects += ["the question", "the answer"][len(subjects) :]
    patterns = [
        draws.choice(OPENINGS),
        *draws.sample(SENTENCES, draws.randrange(4, 9)),
        draws.choice(CLOSINGS),
    ]
    sentences = []
    for pattern in patterns:
        one, other = draws.sample(subjects, 2)
        sentences.append(pattern.format(a=f"“{one}”", b=f"“{other}”"))
    text = " ".join(sentences)
    text = text[: max_tokens * LETTERS_A_TOKEN]
    return Written(text, count_tokens(prompt), count_tokens(text))


def count_tokens(text: str) -> int:
    """Return how many tokens `text` is taken for: one for four letters, rounded up."""
    return math.ceil(len(text) / LETTERS_A_TOKEN)
