"""Every corpus file, and a bounded number of their mutations, through every target; no fuzzer needed."""

import random
import time
from pathlib import Path

import pytest

from .targets import TARGETS, mutated, printable

CORPUS = Path(__file__).parent / "corpus"
FILES = sorted(CORPUS.glob("*/*"))
MUTATIONS = {"request": 6000, "response": 6000, "chunked": 2500, "downstream": 220}
SECONDS = 2.5


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}-{file.name}")
def test_a_hostile_seed_breaks_no_promise(file):
    TARGETS[file.parent.name](file.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_mutated_seeds_break_no_promise(name):
    rng = random.Random(name)
    seeds = [file.read_bytes() for file in FILES if file.parent.name == name]
    end = time.monotonic() + SECONDS
    for _ in range(MUTATIONS[name]):
        data = mutated(rng.choice(seeds), rng)
        try:
            TARGETS[name](data)
        except Exception as error:
            raise AssertionError(f"a promise of {name} is broken by\n{printable(data)}") from error
        if time.monotonic() > end:
            break  # the order is always the same; only how far it gets depends on the machine


def test_the_corpus_stays_small():
    assert 0 < len(FILES) <= 200
    assert {file.parent.name for file in FILES} == set(TARGETS)
    assert all(file.stat().st_size <= 4096 for file in FILES)
