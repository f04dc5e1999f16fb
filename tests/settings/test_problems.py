"""Everything wrong with a file is reported together, each with its line, its key and a plain sentence."""
# ruff: noqa: E501 - a table of cases is read one case a line

from pathlib import Path

import pytest
from pydantic import ValidationError

from proxy.settings.errors import ConfigError, ConfigProblem
from proxy.settings.load import parse_settings
from proxy.settings.schema import Settings

FILE = Path("config/cutover.yaml")
BASE = "legacy: {url: 'http://127.0.0.1:3000'}\ntarget: {url: 'https://images.example.com'}\n"  # lines 1 and 2


def problems_of(text: str, env: dict[str, str] | None = None) -> tuple[ConfigProblem, ...]:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text.encode(), FILE, env or {})
    return caught.value.problems


def the_problem_of(text: str, env: dict[str, str] | None = None) -> ConfigProblem:
    problems = problems_of(text, env)
    assert len(problems) == 1, problems
    return problems[0]


# what follows BASE, the line, the key, the message with its hint
REFUSED = [
    # keys
    ("rollout:\n  percentge: 3", 4, "rollout.percentge", 'unknown key; did you mean "percentage"?'),
    ("rolout: {}", 3, "rolout", 'unknown key; did you mean "rollout"?'),
    ("percentage: 3", 3, "percentage", 'unknown key; did you mean "rollout.percentage"?'),
    ("zzz: 3", 3, "zzz", "unknown key"),
    ("operations:\n  - {name: get, match: GET /, timeoot: 1s}", 4, "operations[0].timeoot", 'did you mean "timeout"?'),
    ("expose: true\nexpose: false", 4, "expose", "duplicate key; it is already on line 3"),
    ("1: x", 3, "1", "a key must be text; put it in quotes"),
    ("[a]: x", 3, "", "a key must be text, not a list or a mapping"),
    ("rollout:\n  <<: {percentage: 3}", 4, "rollout.<<", "merge keys are not supported; repeat the keys"),
    ("${env:KEY}: 1", 3, "", "a placeholder can stand in a value, not in a key"),
    # shapes
    ("rollout: 5", 3, "rollout", "expected a mapping (keys and values), got a number"),
    ("rollout:", 3, "rollout", "got nothing (null); leave the key out for its defaults"),
    ("operations: {}", 3, "operations", "expected a list, got a mapping"),
    ("operations:\n  - nonsense", 4, "operations[0]", "expected a mapping (keys and values), got text"),
    ("operations:\n  - {name: get}", 4, "operations[0].match", "required key is missing"),
    ("fallback: {statuses: 404}", 3, "fallback.statuses", "expected a list, got a number"),
    ("rollout: {users: {target: ann}}", 3, "rollout.users.target", "expected a list, got text"),
    # whole numbers
    ("rollout: {percentage: ten}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got 'ten'"),
    ("rollout: {percentage: '10'}", 3, "rollout.percentage", "got '10'; remove the quotes"),
    ("rollout: {percentage: 101}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got 101"),
    ("rollout: {percentage: -1}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got -1"),
    ("rollout: {percentage: 1.5}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got 1.5"),
    ("rollout: {percentage: true}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got true"),
    ("rollout: {percentage: 010}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got '010'"),
    ("rollout: {percentage: 1_0}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got '1_0'"),
    ("rollout: {percentage: 0x1F}", 3, "rollout.percentage", "got '0x1F'"),
    ("rollout: {percentage: 1:30}", 3, "rollout.percentage", "got '1:30'"),
    ("rollout: {percentage: null}", 3, "rollout.percentage", "got nothing (null)"),
    ("rollout: {percentage: [1]}", 3, "rollout.percentage", "expected a whole number from 0 to 100, got a list"),
    ("rollout: {percentage: 99999999999999999999}", 3, "rollout.percentage", "expected a whole number"),
    ("limits: {connections: 0}", 3, "limits.connections", "expected a whole number of at least 1, got 0"),
    ("workers: 0", 3, "workers", "expected auto or a whole number from 1 to 256, got 0"),
    ("workers: true", 3, "workers", "expected auto or a whole number from 1 to 256, got true"),
    # other numbers, booleans, words
    ("logging: {sample: 1.1}", 3, "logging.sample", "expected a number from 0 to 1, got 1.1"),
    ("logging: {sample: .nan}", 3, "logging.sample", "expected a number from 0 to 1, got '.nan'"),
    ("logging: {sample: '0.5'}", 3, "logging.sample", "got '0.5'; remove the quotes"),
    ("logging: {sample: false}", 3, "logging.sample", "expected a number from 0 to 1, got false"),
    ("expose: on", 3, "expose", "expected true or false, got 'on'"),
    ("expose: yes", 3, "expose", "expected true or false, got 'yes'"),
    ("expose: 'true'", 3, "expose", "expected true or false, got 'true'"),
    ("expose: 1", 3, "expose", "expected true or false, got 1"),
    ("logging: {level: warn}", 3, "logging.level", "expected debug, info, warning or error, got 'warn'"),
    ("logging: {access: of}", 3, "logging.access", 'got \'of\'; did you mean "off"?'),
    ("rollout: {anonymous: target}", 3, "rollout.anonymous", "expected legacy or client_ip, got 'target'"),
    ("rollout: {salt: 7}", 3, "rollout.salt", "expected text, got the number 7; put it in quotes"),
    ("rollout: {salt: 007}", 3, "rollout.salt", "expected text, got the number 007; put it in quotes"),
    # durations and sizes
    ("fallback: {hedge_after: 5}", 3, "fallback.hedge_after", "such as 500ms, 5s or 1m30s, got 5; write 5s"),
    ("fallback: {hedge_after: 5 s}", 3, "fallback.hedge_after", "expected a duration such as"),
    ("limits: {header_timeout: 0s}", 3, "limits.header_timeout", "expected a duration from 1ms to 8760h, got '0s'"),
    ("limits: {header_timeout: 9000h}", 3, "limits.header_timeout", "expected a duration from 1ms to 8760h"),
    ("limits: {body_bytes: 100}", 3, "limits.body_bytes", "such as 512B, 64KiB or 10MiB, got 100; write 100B"),
    ("limits: {body_bytes: 64KB}", 3, "limits.body_bytes", "expected a size such as 512B, 64KiB or 10MiB, got '64KB'"),
    ("limits: {body_bytes: 0B}", 3, "limits.body_bytes", "expected a size from 1B to 1PiB, got '0B'"),
    # addresses
    ("listen: 8080", 3, "listen", "expected host:port (0.0.0.0:8080, [::1]:8080) or unix:/path, got 8080"),
    ("admin: {listen: 'host:70000'}", 3, "admin.listen", "expected a port from 0 to 65535, got 'host:70000'"),
    ("forwarded: {trusted_proxies: [10.0.0.1/8]}", 3, "forwarded.trusted_proxies[0]", "(10.0.0.0/8)"),
    # the rollout
    ("rollout:\n  user_id:\n    - header: a b", 5, "rollout.user_id[0]", "expected a header name without spaces"),
    ("rollout: {user_id: [{heder: x}]}", 3, "rollout.user_id[0]", 'did you mean "header"?'),
    ("rollout: {user_id: [{header: x, query: y}]}", 3, "rollout.user_id[0]", "got 2 keys; write each as an item"),
    ("rollout: {user_id: [X-User-Id]}", 3, "rollout.user_id[0]", "expected one of header, jwt_claim, cookie or query"),
    ("rollout: {user_id: [{query: ''}]}", 3, "rollout.user_id[0]", "expected the name of a query"),
    ("rollout:\n  users:\n    target:\n      - ann\n      - 7", 7, "rollout.users.target[1]", "put it in quotes"),
    ("rollout: {users: {target: [007]}}", 3, "rollout.users.target[0]", "or YAML turns 007 into 7"),
    ("rollout: {users: {target: ['']}}", 3, "rollout.users.target[0]", "expected a user id, got nothing"),
    ("rollout: {force: {token: ''}}", 3, "rollout.force.token", "must not be empty; leave the key out, or write null"),
    ("rollout: {force: {token: a b}}", 3, "rollout.force.token", "visible ASCII characters without spaces"),
    ("rollout: {force: {header: 'a:b'}}", 3, "rollout.force.header", "expected a header name"),
    # operations
    ("operations: [{name: Get, match: GET /}]", 3, "operations[0].name", "small letters, digits and _"),
    ("operations: [{name: other, match: GET /}]", 3, "operations[0].name", "`other` is everything that no operation"),
    ("operations: [{name: a, match: GET}]", 3, "operations[0].match", "methods, one space and a path"),
    ("operations: [{name: a, match: get /}]", 3, "operations[0].match", "methods in capitals"),
    ("operations: [{name: a, match: GET|GET /}]", 3, "operations[0].match", "each method once"),
    ("operations: [{name: a, match: TRACE /}]", 3, "operations[0].match", "CONNECT and TRACE are refused"),
    ("operations: [{name: a, match: GET images}]", 3, "operations[0].match", "a path that starts with /"),
    ("operations: [{name: a, match: 'GET /a?b'}]", 3, "operations[0].match", "without ? or #"),
    ("operations: [{name: a, match: 'GET /a b'}]", 3, "operations[0].match", "methods, one space and a path"),
    ("operations: [{name: a, match: 'GET /x{id}'}]", 3, "operations[0].match", "to be a whole path segment"),
    ("operations: [{name: a, match: 'GET /{1d}'}]", 3, "operations[0].match", "its name letters, digits and _"),
    ("operations: [{name: a, match: 'GET /{a}/{a}'}]", 3, "operations[0].match", "each {name} once"),
    ("operations: [{name: a, match: 'GET /a/../b'}]", 3, "operations[0].match", "without . or .."),
    ("operations: [{name: a, match: GET /, route: both}]", 3, "operations[0].route", "expected split, legacy or target"),
    (
        "operations:\n  - {name: a, match: GET /}\n  - {name: a, match: GET /x}",
        5,
        "operations[1].name",
        "the name `a` is taken by operations[0]; each needs its own",
    ),
    (
        "operations: [{name: a, match: GET /, timeout: 1s, hedge_after: 1s}]",
        3,
        "operations[0].hedge_after",
        "must be shorter than its timeout (1s)",
    ),
    # fallback
    ("fallback: {statuses: [399]}", 3, "fallback.statuses[0]", "expected a status from 400 to 599, 4xx or 5xx, got 399"),
    ("fallback: {statuses: [401, 3xx]}", 3, "fallback.statuses[1]", "got '3xx'"),
    ("fallback: {statuses: ['404']}", 3, "fallback.statuses[0]", "got '404'"),
    ("fallback: {unsafe_methods: sometimes}", 3, "fallback.unsafe_methods", "expected false, idempotency_key or true"),
    ("fallback: {hedge_after: 5s}", 3, "fallback.hedge_after", "must be shorter than target.timeout (5s)"),
    ("fallback: {response_buffer: 1GiB}", 3, "fallback.response_buffer", "must not exceed limits.buffered_bytes (256MiB)"),
    # between sections
    ("admin: {listen: '0.0.0.0:8080'}", 3, "admin.listen", "must differ from `listen`"),
    ("rollout: {users: {target: [b, a], legacy: [a]}}", 3, "rollout.users.target[1]", "this user is in both lists"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "message"), REFUSED)
