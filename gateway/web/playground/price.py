"""What a run will cost, in words."""

from gateway.words import say_usd

NOTES = {
    "exact": "",
    "ceiling": "at most; it may be less",
    "media": "by the length of your file",
    "after": "what comes out decides",
    "unlisted": "",
}


def say_price(usd: float | None, basis: str) -> str:
    """As in "$0.0024", "up to $0.0002", "about $0.50"."""
    if usd is None or basis == "unlisted":
        return "no price known"
    before = {"ceiling": "up to ", "media": "about ", "after": "about "}.get(basis, "")
    return f"{before}{say_usd(usd)}"


def say_price_note(basis: str) -> str:
    """Why it is not said more exactly; empty if it is exact."""
    return NOTES.get(basis, "")
