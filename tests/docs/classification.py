"""What is done with each command of the documents: one rule for a kind of command, the first that matches.

A command without a rule fails the test: whoever writes one into a document says here what becomes of it.

- `Run`: carried out, and must end with the status told.
- `Serve`: started, must say what is told, stays until the document's end, is ended with SIGTERM.
- `Look`: not carried out, for the reason told. Its syntax is checked all the same: by bash, the arguments of `cutover`
  by its own parser, those of `make` by `make -n`; and paths of the repository that it names must be there.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Run:
    status: frozenset[int] = frozenset({0})
    needs: str = ""  # a program; without it the command is only looked at


@dataclass(frozen=True)
class Serve:
    says: str  # an expression that its output must come to match
    status: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Look:
    reason: str


Treatment = Run | Serve | Look

# `=` before a program: variables set for it alone.
_PROGRAM = r"^(?:\w+=\S*\s+)*"

RULES: tuple[tuple[str, Treatment], ...] = (
    # cutover
    (r"cutover run\b", Serve(r'"event":"started"')),
    (r"cutover status\b.*--watch", Serve("breaker")),
    (r"cutover rollout status\b.*--watch", Serve(r"\S")),
    # Past its warnings the run is in the journal; stopped by a signal it has not completed.
    (r"cutover rollout start\b", Serve(r"(?m)^(?!warning)\S", frozenset({1}))),
    (r"cutover rollout watch\b", Run(frozenset({0, 1}))),  # 1: without traffic nothing is GO
    # A controller that has just begun has nothing to promote or to resume, and says so.
    (r"cutover rollout (promote|resume)\b", Run(frozenset({0, 1}))),
    (r"cutover demo\b", Look("takes a minute; tests/demo runs it")),
    (r"cutover (migrate|verify)\b", Look("needs a PostgreSQL and a DynamoDB; tests/migration has them")),
    (r"cutover report\b", Look("draws for seconds; tests/report runs it")),
    (r"cutover\b", Run()),
    # asking the sidecar
    (r"curl\b.*(\$ADMIN|\$\{ADMIN\}|127\.0\.0\.1|localhost)", Run(needs="curl")),
    (r"curl\b", Look("asks a machine that is not here")),
    (r"jq\b", Run(needs="jq")),
    # the shell's own
    (r"(cd|mkdir|cp|touch|rm|printf|echo|export|test|ls|cat|ln|mv|chmod)\b", Run()),
    (r"\w+=\S*(\s+#.*)?$", Run()),
    (r"install -", Look("writes into /etc")),
    (r"grep\b", Look("reads only")),
    (r"open\b", Look("opens a browser")),
    (r"\$EDITOR\b", Run()),
    (r"kill\b", Look("whose process that is, only the reader knows")),
    # the repository's
    (r"make\b", Look("takes minutes or builds what this test runs in; CI runs the targets, and `make -n` reads them")),
    (r"python -m deploy\.grafana\.build", Run()),
    (r"(\S*/)?python3? ", Look("tests and measurements, which take minutes")),
    (r"(locust|hey|wrk)\b", Look("loads a deployment")),
    (r"git\b", Look("needs the network")),
    # other people's programs
    (r"promtool check\b", Run(needs="promtool")),
    (r"promtool test\b", Look("tests/deploy runs it")),
    (r"prometheus\b", Look("a server; tests/deploy starts it")),
    (r"(\S*/)?pip install\b|apt-get\b|npm\b", Look("installs")),
    (r"(systemctl|journalctl)\b", Look("needs systemd")),
    (
        r"(docker|podman|buildah|skopeo)\b",
        Look("needs a container engine; `make image-test` has one where there is one"),
    ),
    (r"(kubectl|helm|kustomize)\b", Look("needs a cluster")),
    (r"aws\b", Look("needs an account")),
)

# What has been done before a document begins: it goes on where another one ended.
BEFORE: dict[str, tuple[str, ...]] = {
    "docs/how-to/after-cutover.md": ("cutover rollout start config/rollout/production.yaml",),
}


def treatment_of(command: str) -> Treatment | None:
    """What is done with a command; None when nobody has said."""
    text = " ".join(command.replace("\\\n", " ").split())
    return next((treatment for rule, treatment in RULES if re.match(_PROGRAM + f"(?:{rule})", text)), None)
