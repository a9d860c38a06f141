"""The list of faults is complete: every row is brought about by a test, or stands here with the reason why not."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

HERE = Path(__file__).parent
AREAS = {"S": 21, "P": 18, "O": 9, "H": 5, "M": 23, "I": 7, "K": 9, "N": 9, "R": 10, "D": 10, "L": 13, "E": 5}
ROWS = {f"{area}-{number:02d}" for area, count in AREAS.items() for number in range(1, count + 1)}
"""Tables, poses, optics, halves, MRC files, image paths, other inputs, numbers, machine, disk, life cycle, system."""

ELSEWHERE = {
    "N-04": "report/test_advice.py",  # latents that say nothing: advice in the report
    "N-05": "report/test_advice.py",  # latents far outside of the prior: the same
    "D-10": "run/test_lock.py",  # a clock that jumps: the age of a lock
}
"""Rows that are tests of one part, not of a command."""

NOT_APPLICABLE = {
    "H-05": "there is no run of a single half",
    "N-08": "there is no option for determinism: runs on the CPU are bitwise equal always",
    "N-09": "nothing is computed in half precision",
    "R-02": "needs a GPU and another process on it",
    "R-05": "no loader processes, no shared memory",
    "R-06": "no loader processes",
    "R-07": "no loader processes",
    "R-09": "one process, one device",
    "R-10": "needs a GPU that fails",
    "D-07": "no scratch copies",
}


def rows_with_a_test() -> set[str]:
    """The rows that the tests in this folder name."""
    found: set[str] = set()
    for path in HERE.glob("test_*.py"):
        text = path.read_text(encoding="utf-8")
        found |= set(re.findall(r'Fault\(\s*"([A-Z]-\d\d)"', text))
        names = re.findall(r"^def test_(\w+)", text, re.MULTILINE)
        rows = chain.from_iterable(re.findall(r"(?:^|_)([a-zA-Z])_(\d\d)(?=_)", name) for name in names)
        found |= {f"{area.upper()}-{number}" for area, number in rows}
    return found


def test_every_row_is_tested_or_explained() -> None:
    assert len(ROWS) == 139
    explained = ELSEWHERE.keys() | NOT_APPLICABLE.keys()
    assert rows_with_a_test() | explained == ROWS
    assert not rows_with_a_test() & explained


def test_rows_that_are_tested_elsewhere_have_a_test_there() -> None:
    for row, path in ELSEWHERE.items():
        assert row in (HERE.parent / path).read_text(encoding="utf-8"), f"{row} is not named in {path}"


def test_the_readme_gives_the_count() -> None:
    done, apply = len(rows_with_a_test()) + len(ELSEWHERE), len(ROWS) - len(NOT_APPLICABLE)
    readme = (HERE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert f"{done} of {apply}" in readme
