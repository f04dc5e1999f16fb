"""The command-line reference: every command, from the parsers that read the arguments. Neighbour: `parts`."""

import argparse
import re
from collections.abc import Iterator
from typing import Final

from docs.site.tables import code, table
from proxy.cli.main import build_parser

_WIDTH: Final = 96


def reference() -> str:
    """A section for each command, subcommands under theirs."""
    return "".join(_section(name, help_text, parser) for name, help_text, parser in every_command())


def every_command() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each command's full name, what its parent says of it, and its parser, in the order of the help."""
    yield from _below(build_parser())


def _below(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no public way to its actions
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - nor a name for these
            help_of = {choice.dest: choice.help or "" for choice in action._choices_actions}  # noqa: SLF001
            for name, command in action.choices.items():
                yield command.prog, help_of.get(name, ""), command
                yield from _below(command)


def _section(name: str, help_text: str, parser: argparse.ArgumentParser) -> str:
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=_WIDTH)
    usage = re.sub(r"\x1b\[[0-9;]*m", "", parser.format_usage()).removeprefix("usage: ").rstrip()
    level = "##" if name.count(" ") == 1 else "###"
    told = parser.description or help_text
    text = f"{level} {name}\n\n{_sentence(told.replace('%%', '%'))}\n\n```text\n{usage}\n```\n\n"
    rows = [(_called(action), _explained(action)) for action in parser._actions if _is_told(action)]  # noqa: SLF001
    if rows:
        text += table(("argument", "meaning"), rows)
    kind, _, example = (parser.epilog or "").partition(": ")
    return text + (f"Example: {code(example)}\n\n" if kind == "example" else "")


def _is_told(action: argparse.Action) -> bool:
    subcommands = isinstance(action, argparse._SubParsersAction)  # noqa: SLF001
    return not (subcommands or action.help == argparse.SUPPRESS or "--help" in action.option_strings)


def _called(action: argparse.Action) -> str:
    metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    value = "" if action.nargs == 0 else f" {metavar}"
    if not action.option_strings:
        return code(metavar)
    return ", ".join(code(option + value) for option in action.option_strings)


def _explained(action: argparse.Action) -> str:
    text = (action.help or "") % {**vars(action), "prog": ""}
    return f"{text}; required" if action.required and action.option_strings else text


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
