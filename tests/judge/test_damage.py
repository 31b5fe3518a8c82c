"""Files that were damaged in every way: read, or refused in one line; nothing else ever comes out."""

import random
import warnings

import pytest

from judge.producers import FILES
from tiebreak.actions.judge_files import make_reading
from tiebreak.errors import TiebreakError
from tiebreak.evidence.compare.judgement import judge_study
from tiebreak.results.foreign import Reading, results_of_files

TOKENS = (
    b"",
    b"nan",
    b"-1",
    b"1e400",
    b"null",
    b'"',
    b",",
    b"\n",
    b"[]",
    b"{}",
    b"\x00",
    b"\xff",
    b";",
    b"\t",
)
TOKENS += (b"99999999999999999999", b"true", b"label", b"prediction", b"id")
# Not Parquet: what panics inside polars also writes a backtrace.
WHOLE = [
    p for p in sorted(FILES.rglob("*")) if p.suffix in (".csv", ".json", ".jsonl", ".arff", ".npy", ".npz")
]


def damaged(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        place = chance.randrange(len(changed) + 1)
        way = chance.randrange(4)
        if way == 0:
            del changed[place:]
        elif way == 1:
            changed[place : place + chance.randint(0, 5)] = chance.choice(TOKENS)
        elif way == 2 and changed:
            changed[min(place, len(changed) - 1)] = chance.randrange(256)
        else:
            changed[place:place] = changed[place : place + 200]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(4))
def test_damage_is_read_or_refused_in_one_line(seed, tmp_path):
    chance = random.Random(seed)
    refused = 0
    for _ in range(150):
        whole = chance.choice(WHOLE)
        path = tmp_path / f"a{whole.suffix}"
        path.write_bytes(damaged(whole.read_bytes(), chance))
        labels = chance.choice([None, FILES / "labels.csv", FILES / "labels.npy"])
        try:
            with warnings.catch_warnings(action="error"):
                for told in results_of_files([path], Reading(**{**vars(make_reading({})), "labels": labels})):
                    judge_study(told.results)
        except TiebreakError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 50
