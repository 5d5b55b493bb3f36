"""The pictures of the documents: `scripts/screenshots` for one page."""

from PIL import Image

from scripts.views.fill import Filled
from scripts.views.shots import MOST_BYTES, WIDTHS, take
from scripts.views.views import VIEWS


def test_a_view_is_taken_in_both_themes_and_widths(site, chromium, tmp_path):
    [keys] = [view for view in VIEWS if view.name == "keys"]

    shots = list(take(chromium, site.base, [keys], Filled({"operator": site.key_of()}), tmp_path))

    names = {f"keys-{theme}-{width}" for theme in ("light", "dark") for width in WIDTHS}
    assert {shot.name for shot in shots} == names
    assert [shot.findings for shot in shots] == [[]] * len(names)
    for shot in shots:
        assert 0 < shot.size_bytes <= MOST_BYTES
        with Image.open(tmp_path / f"{shot.name}.png") as picture:
            assert picture.width == WIDTHS[shot.name.rpartition("-")[2]][0]
