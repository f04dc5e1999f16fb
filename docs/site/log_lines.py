"""The log reference: what `proxy.telemetry.vocabulary` says of events and of access lines. Neighbour: `parts`."""

from docs.site.tables import code, codes, table
from proxy.telemetry.vocabulary import ACCESS_FIELDS, EVENTS


def access_fields() -> str:
    """The fields of an access line."""
    return table(("field", "says"), ((code(name), meaning) for name, meaning in ACCESS_FIELDS.items()))


def events() -> str:
    """The events."""
    rows = ((code(name), ", ".join(one.levels), one.meaning, codes(one.fields)) for name, one in EVENTS.items())
    return table(("event", "level", "means", "fields"), rows)
