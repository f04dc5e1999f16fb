"""The word somebody probably meant. Pure."""

import difflib
from collections.abc import Iterable

_CLOSE_ENOUGH = 0.6


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word most like `word`, or None when none is close. Case does not count."""
    by_folded = {candidate.casefold(): candidate for candidate in known}
    # a key of a megabyte is no typing error, and comparing it would take minutes
    folded = word[:100].casefold().replace("-", "_")
    found = difflib.get_close_matches(folded, by_folded, n=1, cutoff=_CLOSE_ENOUGH)
    return by_folded[found[0]] if found else None
