"""Observes sidecars by scraping each one's `/metrics`: nothing else is needed.

Neighbours: `reading` says what a scrape must hold, `observers` the interface.
"""

import asyncio
from collections.abc import Iterator, Sequence

from prometheus_client.parser import text_string_to_metric_families

from proxy.rollout.http import Endpoint, Refusal, Unreachable
from proxy.rollout.place import Observation
from proxy.rollout.reading import NAMES, NotReadable, Reading, Sample, read_samples
from proxy.settings.addresses import UpstreamUrl

_ACCEPT = {"Accept": "text/plain; version=0.0.4"}


def read_text(text: str) -> Reading:
    """Read a scrape in the Prometheus text format. Raises NotReadable."""
    if not text.endswith("\n"):
        raise NotReadable("the scrape is cut off")
    return read_samples(_samples(text))


def _samples(text: str) -> Iterator[Sample]:
    """Only the lines that are needed are parsed: the parser is slow."""
    wanted = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] in NAMES]
    try:
        for family in text_string_to_metric_families("\n".join(wanted) + "\n"):
            for sample in family.samples:
                yield Sample(sample.name, sample.labels, float(sample.value))
    except (ValueError, KeyError, IndexError) as error:
        raise NotReadable(f"the scrape can't be parsed: {error}"[:200]) from error


class SidecarObserver:
    """Scrapes several sidecars at the same time."""

    def __init__(self, urls: Sequence[UpstreamUrl], timeout_s: float) -> None:
        self._endpoints = [Endpoint(url, timeout_s=timeout_s) for url in urls]

    def __repr__(self) -> str:
        return f"<SidecarObserver of {len(self._endpoints)}>"

    async def observe(self) -> Observation:
        """See Observer."""
        found = await asyncio.gather(*(self._scrape(endpoint) for endpoint in self._endpoints))
        pairs = list(zip((endpoint.name for endpoint in self._endpoints), found, strict=True))
        return Observation(
            readings={name: one for name, one in pairs if isinstance(one, Reading)},
            gaps={name: one for name, one in pairs if isinstance(one, str)},
        )

    async def close(self) -> None:
        """See Observer."""
        for endpoint in self._endpoints:
            await endpoint.close()

    async def _scrape(self, endpoint: Endpoint) -> Reading | str:
        try:
            body = await endpoint.ask("GET", "/metrics", headers=_ACCEPT)
            return await asyncio.to_thread(read_text, body.decode())
        except (Unreachable, Refusal, NotReadable) as error:
            return str(error)
        except UnicodeDecodeError:
            return "the scrape is not text"
