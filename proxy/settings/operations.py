"""Operations: the named routes. Contract section 2, key `operations`."""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from proxy.core.model import OTHER_OPERATION, Route
from proxy.settings.scalars import OptionalDuration, OptionalPercentage, Scalar, choice, parsed
from proxy.settings.section import Section

NAME_PATTERN: Final = r"^[a-z][a-z0-9_]{0,63}$"
MATCH_PATTERN: Final = r"^[A-Z][A-Z-]*(\|[A-Z][A-Z-]*)* /[^ ?#]*$"
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
_LITERAL_SEGMENT: Final = re.compile(r"[!$%&'()*+,.0-9:;=@A-Z_a-z~-]*")
_VARIABLE: Final = re.compile(r"\{[A-Za-z_][A-Za-z0-9_]*\}")
_UNROUTED: Final = frozenset({"CONNECT", "TRACE"})  # refused before routing


@dataclass(frozen=True, slots=True)
class RouteMatch:
    """Methods and a path template; `{x}` in the path is one raw segment."""

    methods: tuple[str, ...]
    path: str

    def __str__(self) -> str:
        return f"{'|'.join(self.methods)} {self.path}"


def parse_match(text: str) -> RouteMatch:
    """Read `PUT|PATCH /images/{id}`. Raises ValueError with a sentence that does not repeat the text."""
    verbs, space, path = text.partition(" ")
    if not space or " " in path:
        raise ValueError("expected methods, one space and a path, such as PUT|PATCH /images/{id}")
    methods = tuple(verbs.split("|"))
    if not all(_METHOD.fullmatch(method) for method in methods):
        raise ValueError("expected methods in capitals separated by |, such as PUT|PATCH")
    if len(set(methods)) != len(methods):
        raise ValueError("expected each method once")
    if _UNROUTED.intersection(methods):
        raise ValueError("expected a method that can be routed (CONNECT and TRACE are refused)")
    _check_path(path)
    return RouteMatch(methods, path)


def _check_path(path: str) -> None:
    if not path.startswith("/"):
        raise ValueError("expected a path that starts with /")
    if "?" in path or "#" in path:
        raise ValueError("expected a path without ? or # (the query does not take part)")
    variables: set[str] = set()
    for segment in path[1:].split("/"):
        if "{" in segment or "}" in segment:
            if not _VARIABLE.fullmatch(segment):
                raise ValueError("expected {name} to be a whole path segment, its name letters, digits and _")
            if segment in variables:
                raise ValueError("expected each {name} once")
            variables.add(segment)
        elif segment in (".", "..") or not _LITERAL_SEGMENT.fullmatch(segment):
            raise ValueError("expected path segments of ASCII characters as they are sent, without . or ..")


def _parse_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("expected a name of small letters, digits and _ that starts with a letter")
    if text == OTHER_OPERATION:
        raise ValueError("expected another name: `other` is everything that no operation matches")
    return text


_ROUTE: Final = choice(*Route)

Name = Annotated[str, parsed(_parse_name, {"type": "string", "pattern": NAME_PATTERN})]
Match = Annotated[RouteMatch, parsed(parse_match, {"type": "string", "pattern": MATCH_PATTERN})]
RouteChoice = Annotated[Route, Scalar(lambda value: Route(str(_ROUTE.read(value))), _ROUTE.schema, str)]


class Operation(Section):
    """A named route: which requests, and where they may go."""

    name: Name = Field(description="The metric label `operation`; unique, and not `other`.")
    match: Match = Field(
        description="Methods and path, as in `PUT|PATCH /images/{id}`; {x} is one segment; GET is HEAD too."
    )
    route: RouteChoice = Field(
        Route.SPLIT, description="`split` by the rollout, or always `legacy`, or always `target`."
    )
    percentage: OptionalPercentage = Field(
        None, description="This operation's own percentage; a global percentage of 0 is 0 here too."
    )
    timeout: OptionalDuration = Field(
        None, description="Time for one attempt of this operation, instead of the source's."
    )
    hedge_after: OptionalDuration = Field(
        None, description="This operation's own `fallback.hedge_after`; shorter than its timeout."
    )

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods it matches, as written; GET stands for HEAD too."""
        return self.match.methods

    @property
    def path(self) -> str:
        """The path template it matches."""
        return self.match.path


DEFAULT_OPERATIONS: Final = tuple(
    Operation.model_validate(written)
    for written in (
        {"name": "get", "match": "GET /images/{id}"},
        {"name": "list", "match": "GET /images"},
        {"name": "upload", "match": "POST /images", "route": "legacy"},
        {"name": "update", "match": "PUT|PATCH /images/{id}", "route": "legacy"},
        {"name": "delete", "match": "DELETE /images/{id}", "route": "legacy"},
    )
)
