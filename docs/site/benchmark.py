"""The measured figures: the README's tables, which `python -m bench.compare --readme` writes. Neighbour: `parts`."""

from pathlib import Path
from typing import Final

_README: Final = Path(__file__).resolve().parents[2] / "README.md"


def table() -> str:
    """What stands between the README's two marks."""
    _, opening, rest = _README.read_text().partition("<!-- bench:begin")
    _, _, rest = rest.partition("-->\n")
    measured, closing, _ = rest.partition("<!-- bench:end -->")
    if not (opening and closing):
        raise ValueError("the README has no benchmark between its marks")
    return f"{measured.strip()}\n"
