"""Who moves: the rollout section of the configuration.

Contract section 2, key `rollout`; section 3 says what it does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal, cast

from pydantic import Field
from pydantic_core import PydanticCustomError

from proxy.settings.header_rules import FIELD_NAME, FIELD_NAME_PATTERN, HeaderName
from proxy.settings.raw import BROKEN, NumberLike, kind_of
from proxy.settings.scalars import Flag, OptionalSecret, Percentage, Scalar, Text, choice, read_text, rejected
from proxy.settings.section import Section
from proxy.settings.sources import OptionalPath
from proxy.settings.suggest import nearest

UserIdKind = Literal["header", "jwt_claim", "cookie", "query"]
_KINDS: Final = ("header", "jwt_claim", "cookie", "query")


@dataclass(frozen=True, slots=True)
class UserIdSource:
    """One place to look for the user id: what kind of place, and the name in it."""

    kind: UserIdKind
    name: str


def _read_user_id_source(value: object) -> UserIdSource:
    expected = "expected one of header, jwt_claim, cookie or query with a name, such as `header: X-User-Id`"
    if not isinstance(value, Mapping):
        raise rejected(f"{expected}, got {kind_of(value)}")
    if BROKEN in value.values():
        raise PydanticCustomError("reported", "reported already")
    if len(value) != 1:
        raise rejected(f"{expected}, got {len(value)} keys", "write each as an item of its own")
    kind, name = next(iter(value.items()))
    if kind not in _KINDS:
        meant = nearest(str(kind), _KINDS)
        raise rejected(f"{expected}, got another key", f'did you mean "{meant}"?' if meant else None)
    text = read_text(name)
    if kind in ("header", "cookie") and not FIELD_NAME.fullmatch(text):
        raise rejected(f"expected a {kind} name without spaces or separators")
    if not text or not text.isprintable():
        raise rejected(f"expected the name of a {kind}")
    return UserIdSource(cast(UserIdKind, kind), text)


def _read_user(value: object) -> str:
    if isinstance(value, NumberLike | int | float) and not isinstance(value, bool):
        raise rejected("expected a user id as text, got a bare number", "put it in quotes, or YAML turns 007 into 7")
    text = read_text(value).strip()
    if not text:
        raise rejected("expected a user id, got nothing")
    return text


UserIdItem = Annotated[
    UserIdSource,
    Scalar(
        _read_user_id_source,
        {
            "type": "object",
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": False,
            "properties": {
                "header": {
                    "type": "string",
                    "pattern": FIELD_NAME_PATTERN,
                    "description": "A request header.",
                },
                "jwt_claim": {
                    "type": "string",
                    "minLength": 1,
                    "description": "A claim of the Bearer token, read but not verified.",
                },
                "cookie": {"type": "string", "pattern": FIELD_NAME_PATTERN, "description": "A cookie."},
                "query": {"type": "string", "minLength": 1, "description": "A query parameter."},
            },
        },
        lambda source: {source.kind: source.name},
    ),
]
User = Annotated[str, Scalar(_read_user, {"type": "string", "minLength": 1})]
Anonymous = Annotated[Literal["legacy", "client_ip"], choice("legacy", "client_ip")]

DEFAULT_USER_ID: Final = (
    UserIdSource("header", "X-User-Id"),
    UserIdSource("jwt_claim", "sub"),
    UserIdSource("cookie", "user_id"),
    UserIdSource("query", "userId"),
)


class Users(Section):
    """Users who do not depend on their bucket."""

    target: tuple[User, ...] = Field(default=(), description="User ids always answered by the target.")
    legacy: tuple[User, ...] = Field(default=(), description="User ids always answered by legacy.")


class Force(Section):
    """A header with which a tester chooses the source of one request."""

    header: HeaderName = Field(
        "X-Cutover-Force", description="The header whose value is `target;TOKEN` or `legacy;TOKEN`."
    )
    token: OptionalSecret = Field(None, description="The shared secret of the force header, which is off without one.")


class Rollout(Section):
    """Who is answered by the target."""

    enabled: Flag = Field(default=False, description="Whether anybody moves; while false everything goes to legacy.")
    percentage: Percentage = Field(
        0, description="Share of users answered by the target, a whole number from 0 to 100."
    )
    salt: Text = Field(
        "",
        description="Chooses which users move first; never change it during a rollout.",
    )
    user_id: tuple[UserIdItem, ...] = Field(
        default=DEFAULT_USER_ID,
        description="Where the user id is looked for; the first one present and non-empty wins.",
    )
    anonymous: Anonymous = Field(
        "legacy",
        description="Without a user id: `legacy`, or the bucket of the `client_ip`.",
    )
    users: Users = Field(default=Users(), description="Users who always get the same source.")
    force: Force = Field(default=Force(), description="A header with which a tester chooses the source.")
    kill_switch_file: OptionalPath = Field(
        None,
        description="While this file exists everything goes to legacy; relative to the configuration file.",
    )
