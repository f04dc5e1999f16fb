"""Which live pages show a rollout: the admin ports that its plan knows of. Asks nobody.

Neighbours: `publishing` publishes to them, `stores` and `observers` ask the same places for other things.
"""

import ipaddress
from collections.abc import Iterator, Mapping
from pathlib import Path

from proxy.rollout.http import Endpoint, door_to
from proxy.rollout.plan import Plan
from proxy.settings.addresses import UpstreamUrl
from proxy.settings.errors import ConfigError
from proxy.settings.load import load_settings

_TIMEOUT_S = 2.0


def open_pages(plan: Plan, env: Mapping[str, str]) -> list[Endpoint]:
    """The admin ports of `apply.sidecars`; of a file, those that are scraped, or else the one that the file names."""
    if plan.apply.sidecars:
        return [Endpoint(url, plan.apply.token, _TIMEOUT_S) for url in plan.apply.sidecars]
    return list(_pages_of_file(plan, env))


def _pages_of_file(plan: Plan, env: Mapping[str, str]) -> Iterator[Endpoint]:
    """The file's own token opens them; it is not sent in the clear to another machine."""
    try:
        admin = load_settings(Path(plan.apply.file or ""), env).settings.admin
    except ConfigError:
        return  # `start` says so
    door = door_to(admin.listen)
    for url in plan.observe.sidecars or ([] if door is None else [door]):
        yield Endpoint(url, str(admin.token) if admin.token and _is_safe(url) else None, _TIMEOUT_S)


def _is_safe(url: UpstreamUrl) -> bool:
    if url.scheme != "http":
        return True
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False
