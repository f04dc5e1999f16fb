"""Which modules a command line loads."""

import subprocess
import sys

import pytest

from proxy.cli.main import MODULES, build_parser, choose_commands


@pytest.mark.parametrize(
    ("argv", "chosen"),
    [
        (["run", "-c", "f"], ("run",)),
        (["set", "--help"], ("set",)),
        (["--version"], ()),
        (["--help"], tuple(MODULES)),
        (["nonsense"], tuple(MODULES)),
        ([], tuple(MODULES)),
    ],
)
def test_only_the_command_that_is_named_is_loaded(argv: list[str], chosen: tuple[str, ...]) -> None:
    assert choose_commands(argv) == chosen


def test_each_command_is_found_under_its_own_name() -> None:
    for name in MODULES:
        assert f"\n    {name} " in build_parser([name]).format_help()


def test_a_command_pays_for_no_other() -> None:
    code = "import sys; from proxy.cli.main import main; main(['explain', '-c', 'config/minimal.yaml', '--user', 'a'])"
    code += "; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "proxy.cli.explain" in loaded
    assert not [name for name in loaded if name.startswith(("proxy.supervisor", "proxy.admin", "aiohttp", "uvloop"))]
    assert "proxy.cli.check" not in loaded
