"""Bodies and answers made in one go are what botocore makes of them, walking along its model."""

import json
from base64 import b64encode

import botocore.session
import pytest
from botocore.parsers import create_parser as plain_parser
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from proxy.migration.wire import Parsers, encode_body

TEXT = st.text(st.characters(codec="utf-8"), max_size=8)
SCALARS = st.one_of(
    TEXT.map(lambda text: {"S": text}),
    st.integers().map(lambda number: {"N": str(number)}),
    st.binary(max_size=8).map(lambda data: {"B": data}),
    st.booleans().map(lambda flag: {"BOOL": flag}),
    st.just({"NULL": True}),
    st.lists(TEXT, min_size=1).map(lambda texts: {"SS": texts}),
    st.lists(st.integers().map(str), min_size=1).map(lambda numbers: {"NS": numbers}),
    st.lists(st.binary(max_size=8), min_size=1).map(lambda data: {"BS": data}),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: {"L": each}),
        st.dictionaries(TEXT, inner, max_size=3).map(lambda each: {"M": each}),
    ),
    max_leaves=8,
)
ITEMS = st.dictionaries(TEXT, VALUES, max_size=4)


@pytest.fixture(scope="module")
def model():
    return botocore.session.get_session().get_service_model("dynamodb")


@given(item=ITEMS)
def test_the_body_is_the_json_that_botocore_would_send(model, item):
    for operation, parameters in (
        ("PutItem", {"TableName": "images", "Item": item, "ExpressionAttributeValues": {":v": {"S": "é"}}}),
        ("BatchExecuteStatement", {"Statements": [{"Statement": "INSERT", "Parameters": list(item.values())}]}),
    ):
        shapes = model.operation_model(operation)
        sent = create_serializer("json", include_validation=False).serialize_to_request(parameters, shapes)["body"]
        assert json.loads(encode_body(parameters)) == json.loads(sent)


@given(item=ITEMS)
async def test_an_answer_is_read_as_botocore_reads_it(model, item):
    encoded = json.loads(encode_body({"item": item}))["item"]
    for operation, document in (
        ("BatchGetItem", {"Responses": {"images": [encoded]}, "UnprocessedKeys": {}}),
        ("Scan", {"Items": [encoded], "Count": 1, "LastEvaluatedKey": encoded}),
        ("BatchExecuteStatement", {"Responses": [{"Error": {"Code": "DuplicateItem", "Item": encoded}}, {}]}),
    ):
        shape = model.operation_model(operation).output_shape
        answer = {"status_code": 200, "headers": {}, "body": json.dumps(document).encode(), "context": {}}
        assert await Parsers().create_parser("json").parse(answer, shape) == plain_parser("json").parse(answer, shape)


def test_what_dynamodb_has_no_type_for_is_not_sent():
    with pytest.raises(TypeError, match="not an attribute value: object"):
        encode_body({"Item": {"id": object()}})
    assert encode_body({"B": b"\0"}) == f'{{"B":"{b64encode(bytes(1)).decode()}"}}'.encode()
