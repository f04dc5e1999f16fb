"""Makes a drawn SVG fit to stand in a page: inert, named for who can't see it, and in the page's colours.

What is drawn is taken apart and put together again: no metadata, no namespaces, no ids but those that are referred
to, which begin with the plot's name so that plots don't mix. Neighbours: `plots` draw, `html` and `collect` place it.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from html import escape
from typing import Final

_NAMESPACE: Final = "http://www.w3.org/2000/svg"
_TAG: Final = re.compile(r"\{[^}]*\}")
_REFERENCE: Final = re.compile(r"url\(#([^)]+)\)")
_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}\b")
_KEPT: Final = frozenset({"svg", "g", "path", "use", "text", "tspan", "defs", "clipPath", "rect", "line", "circle"})


def embed(drawn: str, name: str, title: str, description: str, colours: Mapping[str, str]) -> str:
    """The drawing as an element of a page; `colours` maps what was drawn with (#rrggbb) to what CSS is to say."""
    root = ET.fromstring(drawn)  # noqa: S314 - drawn by ourselves a moment ago
    _clean(root)
    _rename(root, name)
    for element in root.iter():
        for key, value in element.attrib.items():
            element.set(key, _COLOUR.sub(lambda found: colours.get(found[0].lower(), found[0]), value))
    root.attrib = {
        "viewBox": root.get("viewBox", ""),
        "role": "img",
        "aria-labelledby": f"{name}-title {name}-desc",
    }
    text = ET.tostring(root, encoding="unicode", short_empty_elements=True)
    opening, rest = text.split(">", 1)
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return f"{opening}>{words}{rest}"


def as_file(embedded: str, background: str) -> str:
    """An embedded drawing as a file of its own."""
    opening, rest = embedded.split("</desc>", 1)
    opening = opening.replace("<svg ", f'<svg xmlns="{_NAMESPACE}" ', 1)
    ground = f'<rect width="100%" height="100%" fill="{background}"/>'
    return f"{opening}</desc>{ground}{rest}\n"


def _clean(parent: ET.Element) -> None:
    """Names without namespaces; nothing but what draws."""
    parent.tag = _TAG.sub("", parent.tag)
    for key in list(parent.attrib):
        value = parent.attrib.pop(key)
        parent.set(_TAG.sub("", key), value)
    for child in list(parent):
        if not isinstance(child.tag, str) or _TAG.sub("", child.tag) not in _KEPT:
            parent.remove(child)
        else:
            _clean(child)
    if parent.tag not in ("text", "tspan"):
        parent.text = None
    parent.tail = "\n" if parent.tag == "g" else None


def _rename(root: ET.Element, name: str) -> None:
    """Ids that are referred to get the plot's name before them; others go."""
    wanted = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            wanted |= set(_REFERENCE.findall(value))
            if key == "href":
                wanted.add(value.removeprefix("#"))
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            if key == "id":
                if value in wanted:
                    element.set(key, f"{name}-{value}")
                else:
                    del element.attrib[key]
            elif key == "href":
                element.set(key, f"#{name}-{value.removeprefix('#')}")
            else:
                element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", value))
