"""What is printed at the end of a run."""

from bench.compare.results import Results
from bench.compare.tables import DASH, aligned, ratio_table, scenario_table, target_table


def text(results: Results) -> str:
    """Machine, versions, a table for each scenario, the ratios, the targets."""
    facts = results.machine
    options = results.options
    parts = [
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gib']} GiB, Linux {facts['kernel']}",
        str(facts["pinning"]),
        "; ".join(f"{results.labels.get(name, name)} {version}" for name, version in results.versions.items()),
        f"{options['rounds']} rounds of {options['seconds']:g} s, interleaved; medians (lowest{DASH}highest)",
    ]
    for scenario in results.titles:
        parts += ["", f"{scenario}: {results.titles[scenario]}", aligned(scenario_table(results, scenario))]
    parts += ["", aligned(ratio_table(results)), "", aligned(target_table(results))]
    return "\n".join(parts)
