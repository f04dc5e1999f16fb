"""Requests and answers that carry items, made and read in one go.

botocore walks through every value of every item along its model of the service; for DynamoDB that only turns bytes
into base64 and back, and it costs more than everything else about a request. The JSON encoder of the standard library
gives the same body from the same parameters. botocore has places for both: its events `provide-client-params` and
`before-call`, where the parameters are held back before they are serialized, and their JSON put in place of the body
before it is signed; and the session's component `response_parser_factory`. Neighbour: `table`.
"""

import json
from base64 import b64decode, b64encode
from typing import Any, Final

from aiobotocore.parsers import AioJSONParser, AioResponseParserFactory
from aiobotocore.session import AioSession, get_session

_OPERATIONS: Final = ("PutItem", "BatchExecuteStatement")
_HELD: Final = "cutover_parameters"
_PLAIN: Final = ("S", "N", "BOOL", "NULL", "SS", "NS")


class Parser(AioJSONParser):  # type: ignore[misc]  # botocore has no static types
    """Reads attribute values as they came, but for bytes. Were botocore's steps to change, it would read as before."""

    def _handle_structure(self, shape: Any, value: Any) -> Any:  # noqa: ANN401 - botocore has no static types
        if shape.name == "AttributeValue" and value:
            return _read_value(value)
        return super()._handle_structure(shape, value)

    def _handle_map(self, shape: Any, value: Any) -> Any:  # noqa: ANN401 - as above
        if shape.value.name == "AttributeValue":
            return {name: _read_value(each) for name, each in value.items()}
        return super()._handle_map(shape, value)


class Parsers(AioResponseParserFactory):  # type: ignore[misc]  # as above
    """Gives that parser, for every protocol that is JSON."""

    def create_parser(self, protocol_name: str) -> Any:  # noqa: ANN401 - as above
        """A parser of answers in this protocol."""
        return Parser(**self._defaults) if protocol_name == "json" else super().create_parser(protocol_name)


def open_session() -> AioSession:
    """A session whose clients read answers so."""
    session = get_session()
    session.register_component("response_parser_factory", Parsers())
    return session


def _read_value(value: dict[str, Any]) -> dict[str, Any]:
    ((kind, held),) = value.items()
    if kind in _PLAIN:
        return value
    if kind == "M":
        return {kind: {name: _read_value(each) for name, each in held.items()}}
    if kind == "L":
        return {kind: [_read_value(each) for each in held]}
    return {kind: b64decode(held) if kind == "B" else [b64decode(each) for each in held]}


def encode_bodies(client: Any) -> None:  # noqa: ANN401 - botocore's clients have no static type
    """From now on, this client makes the bodies of these operations so."""
    for operation in _OPERATIONS:
        client.meta.events.register(f"provide-client-params.dynamodb.{operation}", _hold_back)
        client.meta.events.register(f"before-call.dynamodb.{operation}", _put_in_place)


def encode_body(parameters: dict[str, Any]) -> bytes:
    """What DynamoDB is sent for these parameters. Raises TypeError for what DynamoDB has no type for."""
    return _ENCODER.encode(parameters).encode()


def _base64(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return b64encode(value).decode()
    raise TypeError(f"not an attribute value: {type(value).__name__}")


_ENCODER: Final = json.JSONEncoder(
    separators=(",", ":"), ensure_ascii=False, check_circular=False, allow_nan=False, default=_base64
)


def _hold_back(params: dict[str, Any], context: dict[str, Any], **_others: object) -> dict[str, Any]:
    context[_HELD] = params
    # the table's name may decide on the endpoint
    return {name: value for name, value in params.items() if name == "TableName"}


def _put_in_place(params: dict[str, Any], context: dict[str, Any], **_others: object) -> None:
    params["body"] = encode_body(context.pop(_HELD))
