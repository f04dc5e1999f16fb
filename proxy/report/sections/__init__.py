"""The report's words: one module for each of the epic's seven sections. Pure.

Each takes findings and conclusions and returns a `Section`; none renders. Neighbours: `document` has what they are
made of, `composition` puts them together.
"""
