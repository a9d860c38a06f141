"""Laws of ``export``: what another program reads is what the run holds."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynaflex.io.foreign.cs import read_cs
from dynaflex.io.latent_file import read_latents
from dynaflex.io.mrc import read_map
from dynaflex.run.ledger import Ledger
from survival import rewrite

Command = Callable[..., Any]


def test_relion_finds_both_halves_unchanged(brief_run: Path, few: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("export", brief_run, "--to", "relion", "-o", tmp_path / "to relion")
    assert outcome.code == 0, outcome.err
    line = next(line for line in outcome.out.splitlines() if "relion_postprocess" in line)
    given = shlex.split(line)
    options = dict(pairwise(given[1:]))
    first = Path(options["--i"])
    # PostProcess finds the other half by replacing half1 with half2 in the name.
    for number, path in ((1, first), (2, first.with_name(first.name.replace("half1", "half2")))):
        assert path.read_bytes() == (brief_run / "maps" / f"map_half{number}.mrc").read_bytes()
    assert float(options["--angpix"]) == read_map(first).pixel_size
    assert np.allclose(read_map(options["--mask"]).data, read_map(few / "mask.mrc").data, atol=1e-5)
    assert (tmp_path / "to relion" / "particles.star").read_bytes() == (brief_run / "particles.star").read_bytes()


def test_relion_is_asked_to_sharpen_only_where_a_slope_can_be_read(
    brief_run: Path, command: Command, tmp_path: Path
) -> None:
    """Its line is fitted from 10 Å on: of maps that end there it would be one of nothing."""
    for finest, sharpens in (("4.5", True), ("12.0", False), ("null", False)):
        run = tmp_path / finest
        shutil.copytree(brief_run, run)
        fsc = json.loads((run / "fsc.json").read_text())
        fsc["deformed"]["resolution"]["0.143"] = json.loads(finest)
        rewrite(run, "fsc.json", lambda _, fsc=fsc: json.dumps(fsc))
        outcome = command("export", run, "--to", "relion")
        assert outcome.code == 0, outcome.err
        assert ("--auto_bfac" in outcome.out) is sharpens and ("--adhoc_bfac" in outcome.out) is not sharpens


def test_the_inputs_need_not_be_there_any_more(brief_run: Path, command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    rewrite(run, "provenance.json", lambda text: text.replace("mask.mrc", "gone.mrc"))
    outcome = command("export", run, "--to", "relion")
    assert outcome.code == 0, outcome.err
    assert (run / "export" / "relion" / "mask.mrc").read_bytes() == (brief_run / "maps" / "mask.mrc").read_bytes()


def test_cryosparc_gets_the_latents_of_each_half_by_uid(
    from_cryosparc: tuple[Path, np.ndarray], command: Command, tmp_path: Path
) -> None:
    run, given = from_cryosparc
    outcome = command("export", run, "--to", "cryosparc", "-o", tmp_path)
    assert outcome.code == 0, outcome.err
    with np.load(run / "latents.npz") as stored:
        index, half, mean = stored["index"], stored["half"], stored["mean"]
    for number in (1, 2):
        path = tmp_path / f"latents_half{number}.cs"
        table = read_cs(path)
        mine = half == number
        assert table["uid"].tolist() == given["uid"][index[mine]].tolist()
        assert np.array_equal(read_latents(path, int(mine.sum())).numpy(), mean[mine].astype(np.float32))
        assert (table["components_mode_1/component"] == 1).all()
        assert (given["alignments3D/split"][index[mine]] == number - 1).all()
        maps = [read_map(folder).data for folder in (tmp_path / f"map_half_{'AB'[number - 1]}.mrc",
                                                     run / "maps" / f"map_half{number}.mrc")]  # fmt: skip
        assert np.array_equal(*maps)


def test_particles_without_uid_are_listed_by_image(brief_run: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("export", brief_run, "--to", "cryosparc", "-o", tmp_path)
    assert outcome.code == 0 and "no uid" in outcome.out and not list(tmp_path.glob("[pl]*.cs"))
    table = pd.read_csv(tmp_path / "latents.csv")
    with np.load(brief_run / "latents.npz") as stored:
        assert np.allclose(table[[f"latent{k}" for k in (1, 2, 3, 4, 5, 6)]], stored["mean"], atol=1e-6)
    assert table["rlnImageName"][5] == "000006@particles.mrcs"


def test_what_cannot_be_exported(brief_run: Path, command: Command, tmp_path: Path) -> None:
    assert "'relion', 'cryosparc', 'chimerax'" in command("export", brief_run, "--to", "excel").refused_choice("--to")
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    Ledger(run).forget("fsc.json")
    outcome = command("export", run, "--to", "relion")
    assert outcome.code == 2 and "[export.no-maps]" in outcome.error_line()
