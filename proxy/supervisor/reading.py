"""Reads a configuration with all that it refers to, and tells one reading from another.

Blocks on files: to be called off the event loop. Neighbour: `keeper`.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.clocks import wall_clock
from proxy.core.model import Role
from proxy.settings.load import LoadedSettings, load_settings
from proxy.settings.schema import Settings, Source


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading. `began` is in seconds since the epoch; `tls_files` tells other contents of the TLS files."""

    loaded: LoadedSettings
    tls_files: Mapping[Role, str]
    began: float

    def same_as(self, other: "Reading") -> bool:
        """Whether nothing that a request could notice is different."""
        return (
            self.loaded.revision == other.loaded.revision
            and self.loaded.settings == other.loaded.settings
            and self.tls_files == other.tls_files
        )


def read(path: Path, env: Mapping[str, str]) -> Reading:
    """Read it now. Raises ConfigError."""
    began = wall_clock()
    loaded = load_settings(path, env)
    return Reading(loaded, tls_files_of(loaded.settings), began)


def tls_files_of(settings: Settings) -> dict[Role, str]:
    """A digest of the contents of each role's TLS files; "" for a role without any."""
    return {Role.LEGACY: _digest(settings.legacy), Role.TARGET: _digest(settings.target)}


def _digest(source: Source) -> str:
    files = [path for path in (source.tls.ca_file, source.tls.cert_file, source.tls.key_file) if path is not None]
    if not files:
        return ""
    digest = hashlib.sha256()
    for path in files:
        try:
            data = Path(path).read_bytes()
        except OSError:
            data = b""  # it was there a moment ago; the watcher will tell of what becomes of it
        digest.update(b"%d:%b" % (len(data), data))
    return digest.hexdigest()


def content_digest(path: Path) -> str:
    """Something to tell one rejected content from another by; "" when there is nothing to read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""
