"""Why a migration or a verification can't go on: one clear message each, without a secret in it.

Raised at the edges (`reader`, `table`, `writer`, `verify_http`) in place of the libraries' own exceptions.
"""

from proxy.settings.errors import ConfigError, ConfigProblem


class MigrationFailed(Exception):
    """It was tried and did not work: unreachable, refused, absent. Exit status 1."""


def bad_argument(argument: str, problem: str, hint: str | None = None) -> ConfigError:
    """An argument of the command line that can't be used. Exit status 2."""
    return ConfigError((ConfigProblem(argument, None, "", problem, hint),))
