"""The index of the decisions in docs/adr. Neighbour: `parts`."""

import re
from pathlib import Path
from typing import Final

from docs.site.tables import table

_FOLDER: Final = Path(__file__).resolve().parents[1] / "adr"


def index() -> str:
    """A row for each decision, in order."""
    rows = []
    for path in sorted(_FOLDER.glob("[0-9]*.md")):
        text = path.read_text()
        title = re.search(r"^# (\d+)\. (.+)$", text, re.MULTILINE)
        said = re.search(r"^Date: (\S+)\. Status: (.+)\.$", text, re.MULTILINE)
        if title is None or said is None:
            raise ValueError(f"{path.name}: expected `# N. Title` and `Date: … . Status: … .`")
        rows.append((title[1], f"[{title[2]}]({path.name})", said[1], said[2]))
    return table(("", "decision", "date", "status"), rows)
