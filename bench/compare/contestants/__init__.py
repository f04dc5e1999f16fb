"""The contestants: each a module that turns one `Setup` into a command line and a configuration file."""

from typing import Final

from bench.compare.contestants.aiohttp_proxy import AiohttpProxy
from bench.compare.contestants.base import Contestant
from bench.compare.contestants.cutover import Cutover, CutoverBare, CutoverPure
from bench.compare.contestants.envoy import Envoy
from bench.compare.contestants.haproxy import Haproxy
from bench.compare.contestants.nginx import Nginx, NginxErrorPage

CONTESTANTS: Final[tuple[Contestant, ...]] = (
    Cutover(),
    CutoverBare(),
    CutoverPure(),
    Nginx(),
    NginxErrorPage(),
    Haproxy(),
    Envoy(),
    AiohttpProxy(),
)
