"""A chord over many generations, and an image that becomes a video; by plain Celery calls.

    python thousand.py HOW_MANY ENDPOINT

Prints the chord's result, the ids that it should be, and the two inputs of the chain, as JSON.
"""

import json
import sys
from typing import Any

from celery import canvas
from shop import app, ids  # type: ignore[import-not-found]  # beside it


def generation(endpoint, prompt, **kwargs):
    asked = {"endpoint": endpoint, "input": {"prompt": prompt}, **kwargs}
    return app.signature("pressroom.generate", kwargs=asked)


def main(how_many: int, endpoint: str) -> None:
    header = [generation(endpoint, f"picture {number}") for number in range(how_many)]
    image = generation("black-forest-labs-flux-1-schnell", "waves at dusk")
    video = generation("p-video", "they roll in", from_previous={"image": "artifacts.0"})

    sheet: Any = canvas.chord(header)(ids.s())
    film: Any = canvas.chain(image, video).apply_async()

    found = {
        "sheet": sheet.get(timeout=300),
        "sent": [child.id for child in sheet.parent.children],
        "image": film.parent.get(timeout=60),
        "video": film.get(timeout=60),
    }
    json.dump(found, sys.stdout)


main(int(sys.argv[1]), sys.argv[2])
