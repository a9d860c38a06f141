"""Laws of ``select``: exactly the particles that are meant, every value as it was written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dynaflex.io.star import read_star, write_star
from dynaflex.run.ledger import Ledger

Command = Callable[..., Any]


def lines_of(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def test_a_cluster_is_selected_and_its_rows_are_kept_to_the_byte(
    simulated: Path, analysed_run: Path, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    outcome = command("select", analysed_run, "--cluster", 2, "-o", tmp_path / "two.star")
    assert outcome.code == 0, outcome.err
    rows = table["row"][table["kmeans"] == 2].to_numpy()
    whole = read_star(simulated / "particles.star")
    subset = read_star(tmp_path / "two.star")
    assert list(subset.blocks) == list(whole.blocks)
    assert subset.blocks["optics"].equals(whole.blocks["optics"])
    expected = whole.blocks["particles"].iloc[rows].reset_index(drop=True)
    assert subset.blocks["particles"].equals(expected)
    # The simulator writes its tables as we do: kept lines are the same lines.
    assert set(lines_of(tmp_path / "two.star")) <= set(lines_of(simulated / "particles.star"))
    first, second = (int((expected["rlnRandomSubset"] == half).sum()) for half in "12")
    assert f"{len(rows)} of 400" in outcome.out and f"{first} of half 1, {second} of half 2" in outcome.out
    assert first and second and not outcome.err
    assert f"lead from {simulated}: start RELION there" in outcome.out


def test_a_subset_of_one_half_is_not_passed_over_in_silence(
    analysed_run: Path, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    for half in (1, 2):
        (tmp_path / "rows.txt").write_text("\n".join(map(str, table["row"][table["half"] == half][:5])))
        outcome = command("select", analysed_run, "--particles", tmp_path / "rows.txt", "-o", tmp_path / "s.star")
        assert outcome.code == 0 and f"5 of half {half}" in outcome.out and f"0 of half {3 - half}" in outcome.out
        assert "warning: these are of one half" in outcome.err


def test_nobody_is_sent_to_a_folder_from_which_there_are_no_images(
    few: Path, brief: Callable[..., Any], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    run, _ = brief(data=data, out=tmp_path / "run")
    (tmp_path / "rows.txt").write_text("1\n2\n")
    typed = ("select", run, "--particles", tmp_path / "rows.txt", "-o", tmp_path / "s.star")
    assert f"lead from {data}" in command(*typed).out
    monkeypatch.chdir(data)
    assert "lead from" not in command(*typed).out, "who is there already"
    monkeypatch.chdir(tmp_path)
    (data / "particles.mrcs").rename(tmp_path / "elsewhere.mrcs")
    assert "lead from" not in command(*typed).out


def test_a_subset_of_a_table_without_halves_keeps_those_that_were_drawn(
    few: Path, brief: Callable[..., Any], command: Command, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    star = read_star(data / "particles.star")
    del star.blocks["particles"]["rlnRandomSubset"]
    write_star(star, data / "particles.star")
    run, outcome = brief(data=data, out=tmp_path / "run")
    assert outcome.code == 0, outcome.err
    (tmp_path / "rows.txt").write_text("# some\n3\n\n1 # out of order\n3\n7\n")
    assert command("select", run, "--particles", tmp_path / "rows.txt", "-o", tmp_path / "s.star").code == 0
    subset = read_star(tmp_path / "s.star").blocks["particles"]
    expected = star.blocks["particles"].iloc[[1, 3, 7]].reset_index(drop=True)
    assert subset[list(expected)].equals(expected)
    with np.load(run / "latents.npz") as stored:
        assert subset["rlnRandomSubset"].astype(int).tolist() == stored["half"][[1, 3, 7]].tolist()


@pytest.mark.parametrize("as_json", [False, True])
def test_an_outline_selects_what_lies_inside(
    as_json: bool, analysed_run: Path, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    x0, x1 = np.quantile(table["motion1"], [0.5, 0.9])
    corners = [[x0, -99.0], [x1, -99.0], [x1, 99.0], [x0, 99.0]]
    text = json.dumps({"axes": "motion", "points": corners}) if as_json else "\n".join(f"{x}, {y}" for x, y in corners)
    (tmp_path / "outline").write_text(text)
    outcome = command("select", analysed_run, "--polygon", tmp_path / "outline", "-o", tmp_path / "s.star")
    assert outcome.code == 0, outcome.err
    inside = table["row"][(table["motion1"] > x0) & (table["motion1"] < x1)].tolist()
    names = read_star(analysed_run / "particles.star").blocks["particles"]["rlnImageName"]
    assert read_star(tmp_path / "s.star").blocks["particles"]["rlnImageName"].tolist() == names[inside].tolist()


def test_an_outline_in_the_latents_of_a_half_selects_of_that_half(
    analysed_run: Path, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    (tmp_path / "all.txt").write_text("-99 -99\n99 -99\n99 99\n-99 99\n")
    everyone = ("select", analysed_run, "--polygon", tmp_path / "all.txt", "-o", tmp_path / "s.star", "--axes", "pca")
    assert command(*everyone).code == 2
    assert command(*everyone, "--half", 2).code == 0
    kept = read_star(tmp_path / "s.star").blocks["particles"]
    assert kept["rlnRandomSubset"].tolist() == ["2"] * int((table["half"] == 2).sum())


def test_ranges_of_latents_select_what_lies_in_all(
    analysed_run: Path, table: pd.DataFrame, command: Command, tmp_path: Path
) -> None:
    options = ("--latents", "1:-0.5:9", "--latents", "2:-9:0", "--half", 1)
    assert command("select", analysed_run, *options, "-o", tmp_path / "s.star").code == 0
    inside = (table["latent1"] >= -0.5) & (table["latent2"] <= 0) & (table["half"] == 1)
    assert 0 < inside.sum() < 200
    assert len(read_star(tmp_path / "s.star").blocks["particles"]) == inside.sum()


@pytest.mark.parametrize(
    ("options", "text", "code", "words"),
    [
        ((), "", 2, "[select.what]"),
        (("--cluster", 99), "", 2, "[select.no-cluster]"),
        (("--cluster", 1, "--analysis", "nowhere"), "", 2, "[analysis.missing]"),
        (("--latents", "1:0:1"), "", 2, "[select.which-half]"),
        (("--latents", "0:1", "--half", 1), "", 2, "[select.range]"),
        (("--latents", "1:2:1", "--half", 1), "", 2, "[select.range]"),
        (("--latents", "0:-1:1", "--half", 1), "", 2, "from 1 to 6"),
        (("--latents", "7:-1:1", "--half", 1), "", 2, "from 1 to 6"),
        (("--polygon", "FILE"), "1 2\n3 4\n", 3, "[select.no-outline]"),
        (("--polygon", "FILE"), '{"axes": "space", "points": [[0, 0], [1, 0], [1, 1]]}', 2, "[select.axes]"),
        (("--polygon", "FILE"), "a b\n", 3, "[select.no-outline]"),
        (
            ("--polygon", "FILE"),
            '{"columns": [0, 1], "points": [[0, 0], [1, 0], [1, 1]]}',
            3,
            "no coordinate motion 0; expected from 1 to ",
        ),
        (("--polygon", "FILE", "--axes", "umap"), "0 0\n1 0\n1 1\n", 3, "--umap [select.no-column]"),
        (
            ("--polygon", "FILE", "--axes", "umap"),
            '{"axes": "motion", "points": [[0, 0], [1, 0], [1, 1]]}',
            2,
            "[select.contradiction]",
        ),
        (("--polygon", "FILE"), "900 900\n901 900\n901 901\n", 2, "[select.empty]"),
        (("--particles", "FILE"), "1\n-2\n", 3, "line 2"),
        (("--particles", "FILE"), "1\n2.5\n", 3, "[select.no-row]"),
        (("--particles", "FILE"), "400\n", 3, "0 to 399; found 400"),
        (("--particles", "FILE"), "4000\n", 3, "[select.beyond]"),
        (("--particles", "nowhere"), "", 3, "[select.no-rows]"),
    ],
)
def test_what_cannot_be_selected(
    options: tuple[Any, ...],
    text: str,
    code: int,
    words: str,
    analysed_run: Path,
    command: Command,
    tmp_path: Path,
) -> None:
    (tmp_path / "file").write_text(text)
    given = [tmp_path / "file" if part == "FILE" else part for part in options]
    outcome = command("select", analysed_run, *given, "-o", tmp_path / "s.star")
    assert outcome.code == code and words in outcome.error_line()
    assert not (tmp_path / "s.star").exists()


def test_an_analysis_that_is_cut_or_of_other_latents_is_not_used(
    analysed_run: Path, command: Command, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(analysed_run, run)
    table = run / "analysis" / "particles.csv"
    whole = table.read_bytes()
    for spoiled, code, identifier in (
        (whole[: len(whole) // 2], 8, "analysis.damaged"),
        (whole.replace(b",1,", b",2,", 5), 8, "analysis.damaged"),
    ):
        table.write_bytes(spoiled)
        outcome = command("select", run, "--cluster", 1, "-o", tmp_path / "s.star")
        assert outcome.code == code and f"[{identifier}]" in outcome.error_line() and not (tmp_path / "s.star").exists()
    table.write_bytes(whole)
    with np.load(run / "latents.npz") as stored:
        arrays = dict(stored)
    with Ledger(run).writing("latents.npz") as path:
        np.savez(path, **{**arrays, "mean": arrays["mean"] + 0.1})
    outcome = command("select", run, "--cluster", 1, "-o", tmp_path / "s.star")
    assert outcome.code == 2 and "[analysis.older]" in outcome.error_line() and not (tmp_path / "s.star").exists()
