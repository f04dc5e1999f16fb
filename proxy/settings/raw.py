"""Values on their way from YAML to a typed field, and the marks they carry.

Pure. `document` makes them, `scalars` consumes them; none survives validation except `Secret`.
"""

from enum import Enum
from typing import Final, Self

MASK: Final = "********"
_LONGEST_SHOWN: Final = 60


class Substituted(str):
    """Text that came, wholly or in part, from `${env:…}` or `${file:…}`; the field decides its type.

    `sources` are the placeholders without their defaults, fit to be shown in an error instead of the value.
    """

    __slots__ = ("sources",)
    sources: tuple[str, ...]

    def __new__(cls, text: str, sources: tuple[str, ...]) -> Self:
        """Mark `text` as made from `sources`."""
        self = super().__new__(cls, text)
        self.sources = sources
        return self


class NumberLike(str):
    """An unquoted scalar that YAML versions read differently (`010`, `1_0`, `0x1F`): no field takes it."""

    __slots__ = ()


class Secret(str):
    """Text never to be shown. It is the real value for comparing and sending; its `repr` is masked."""

    __slots__ = ()

    def __repr__(self) -> str:
        return repr(MASK)


class Broken(Enum):
    """Stands where a value should be, when the reason why it is not has been reported already."""

    REPORTED = "reported"


BROKEN: Final = Broken.REPORTED


def kind_of(value: object) -> str:
    """What sort of thing a value is, without showing it."""
    if isinstance(value, Substituted):
        return f"the value of {' and '.join(value.sources)}"
    if value is None:
        return "nothing (null)"
    kinds: tuple[tuple[type, str], ...] = (
        (bool, "true or false"),
        (int, "a number"),
        (float, "a number"),
        (str, "text"),
        (list, "a list"),
        (tuple, "a list"),
        (dict, "a mapping"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "something else")


def shown(value: object) -> str:
    """A literal value as the file has it, shortened; a substituted one only by where it came from."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Substituted) or not isinstance(value, str | int | float):
        return kind_of(value)
    text = repr(str(value)) if isinstance(value, str) else str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
