"""Where plots are drawn: one look for all, the same bytes for the same figures, whatever the user's own settings.

Text stays text (small, searchable, in the page's own font). Colours are placeholders that `svg` replaces by the
page's, so that one drawing serves light, dark and print. Neighbours: `plots` draws on it.
"""

import io
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.style import context as style_context
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from proxy.report.document import Figure
from proxy.report.findings import Sources
from proxy.report.svg import embed
from proxy.report.wording import duration, shortened

TEXT: Final = "#010101"
MUTED: Final = "#020202"
GRID: Final = "#030303"
BAND: Final = "#040404"
LEGACY: Final = "#050505"
TARGET: Final = "#060606"
BAD: Final = "#070707"
WARN: Final = "#080808"

IN_A_PAGE: Final = {
    TEXT: "var(--text)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    BAND: "var(--band)",
    LEGACY: "var(--legacy)",
    TARGET: "var(--target)",
    BAD: "var(--bad)",
    WARN: "var(--warn)",
}
IN_A_FILE: Final = {
    TEXT: "#1a1f26",
    MUTED: "#545d69",
    GRID: "#dfe3e8",
    BAND: "#eef0f3",
    LEGACY: "#b05f00",
    TARGET: "#0a62bd",
    BAD: "#b3231b",
    WARN: "#7d5000",
}
LEGACY_LINE: Final[dict[str, Any]] = {"color": LEGACY, "linestyle": (0, (5, 2))}
TARGET_LINE: Final[dict[str, Any]] = {"color": TARGET, "linestyle": "-"}
BOUND_LINE: Final[dict[str, Any]] = {"color": MUTED, "linestyle": ":", "linewidth": 1.3}
BACKGROUND: Final = "#ffffff"
WIDTH_IN: Final = 9.6

_LOOK: Final[dict[Any, Any]] = {
    "svg.hashsalt": "cutover",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.5,
    "text.color": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": TEXT,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.unicode_minus": False,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "figure.facecolor": "none",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "path.simplify": True,
}
_NO_METADATA: Final = dict.fromkeys(("Date", "Creator", "Format", "Type"))


def draw(paint: Callable[[Canvas], None], height_in: float) -> str:
    """What `paint` draws on a canvas, as SVG."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its caches
    with style_context("default"), mpl.rc_context(_LOOK), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph ")  # the reader's fonts have it, or nobody's
        warnings.filterwarnings("ignore", message="constrained_layout ")  # hostile names leave no room
        canvas = Canvas(figsize=(WIDTH_IN, height_in), layout="constrained")
        paint(canvas)
        drawn = io.StringIO()
        FigureCanvasSVG(canvas).print_svg(drawn, metadata=_NO_METADATA)  # type: ignore[no-untyped-call]
    return drawn.getvalue()


def as_dates(times: Sequence[float]) -> Any:  # noqa: ANN401 - matplotlib takes lists of anything
    """Times as matplotlib has them."""
    return [datetime.fromtimestamp(at, UTC) for at in times]


def time_axis(axes: Axes, began: float, ended: float) -> None:
    """An axis of times, in UTC."""
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))  # type: ignore[no-untyped-call]
    axes.set_xlim(*as_dates((began, max(ended, began + 1.0))))


def label_values(axis: Any, words: Callable[[float], str]) -> None:  # noqa: ANN401 - an axis, either one
    """Write an axis's values in these words."""
    axis.set_major_formatter(FuncFormatter(lambda value, _place: words(value)))


def logarithmic(axis: Any, subs: tuple[float, ...]) -> None:  # noqa: ANN401 - an axis, either one
    """Make an axis of times logarithmic, labelled at these multiples of each power of ten."""
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=8))
    axis.set_minor_formatter(NullFormatter())
    label_values(axis, duration)


def legend(canvas: Canvas, names: Sources, bound: str, suffixes: tuple[str, str] = ("", "")) -> None:
    """Say which line is which, above everything."""
    handles = list(_handles(names, bound, suffixes))
    canvas.legend(handles=handles, loc="outside upper right", ncols=3, labelcolor=TEXT)


def _handles(names: Sources, bound: str, suffixes: tuple[str, str]) -> Iterator[Any]:
    yield Line2D([], [], label=f"{shortened(names.legacy)}{suffixes[0]}", **LEGACY_LINE)
    yield Line2D([], [], label=f"{shortened(names.target)}{suffixes[1]}", **TARGET_LINE)
    yield Line2D([], [], label=bound, **BOUND_LINE)


def finished(name: str, title: str, description: str, drawn: str) -> Figure:
    """The drawing as a figure of the document."""
    return Figure(name, title, description, embed(drawn, name, title, description, IN_A_PAGE))
