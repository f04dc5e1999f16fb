"""`cutover schema`: the JSON Schema of the configuration file, for editors."""

import argparse
from typing import Final

from proxy.settings.json_schema import config_json_schema_text

NAME: Final = "schema"
HELP: Final = "print the JSON Schema of the configuration file, for editors"
EXAMPLE: Final = "cutover schema > cutover.schema.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments: it has none."""
    del parser


def execute(args: argparse.Namespace) -> int:
    """Print the schema."""
    del args
    print(config_json_schema_text(), end="")
    return 0
