"""HTML by its own names.

What others wrote is set as text or as an attribute's value, never written into `.props("...")`,
`.style("...")` or `ui.html(...)`: NiceGUI reads those as code.
"""

from nicegui import ui
from nicegui.elements.mixins.text_element import TextElement


def text(tag: str, words: str, classes: str = "") -> TextElement:
    """<tag>words</tag>"""
    return TextElement(tag=tag, text=words).classes(classes)


def box(tag: str = "div", classes: str = "", **attributes: str) -> ui.element:
    """An element to draw within; `aria_label` is the attribute aria-label."""
    drawn = ui.element(tag).classes(classes)
    for name, value in attributes.items():
        drawn.props[name.replace("_", "-")] = value
    return drawn
