"""The post-cutover report: what the rollout's journal says, and Prometheus where it is given, as one page.

`collect` reads and makes `Findings`; `sections` make words, tables and figures of them; `render` writes HTML and
Markdown. What was not supplied or not measured is named as such and never counts as passed.
"""
