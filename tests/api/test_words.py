"""Laws of the words at the door for Python: options are arguments there, commands stay commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import dynaflex as df
from dynaflex.api.words import in_python
from dynaflex.errors import UsageError


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("lower --threshold, or check the contrast", "lower threshold, or check the contrast"),
        ("leave --train-box out to have it chosen", "leave train_box out to have it chosen"),
        ("a smaller --train-box, or --device cpu", "a smaller train_box, or device cpu"),
        ("dynaflex view RUN --datadir FOLDER, or give --map", "dynaflex view RUN --datadir FOLDER, or give map"),
        ("relion_x --i a.star --new_box 4; --mask", "relion_x --i a.star --new_box 4; mask"),
        ("from 3--5 Å, well-known", "from 3--5 Å, well-known"),
    ],
)  # fmt: skip
def test_options_become_arguments_and_commands_stay(typed: str, said: str) -> None:
    assert in_python(typed) == said == in_python(said)


def test_an_error_at_the_door_names_the_argument(few: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        df.train("flex", few / "particles.star", few / "consensus.mrc", out=tmp_path / "run", train_box=31)
    error = caught.value
    assert error.field == "train_box" and "argument train_box" in str(error) and "leave train_box out" in str(error)
    assert error.identifier == "usage.train-box"


def test_what_a_check_finds_is_said_so_too(few: Path, tmp_path: Path) -> None:
    star = (few / "particles.star").read_text()
    (tmp_path / "particles.star").write_text(star.replace("particles.mrcs", "elsewhere.mrcs"))
    (problem,) = df.check(tmp_path / "particles.star").report.problems
    assert "datadir" in str(problem) and not re.search(r"(?<![\w-])--[a-z]", str(problem))
