"""Every command of the documents is carried out, or, for a reason told in `classification`, looked at."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from docs.site.command_line import every_command
from proxy.cli.main import build_parser
from tests.docs.blocks import Command, blocks_of, commands_of, documents, prints_as_told
from tests.docs.classification import BEFORE, Look, Run, Serve, treatment_of
from tests.docs.gallery import Hosted
from tests.docs.sandbox import ROOT, Sandbox

DOCUMENTS = documents(ROOT)
PROGRAMS = re.compile(r"^\s*(\$ )?(cutover|curl|make|docker|kubectl|aws|pip|promtool|python)\s", re.MULTILINE)


@pytest.fixture(scope="module")
def sources():
    hosted = Hosted()
    yield hosted.ports
    hosted.close()


def look_at(command: str) -> None:
    """All that can be checked of a command without carrying it out."""
    checked = subprocess.run(["bash", "-n"], input=command, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    words = shlex.split(command.replace("\\\n", " "), comments=True)
    for word in words:
        if re.match(r"(config|deploy|bench|docs|tests)/\S+$", word):
            assert any(ROOT.glob(word)), f"there is no {word}"
    while words and re.fullmatch(r"\w+=.*", words[0], re.DOTALL):
        words.pop(0)
    name = Path(words[0]).name if words else ""
    ends = [index for index, word in enumerate(words) if word in ("|", ">", ">>", "&&", ";", "&")]
    arguments = words[1 : min(ends, default=None)]
    if name == "cutover":
        parse(arguments)
    if name == "make":
        dry = subprocess.run(["make", "-n", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, dry.stderr


def parse(arguments: list[str]) -> None:
    """Raise AssertionError when `cutover` would refuse its arguments."""
    try:
        build_parser().parse_args(arguments)
    except SystemExit as refused:
        raise AssertionError(f"cutover {shlex.join(arguments)}: refused") from refused


def is_there(program: str) -> bool:
    return not program or shutil.which(program) is not None


def treat(command: Command, sandbox: Sandbox) -> None:
    """Do with a command what is to be done with it."""
    look_at(command.text)
    match treatment_of(command.text):
        case None:
            raise AssertionError("nobody has said what is done with this command: see tests/docs/classification.py")
        case Serve() as treatment:
            sandbox.serve(command.text, treatment)
        case Run() as treatment if is_there(treatment.needs):
            printed = sandbox.run(command.text, treatment)
            if command.prints is not None:
                assert prints_as_told(command.prints, printed), f"told:\n{command.prints}\n\nprinted:\n{printed}"
        case Run() | Look():
            pass


def follow(document: Path, folder: Path, sources: dict[str, int]) -> str | None:
    """Do what a document says, from its first command to its last; what went wrong."""
    commands = commands_of(document.read_text())
    before = BEFORE.get(document.relative_to(ROOT).as_posix(), ())
    command = None
    try:
        with Sandbox(folder, sources) as sandbox:
            for command in [*(Command(0, text) for text in before), *commands]:
                treat(command, sandbox)
    except (AssertionError, subprocess.TimeoutExpired) as fault:
        place = f"{command.line}: {command.text}" if command else ""
        return f"{document.relative_to(ROOT)}:{place}\n{fault}"
    return None


@pytest.fixture(scope="module")
def followed(request, tmp_path_factory, sources) -> Iterator[dict[Path, Future[str | None]]]:
    """What came of each document that is asked for: as many at once as there are CPUs, each in a place of its own."""
    name = test_every_command_of_a_document_does_what_it_says.__name__
    wanted = [item.callspec.params["document"] for item in request.session.items if item.originalname == name]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {
            document: pool.submit(follow, document, tmp_path_factory.mktemp("document"), sources)
            for document in wanted
            if commands_of(document.read_text())
        }


@pytest.mark.skipif(shutil.which("bash") is None, reason="the documents' commands are for bash")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_of_a_document_does_what_it_says(document: Path, followed: dict[Path, Future[str | None]]):
    if document in followed and (fault := followed[document].result()):
        pytest.fail(fault, pytrace=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_command_hides_in_a_block_without_a_language(document: Path):
    for block in blocks_of(document.read_text()):
        if not block.language:
            found = PROGRAMS.search("\n".join(block.lines))
            assert found is None, f"line {block.line}: this block holds commands: call it sh, console or text"


@pytest.mark.parametrize("command", list(every_command()), ids=lambda command: command[0])
def test_the_example_in_each_commands_help_is_one(command):
    name, _, parser = command
    kind, _, example = (parser.epilog or "").partition(": ")
    if kind == "example":
        assert example.startswith(name)
        look_at(example)


# The checks themselves.


def test_a_script_is_taken_apart_into_its_logical_lines():
    text = "```sh\n# why\ncutover set 10 \\\n  --enable\n\ncurl -d '{\n}' x  # it's\nls\ncat <<E\na\nE\nls\n```\n"
    assert [command.text for command in commands_of(text)] == [
        "cutover set 10 \\\n  --enable",
        "curl -d '{\n}' x  # it's",
        "ls",
        "cat <<E\na\nE",
        "ls",
    ]


def test_a_console_block_is_taken_apart_into_commands_and_what_they_print():
    text = "```console\n$ ls\na\n\nb\n$ pwd \\\n  -P\n```\n```yaml\n$ no\n```\n"
    assert commands_of(text) == [Command(2, "ls", "a\n\nb"), Command(6, "pwd \\\n  -P", "")]


@pytest.mark.parametrize(
    ("told", "printed", "same"),
    [
        ("a\nb", "a\nb\n", True),
        ("a\nb", "a\nc\n", False),
        ("a", "a\nb\n", False),
        ("took … s", "took 1.2 s\n", True),
        ("took … s", "took 1.2 m\n", False),
        ("a\n…\nd", "a\nb\nc\nd\n", True),
        ("a\n…", "b\n", False),
        ("a.c", "abc\n", False),
        ("", "", True),
        ("", "something\n", False),
    ],
)
def test_what_is_printed_is_compared_with_what_is_told(told, printed, same):
    assert prints_as_told(told, printed) is same


@pytest.mark.parametrize(
    "wrong",
    [
        "cutover rn -c config/cutover.yaml",
        "cutover set 101 -c config/cutover.yaml",
        "cutover check config/absent.yaml",
        "make there-is-no-such-target",
        "echo 'unfinished",
    ],
)
def test_a_wrong_command_is_seen_without_carrying_it_out(wrong):
    with pytest.raises(AssertionError):
        look_at(wrong)


def test_a_command_that_nobody_has_classified_fails(tmp_path, sources):
    with Sandbox(tmp_path, sources) as sandbox, pytest.raises(AssertionError, match="nobody has said"):
        treat(Command(1, "frobnicate --all"), sandbox)


def test_a_command_that_fails_or_prints_something_else_is_seen(tmp_path, sources):
    with Sandbox(tmp_path, sources) as sandbox:
        for wrong in (Command(1, "ls absent"), Command(1, "echo here", "there")):
            with pytest.raises(AssertionError):
                treat(wrong, sandbox)
