"""Buckets: the same for everybody who computes them, for ever."""

import json
import random
import uuid
from pathlib import Path

import mmh3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.bucketing import BUCKETS, bucket_of, salt_prefix
from proxy.core.model import Decision, Reason, Role
from proxy.core.routing import Operation, RolloutPolicy, choose_source

KNOWN = json.loads((Path(__file__).parent / "vectors.json").read_text(encoding="utf-8"))
SPLIT = Operation("get", ("GET",), "/")


@pytest.mark.parametrize("known", [one for one in KNOWN["published"] if "hash" in one])
def test_the_hash_is_the_published_unsigned_one(known):
    assert mmh3.hash(known["input"].encode(), known["seed"], signed=False) == known["hash"]
    assert bucket_of(known["input"].encode()) == known["hash"] % 100


@pytest.mark.parametrize("known", [one for one in [*KNOWN["published"], *KNOWN["vectors"]] if "user" in one])
def test_every_known_user_is_in_the_known_bucket(known):
    assert bucket_of(known["user"].encode(), salt_prefix(known["salt"])) == known["bucket"]
    if "hash" in known:
        assert known["hash"] % 100 == known["bucket"]


@given(st.binary(), st.text())
def test_a_salt_is_a_prefix_with_a_colon(user, salt):
    prefix = salt_prefix(salt)
    assert prefix == (salt.encode() + b":" if salt else b"")
    assert 0 <= bucket_of(user, prefix) < BUCKETS
    assert bucket_of(user, prefix) == bucket_of(prefix + user)


def chosen(user, percentage, salt=""):
    policy = RolloutPolicy(enabled=True, percentage=percentage, salt_prefix=salt_prefix(salt))
    return choose_source(policy, SPLIT, user, bucket_of(user, policy.salt_prefix)).role


@given(st.binary(min_size=1), st.integers(0, 100), st.integers(0, 100), st.text(max_size=5))
def test_raising_the_percentage_only_adds_users_and_lowering_only_removes(user, one, other, salt):
    low, high = sorted((one, other))
    if chosen(user, low, salt) is Role.TARGET:
        assert chosen(user, high, salt) is Role.TARGET
    if chosen(user, high, salt) is Role.LEGACY:
        assert chosen(user, low, salt) is Role.LEGACY


@given(st.binary(min_size=1), st.integers(0, 100), st.text(max_size=5))
def test_a_user_never_flips_while_nothing_changes(user, percentage, salt):
    assert chosen(user, percentage, salt) is chosen(bytes(user), percentage, salt)


@given(st.binary())
def test_0_is_nobody_and_100_is_everybody(user):
    assert chosen(user, 0) is Role.LEGACY
    assert chosen(user, 100) is Role.TARGET


@pytest.mark.parametrize("salt", ["", "gallery-2026"])
def test_the_share_of_users_is_the_percentage(salt):
    numbers = random.Random(20_26)
    prefix = salt_prefix(salt)
    buckets = [
        bucket_of(str(uuid.UUID(int=numbers.getrandbits(128), version=4)).encode(), prefix) for _ in range(100_000)
    ]
    for percentage in (1, 10, 50, 99):
        assert abs(sum(bucket < percentage for bucket in buckets) / 1000 - percentage) < 1
    assert set(buckets) == set(range(100))


def test_the_reason_says_that_it_was_the_bucket():
    policy = RolloutPolicy(enabled=True, percentage=50)
    assert choose_source(policy, SPLIT, b"u", 49) == Decision(Role.TARGET, Reason.BUCKET, 49)
    assert choose_source(policy, SPLIT, b"u", 50) == Decision(Role.LEGACY, Reason.BUCKET, 50)
