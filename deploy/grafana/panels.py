"""The vocabulary of the dashboards: queries, panels, and where they go. Knows how things look, not what they show.

Neighbours: one module for each dashboard; `build` writes them all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from grafana_foundation_sdk.builders import bargauge, common, dashboard, prometheus, stat, statetimeline, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as model

DATA_SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
GRID_WIDTH: Final = 24
LEGACY_COLOR, TARGET_COLOR = "orange", "blue"
_SHADES: Final = {
    LEGACY_COLOR: ("light-orange", "orange", "dark-orange"),
    TARGET_COLOR: ("light-blue", "blue", "dark-blue"),
}


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL expression. `color` is fixed if given, `dashed` draws it so; `exemplars` shows trace ids on it."""

    expr: str
    legend: str = ""
    color: str | None = None
    dashed: bool = False
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class Look:
    """How a panel shows its values. `steps` are (from value, color), the first from -infinity (None)."""

    unit: str = "short"
    description: str = ""
    steps: Sequence[tuple[float | None, str]] = ()
    show_steps: bool = False
    stacked: bool = False
    stepped: bool = False
    maximum: float | None = None
    decimals: int | None = None


def bad_above(bound: float) -> tuple[tuple[float | None, str], ...]:
    """Green up to the bound and red from there."""
    return ((None, "green"), (bound, "red"))


def good_above(bound: float) -> tuple[tuple[float | None, str], ...]:
    """Red up to the bound and green from there."""
    return ((None, "red"), (bound, "green"))


def shades(color: str) -> tuple[str, str, str]:
    """A light, a middle and a dark one, for p50, p95 and p99."""
    return _SHADES[color]


@dataclass
class Grid:
    """Puts panels side by side, row after row, and numbers them."""

    builder: dashboard.Dashboard
    x: int = 0
    y: int = 0
    height: int = 0
    number: int = field(default=0)

    def row(self, title: str) -> None:
        """Begin a titled row."""
        self._new_line()
        self.number += 1
        position = model.GridPos(x=0, y=self.y, w=GRID_WIDTH, h=1)
        self.builder.with_row(dashboard.Row(title).id(self.number).grid_pos(position))
        self.y += 1

    def graph(self, title: str, queries: Sequence[Query], look: Look, *, w: int = 8, h: int = 7) -> None:
        """A graph over time."""
        panel = (
            timeseries.Panel()
            .legend(_legend())
            .tooltip(common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI))
            .min(0)
            .line_width(2 if not look.stacked else 1)
            .fill_opacity(40 if look.stacked else 5)
            .show_points(looks.VisibilityMode.NEVER)
            .line_interpolation(looks.LineInterpolation.STEP_AFTER if look.stepped else looks.LineInterpolation.LINEAR)
        )
        if look.stacked:
            panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
        if look.show_steps:
            panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(looks.GraphTresholdsStyleMode.DASHED))
        self._add(panel, title, queries, look, w, h)

    def stat(self, title: str, queries: Sequence[Query], look: Look, *, w: int = 4, h: int = 4) -> None:
        """The latest value, large."""
        panel = (
            stat.Panel()
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .graph_mode(looks.BigValueGraphMode.AREA)
            .color_mode(looks.BigValueColorMode.VALUE)
            .text_mode(looks.BigValueTextMode.AUTO)
        )
        self._add(panel, title, queries, look, w, h)

    def bars(self, title: str, queries: Sequence[Query], look: Look, *, w: int = 6, h: int = 8) -> None:
        """The latest value of each, as bars beneath each other."""
        panel = (
            bargauge.Panel()
            .orientation(looks.VizOrientation.HORIZONTAL)
            .display_mode(looks.BarGaugeDisplayMode.BASIC)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
            .min(0)
        )
        self._add(panel, title, queries, look, w, h)

    def states(
        self, title: str, queries: Sequence[Query], look: Look, words: dict[str, str], *, w: int = 12, h: int = 7
    ) -> None:
        """What something was, when; `words` names the values."""
        panel = statetimeline.Panel().legend(_legend()).show_value(looks.VisibilityMode.AUTO)
        if words:
            results = {
                value: model.ValueMappingResult(text=word, index=index)
                for index, (value, word) in enumerate(words.items())
            }
            panel.mappings([model.ValueMap(options=results)])
        self._add(panel, title, queries, look, w, h)

    def _add(self, panel: "AnyPanel", title: str, queries: Sequence[Query], look: Look, w: int, h: int) -> None:
        if self.x + w > GRID_WIDTH:
            self._new_line()
        self.number += 1
        panel.title(title).description(look.description).datasource(DATA_SOURCE).unit(look.unit).id(self.number)
        panel.grid_pos(model.GridPos(x=self.x, y=self.y, w=w, h=h))
        if look.steps:
            steps = [model.Threshold(value=value, color=color) for value, color in look.steps]
            panel.thresholds(dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
        if look.maximum is not None:
            panel.max(look.maximum)
        if look.decimals is not None:
            panel.decimals(look.decimals)
        for index, query in enumerate(queries):
            ref = chr(ord("A") + index)
            panel.with_target(_target(query, ref))
            overrides = _overrides(query)
            if overrides:
                panel.override_by_query(ref, overrides)
        self.builder.with_panel(panel)
        self.x += w
        self.height = max(self.height, h)

    def _new_line(self) -> None:
        self.x = 0
        self.y += self.height
        self.height = 0


AnyPanel = timeseries.Panel | stat.Panel | bargauge.Panel | statetimeline.Panel


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)  # noqa: FBT003 - the builder takes it so
        .display_mode(looks.LegendDisplayMode.LIST)
        .placement(looks.LegendPlacement.BOTTOM)
    )


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().datasource(DATA_SOURCE).ref_id(ref).expr(query.expr).range()
    if query.legend:
        target.legend_format(query.legend)
    if query.exemplars:
        target.exemplar(True)  # noqa: FBT003 - the builder takes it so
    return target


def _overrides(query: Query) -> list[model.DynamicConfigValue]:
    overrides = []
    if query.color is not None:
        value = {"mode": "fixed", "fixedColor": query.color}
        overrides.append(model.DynamicConfigValue(id_val="color", value=value))
    if query.dashed:
        style: dict[str, object] = {"fill": "dash", "dash": [8, 6]}
        overrides.append(model.DynamicConfigValue(id_val="custom.lineStyle", value=style))
    return overrides


def new_dashboard(uid: str, title: str, description: str, *, sources: bool = True) -> Grid:
    """Begin a dashboard with its variables; `sources`: it is about the sidecar's two sources."""
    builder = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["cutover"])
        .editable()
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("cutover")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags(["cutover"])
            .include_vars(True)  # noqa: FBT003 - the builder takes it so
            .keep_time(True)  # noqa: FBT003 - the builder takes it so
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    if sources:
        builder.with_variable(_variable("job", "Deployment", "label_values(cutover_build_info, job)"))
        for role in ("legacy", "target"):
            query = f'label_values(cutover_source_info{{job="$job", role="{role}"}}, source)'
            builder.with_variable(_variable(role, role.capitalize(), query))
    return Grid(builder)


def _variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(DATA_SOURCE)
        .query({"query": query, "refId": name})
        .refresh(model.VariableRefresh.ON_DASHBOARD_LOAD)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def annotate(grid: Grid, name: str, expr: str, color: str) -> None:
    """Mark in every graph when `expr` has a value."""
    grid.builder.annotation(
        dashboard.AnnotationQuery().name(name).datasource(DATA_SOURCE).expr(expr).icon_color(color).enable(True)  # noqa: FBT003 - the builder takes it so
    )
