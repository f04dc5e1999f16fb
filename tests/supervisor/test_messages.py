"""What goes over the private socket."""

import pickle
from pathlib import Path

import pytest

from proxy.core.model import Role
from proxy.settings.load import parse_settings
from proxy.settings.raw import Secret
from proxy.supervisor.messages import (
    Applied,
    Apply,
    Ask,
    Configuration,
    Decoder,
    Drain,
    Failed,
    Hello,
    Leaving,
    Message,
    Ready,
    Report,
    Start,
    encode,
)
from proxy.telemetry.metrics import Metrics

TEXT = b"""
listen: unix:/run/x.sock
legacy: {url: 'http://[::1]:3000/base', headers: {set: {X-A: b}}}
target: {url: https://images.example.com}
rollout: {enabled: true, percentage: 5, users: {target: [vip]}, force: {token: s3cret}}
fallback: {statuses: [404, 5xx]}
forwarded: {trusted_proxies: [10.0.0.0/8]}
"""
SETTINGS = parse_settings(TEXT, Path("/c.yaml"), {}).settings
CONFIGURATION = Configuration(3, SETTINGS, "0123456789ab", 0, False, True, {Role.TARGET: "digest"})
MESSAGES: list[Message] = [
    Hello(),
    Start(CONFIGURATION, announce=True),
    Apply(CONFIGURATION),
    Applied(3, "no"),
    Ask(9),
    Ready(1),
    Failed("why"),
    Leaving(),
    Drain(30.0, 1.0),
    Report(9, Metrics().snapshot(), "0123456789ab", 4, 1),
]


def test_settings_arrive_as_they_were_and_secrets_as_secrets() -> None:
    again = pickle.loads(pickle.dumps(SETTINGS))
    assert again == SETTINGS
    assert type(again.rollout.force.token) is Secret
    assert "s3cret" not in repr(again)
    assert again.fallback.statuses.written == SETTINGS.fallback.statuses.written


@pytest.mark.parametrize("size", [1, 3, 7, 1000, 1 << 20])
def test_messages_arrive_whole_and_in_order_however_they_are_cut(size: int) -> None:
    data = b"".join(map(encode, MESSAGES))
    decoder = Decoder()
    heard = [message for at in range(0, len(data), size) for message in decoder.feed(data[at : at + size])]
    assert heard == MESSAGES
    assert repr(decoder) == "<Decoder 0 bytes pending>"


def test_half_a_message_is_none() -> None:
    decoder = Decoder()
    assert decoder.feed(encode(Hello())[:-1]) == []
    assert "bytes pending" in repr(decoder)
