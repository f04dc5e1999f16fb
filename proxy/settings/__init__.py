"""The configuration file: typed, validated, explained.

The way of one file: `load` reads the bytes → `yaml_source` makes nodes that know their lines → `document`
expands `placeholders` and makes plain values → `schema` gives them types → `problems` turns whatever is
wrong into lines a person can act on. `effective` and `json_schema` show the same types back. Nothing here
opens a socket or keeps time.
"""
