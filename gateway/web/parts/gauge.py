"""How much of how much."""

from gateway.web.parts.tags import box, text


class Gauge:
    """A bar, and beside it in words what it says.

    Args:
        name: what is measured, for who cannot see the bar.
    """

    def __init__(self, name: str) -> None:
        with box(classes="pr-gauge"):
            with box(classes="pr-gauge-track", role="meter", aria_label=name) as self._track:
                self._bar = box(classes="pr-gauge-bar")
            self._words = text("span", "", "pr-small")

    def set(self, share: float, words: str, *, tone: str = "busy") -> None:
        """Args:
        share: 0 to 1; more is drawn as 1.
        """
        percent = round(min(max(share, 0.0), 1.0) * 100, 1)
        self._track.props["aria-valuenow"] = percent
        self._track.props["aria-valuemin"] = 0
        self._track.props["aria-valuemax"] = 100
        self._track.props["aria-valuetext"] = words
        self._bar.style(replace=f"width: {percent}%")
        self._bar.classes(replace=f"pr-gauge-bar pr-fill-{tone}")
        self._words.set_text(words)
