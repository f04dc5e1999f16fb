"""All figures of a run: kept as they come, summed up as medians with their spread, written and read as JSON."""

import datetime
import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.compare.measure import Figures

FILE: Final = "results.json"
DIGITS: Final = 4


@dataclass
class Results:
    """What a run found."""

    machine: dict[str, str | int]
    options: dict[str, Any]
    versions: dict[str, str]
    labels: dict[str, str]
    date: str = field(default_factory=lambda: datetime.datetime.now(datetime.UTC).date().isoformat())
    titles: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, dict[str, str]] = field(default_factory=dict)
    shares: dict[str, float] = field(default_factory=dict)
    rounds: dict[str, dict[str, list[Figures]]] = field(default_factory=dict)
    """By scenario and contestant."""
    time_lines: dict[str, list[list[float]]] = field(default_factory=dict)

    def add(self, scenario: str, contestant: str, figures: Figures) -> None:
        rounded = {name: _rounded(value) for name, value in figures.items()}
        self.rounds.setdefault(scenario, {}).setdefault(contestant, []).append(rounded)

    def leave_out(self, scenario: str, contestant: str, reason: str) -> None:
        self.left_out.setdefault(scenario, {})[contestant] = reason

    def values(self, scenario: str, contestant: str, name: str) -> list[float]:
        found = self.rounds.get(scenario, {}).get(contestant, [])
        return [each[name] for each in found if name in each]

    def median(self, scenario: str, contestant: str, name: str) -> float | None:
        values = self.values(scenario, contestant, name)
        return statistics.median(values) if values else None

    def ratio(self, scenario: str, name: str, first: str, second: str) -> tuple[float, float, float] | None:
        """Of the medians; and the lowest and highest of the rounds, each compared within itself."""
        above, below = self.values(scenario, first, name), self.values(scenario, second, name)
        pairs = [a / b for a, b in zip(above, below, strict=False) if b]
        if not pairs or not statistics.median(below):
            return None
        return statistics.median(above) / statistics.median(below), min(pairs), max(pairs)

    def errors(self, scenario: str, contestant: str) -> float:
        return sum(self.values(scenario, contestant, "errors"))

    def write(self, directory: Path) -> Path:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / FILE
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        path.write_text(_compact(text) + "\n")
        return path

    @classmethod
    def read(cls, directory: Path) -> "Results":
        return cls(**json.loads((directory / FILE).read_text()))


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}") if abs(value) < 10**DIGITS else round(value)


def _compact(text: str) -> str:
    """Put what is innermost, a round's figures or a point in time, on one line."""
    lines: list[str] = []
    gathered: list[str] | None = None
    for line in text.splitlines():
        bare = line.strip()
        if bare in ("{", "[") or bare.endswith((": {", ": [")):
            if gathered is not None:
                lines += gathered
            gathered = [line]
        elif gathered is not None and bare.rstrip(",") in ("}", "]"):
            lines.append(gathered[0] + " ".join(each.strip() for each in gathered[1:]) + bare)
            gathered = None
        elif gathered is not None:
            gathered.append(line)
        else:
            lines.append(line)
    return "\n".join(lines)
