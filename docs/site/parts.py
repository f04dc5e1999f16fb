"""The parts of pages that are made from the code: what a marker in a document stands for.

A document says `<!-- generated: NAME -->`, then what those read who see the file and not the site, then
`<!-- end of generated -->`. Neighbours: one module for each part; `hooks` asks for a whole page.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from docs.site import benchmark, command_line, configuration, decisions, figures, log_lines

PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "benchmark": benchmark.table,
    "command-line": command_line.reference,
    "configuration": configuration.reference,
    "decisions": decisions.index,
    "log-access": log_lines.access_fields,
    "log-events": log_lines.events,
    "rollout-plan": configuration.plan_reference,
    "metrics": figures.families,
    "metric-labels": figures.label_values,
}
_MARKED: Final = re.compile(r"<!-- generated: ([a-z-]+) -->\n.*?<!-- end of generated -->\n", re.DOTALL)


def filled_in(markdown: str) -> str:
    """The document with its generated parts. Raises KeyError for a part that nobody makes."""
    return _MARKED.sub(lambda found: PARTS[found[1]](), markdown)
