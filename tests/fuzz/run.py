"""Fuzz one target with atheris for some time: `python tests/fuzz/run.py downstream --seconds 60`.

New inputs that reach new code go to a directory of their own (`--keep`), never into the committed corpus.
"""

import argparse
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
TARGETS = ("request", "response", "chunked", "downstream")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz one of cutover's parsers.", epilog=__doc__)
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="directory for inputs found (default: a temporary one)")
    options = parser.parse_args()
    try:
        import atheris  # noqa: PLC0415 - it may be missing
    except ImportError:
        print("atheris is not installed: `pip install atheris` (Linux or macOS), then run this again.", file=sys.stderr)
        print("Without it, `pytest tests/fuzz` runs the corpus and a bounded mutation run.", file=sys.stderr)
        return 1
    sys.path.insert(0, str(HERE.parent.parent))
    with atheris.instrument_imports(include=["proxy"]):
        from tests.fuzz.targets import TARGETS as FUNCTIONS  # noqa: PLC0415 - instrumented as it is imported
        from tests.fuzz.targets import TOKENS  # noqa: PLC0415 - instrumented as it is imported
    keep = options.keep or Path(tempfile.mkdtemp(prefix="cutover-fuzz-"))
    keep.mkdir(parents=True, exist_ok=True)
    words = keep / "words.dict"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n' for token in TOKENS))
    found = keep / options.target
    found.mkdir(exist_ok=True)
    arguments = [sys.argv[0], f"-max_total_time={options.seconds}", "-max_len=4096", f"-dict={words}", "-timeout=20"]
    arguments += [
        f"-artifact_prefix={keep}/",
        "-print_final_stats=1",
        str(found),
        str(HERE / "corpus" / options.target),
    ]
    print(f"inputs and crashes go to {keep}", file=sys.stderr)
    atheris.Setup(arguments, FUNCTIONS[options.target])
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