def test_a_wrong_value_is_refused_at_its_line(text: str, line: int, key: str | None, message: str) -> None:
    problem = the_problem_of(BASE + text)
    assert problem.file == str(FILE)
    assert problem.line == line
    if key is not None:
        assert problem.key == key
    assert message in f"{problem.problem}; {problem.hint}"
    assert "pydantic" not in str(problem)


# lines of the target section, the line, the key, the message with its hint
REFUSED_SOURCES = [
    ("url: ftp://x", 3, "target.url", "expected a URL with the scheme http, https or unix"),
    ("url: 'http://ann:hunter2@x'", 3, "target.url", "without user name or password"),
    ("url: 7", 3, "target.url", "expected a URL such as"),
    ("name: image_service", 2, "target.url", "required key is missing"),
    ("url: http://x\n  name: a b", 4, "target.name", "expected 1 to 64 of the characters A-Z a-z 0-9 _ . -, got 'a b'"),
    ("url: http://x\n  name: 7", 4, "target.name", "expected text, got the number 7; put it in quotes"),
    ("url: http://x\n  name: proxy", 4, "target.name", "`proxy` is reserved"),
    ("url: http://x\n  name: postgresql", 4, "target.name", "must differ from legacy.name (postgresql)"),
    ("url: http://x\n  host: a b", 4, "target.host", "expected preserve, upstream, or a literal host"),
    ("url: http://x\n  host: \"a\\r\\nb\"", 4, "target.host", "expected preserve, upstream, or a literal host"),
    ("url: http://x\n  strip_prefix: api", 4, "target.strip_prefix", "expected a path that starts with /"),
    ("url: http://x\n  tls: {cert_file: /dev/null}", 4, "target.tls.cert_file", "needs key_file too"),
    ("url: http://x\n  tls: {key_file: /dev/null}", 4, "target.tls.key_file", "needs cert_file too"),
    ("url: http://x\n  tls: {ca_file: nowhere.pem}", 4, "target.tls.ca_file", "cannot be read: no such file"),
    ("url: http://x\n  tls: {ca_file: /dev}", 4, "target.tls.ca_file", "cannot be read: is a directory"),
    ("url: http://x\n  headers: {set: {A B: x}}", 4, "target.headers.set.A B", "expected a header name"),
    ("url: http://x\n  headers: {set: {A: 1}}", 4, "target.headers.set.A", "got a number; put it in quotes"),
    ("url: http://x\n  headers: {set: {A: \"x\\ny\"}}", 4, "target.headers.set.A", "only visible ASCII characters"),
    ("url: http://x\n  headers: {set: {A: é}}", 4, "target.headers.set.A", "only visible ASCII characters"),
    ("url: http://x\n  headers: {set: {host: x}}", 4, "target.headers.set.host", "is the key `host`"),
    ("url: http://x\n  headers: {set: {A: x, a: y}}", 4, "target.headers", "a is set twice"),
    ("url: http://x\n  headers: {remove: [Content-Length]}", 4, "target.headers.remove[0]", "can do without"),
    ("url: http://x\n  headers: {remove: [HOST]}", 4, "target.headers.remove[0]", "can do without"),
    ("url: http://x\n  circuit_breaker: {failure_ratio: 0}", 4, "target.circuit_breaker.failure_ratio", "above 0"),
    *(
        (f"url: http://x\n  headers: {{set: {{{name}: x}}}}", 4, f"target.headers.set.{name}", "end-to-end header")
        for name in (
            "Connection", "content-length", "Transfer-Encoding", "Upgrade", "TE", "Trailer", "Keep-Alive",
            "Proxy-Connection", "Expect",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "key", "message"), REFUSED_SOURCES)
def test_a_wrong_source_is_refused_at_its_line(text: str, line: int, key: str, message: str) -> None:
    problem = the_problem_of(f"legacy: {{url: 'http://127.0.0.1:3000'}}\ntarget:\n  {text}")
    assert (problem.line, problem.key) == (line, key)
    assert message in f"{problem.problem}; {problem.hint}"


def test_the_breaker_belongs_to_the_target() -> None:
    problem = the_problem_of("legacy: {url: http://a, circuit_breaker: {enabled: true}}\ntarget: {url: http://b}\n")
    assert problem.problem == "unknown key"
    assert problem.hint == 'did you mean "target.circuit_breaker"?'


def test_all_problems_are_reported_together_in_line_order() -> None:
    text = """\
listen: nowhere
legacy: {name: same, url: ftp://x}
target:
  name: same
  url: http://x
rollout: {percentage: 200, enabled: "${env:UNSET}"}
expose: true
expose: maybe
fallback: {response_buffer: 1GiB, statuses: [1, 2]}
"""
    problems = problems_of(text)
    assert [(problem.line, problem.key) for problem in problems] == [
        (1, "listen"),
        (2, "legacy.url"),
        (4, "target.name"),
        (6, "rollout.enabled"),
        (6, "rollout.percentage"),
        (8, "expose"),
        (9, "fallback.statuses[0]"),
        (9, "fallback.statuses[1]"),
        (9, "fallback.response_buffer"),
    ]


def test_a_conflict_with_a_wrong_value_is_not_made_up() -> None:
    # the default timeout, 5s, would conflict; but a timeout is written, and only it is wrong
    text = "legacy: {url: http://a}\ntarget: {url: http://b, timeout: soon}\nfallback: {hedge_after: 9s}\n"
    assert the_problem_of(text).key == "target.timeout"


def test_a_problem_is_one_line_with_file_line_key_and_hint() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_settings((BASE + "rollout:\n  percentge: 3\n").encode(), FILE, {})
    assert str(caught.value) == 'config/cutover.yaml:4: rollout.percentge: unknown key; did you mean "percentage"?'


def test_both_urls_are_required() -> None:
    assert [(p.key, p.problem) for p in problems_of("expose: true\n")] == [
        ("legacy", "required key is missing"),
        ("target", "required key is missing"),
    ]


def test_settings_refuse_conflicts_without_the_loader() -> None:
    with pytest.raises(ValidationError, match="must differ from legacy"):
        Settings.model_validate(
            {"legacy": {"url": "http://a", "name": "x"}, "target": {"url": "http://b", "name": "x"}}
        )


def test_a_key_cannot_disturb_the_terminal_or_fill_it() -> None:
    problem = the_problem_of(BASE + '"\\e[31mred\\nnew line": 1')
    assert problem.key == "\\x1b[31mred\\nnew line"
    assert len(str(the_problem_of(BASE + f"? {'k' * 5000}\n: 1"))) < 400
