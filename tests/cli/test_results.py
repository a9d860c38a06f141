"""Laws of the commands around a run: what they print and write agrees with the run and with each other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dynaflex.grid import Grid
from dynaflex.io.mrc import read_map, write_map
from dynaflex.results.half_maps import judged
from dynaflex.results.trained import displacements
from dynaflex.simulation.truth import read_truth
from dynaflex.validate.fsc import fsc_curves
from survival import rewrite

Command = Callable[..., Any]


# A run that is there


def test_maps_are_not_rebuilt_from_other_inputs(brief_run: Path, command: Command, tmp_path: Path) -> None:
    shutil.copytree(brief_run, tmp_path / "run")

    def of_another_map(text: str) -> str:
        provenance = json.loads(text)
        provenance["fingerprint"]["consensus"] |= {"sha256": "0" * 64, "changed": 0.0}
        return json.dumps(provenance)

    rewrite(tmp_path / "run", "provenance.json", of_another_map)
    before = {path: path.read_bytes() for path in (tmp_path / "run" / "maps").glob("*.mrc")}
    outcome = command("reconstruct", tmp_path / "run")
    assert outcome.code == 8 and "[run.other-inputs]" in outcome.error_line() and "consensus.mrc" in outcome.err
    assert {path: path.read_bytes() for path in (tmp_path / "run" / "maps").glob("*.mrc")} == before


def test_a_run_is_not_started_twice(brief_run: Path, brief: Callable[..., Any]) -> None:
    before = {path: path.read_bytes() for path in brief_run.rglob("*") if path.is_file()}
    _, outcome = brief(out=brief_run)
    assert outcome.code == 6
    assert str(brief_run) in outcome.error_line() and "dynaflex resume" in outcome.err
    assert {path: path.read_bytes() for path in brief_run.rglob("*") if path.is_file()} == before


def test_a_run_that_another_process_holds_is_left_alone(
    brief_run: Path, brief: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    (run / "lock.json").write_text(json.dumps({"pid": 1, "host": "another", "since": "yesterday"}))
    _, outcome = brief("--resume", out=run)
    assert outcome.code == 6 and "another" in outcome.error_line()


def results_of(run: Path) -> dict[str, tuple[int, bytes]]:
    """Maps, checkpoints, curves and metrics: when they were written, and what they hold."""
    paths = [*run.glob("maps/*"), *run.glob("checkpoints/*/*"), *run.glob("*fsc.json"), run / "metrics.jsonl"]
    return {str(path.relative_to(run)): (path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


def test_resuming_a_finished_run_does_nothing(brief_run: Path, brief: Callable[..., Any]) -> None:
    before = results_of(brief_run)
    assert len(before) > 20
    _, outcome = brief("--resume", out=brief_run)
    assert outcome.code == 0, outcome.err
    assert results_of(brief_run) == before


def test_resuming_makes_maps_that_were_not_finished(
    brief_run: Path, brief: Callable[..., Any], command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    with monkeypatch.context() as patch:
        patch.setattr(judged, "merge", lambda *_: 1 / 0)
        assert command("reconstruct", run, "--box", 24).code == 1
    _, outcome = brief("--resume", out=run)
    assert outcome.code == 0, outcome.err
    assert {name: content for name, (_, content) in results_of(run).items()} == {
        name: content for name, (_, content) in results_of(brief_run).items()
    }


# check and fsc


def test_check_tells_machines_what_it_tells_people(command: Command, few: Path) -> None:
    arguments = ("check", few / "particles.star", "--map", few / "consensus.mrc", "--mask", few / "mask.mrc")
    people, machines = command(*arguments), command(*arguments, "--json")
    assert people.code == machines.code == 0
    assert "nothing wrong found" in people.out
    report = json.loads(machines.out)
    assert report["ok"] and report["problems"] == []
    facts = report["facts"]
    assert (facts["particles_used"], facts["box"], facts["pixel_size"], facts["images_read"]) == (120, 32, 6.0, 120)
    wrong = command("check", few / "nothing.star", "--json")
    assert wrong.code == 3
    assert [problem["identifier"] for problem in json.loads(wrong.out)["problems"]] == ["star.missing"]


def test_fsc_prints_the_curves_of_the_run(command: Command, simulated: Path, finished_run: Path) -> None:
    maps = [finished_run / "maps" / f"rigid_half{half}.mrc" for half in (1, 2)]
    outcome = command("fsc", *maps, "--mask", simulated / "mask.mrc", "--json")
    assert outcome.code == 0, outcome.err
    printed, stored = json.loads(outcome.out), json.loads((finished_run / "fsc.json").read_text())["rigid"]
    for name in ("frequency", "unmasked", "masked", "corrected"):
        assert np.allclose(printed[name], stored[name], atol=1e-6), name
    spoken = command("fsc", *maps, "--mask", simulated / "mask.mrc").out
    assert f"{printed['resolution']['0.143']:.2f} Å" in spoken


def test_fsc_finds_where_two_maps_part(command: Command, tmp_path: Path) -> None:
    """Independent noise beyond a known shell: resolution is that shell, whichever map comes first."""
    grid, generator = Grid(32, 6.0), torch.Generator().manual_seed(0)
    common, *noise = torch.randn(3, 32, 32, 32, generator=generator)
    low = torch.fft.rfftn(common) * (grid.radius(3) <= 8)
    for number, other in enumerate(noise):
        mixed = torch.fft.irfftn(low + torch.fft.rfftn(other) * (grid.radius(3) > 8), s=(32, 32, 32))
        write_map(tmp_path / f"{number}.mrc", mixed.numpy(), 6.0)
    answers = [
        command("fsc", tmp_path / a, tmp_path / b, "--json").out for a, b in (("0.mrc", "1.mrc"), ("1.mrc", "0.mrc"))
    ]
    first, second = (json.loads(answer)["resolution"]["0.143"] for answer in answers)
    assert first == pytest.approx(second)
    assert grid.width / 9.5 < first < grid.width / 8
    curves = fsc_curves(*(torch.from_numpy(read_map(tmp_path / f"{n}.mrc").data) for n in (0, 1)), 6.0)
    assert curves.resolution(0.143) == pytest.approx(first)


def test_fsc_refuses_maps_that_do_not_fit(command: Command, few: Path, tmp_path: Path) -> None:
    write_map(tmp_path / "small.mrc", read_map(few / "consensus.mrc").data[:16, :16, :16], 6.0)
    outcome = command("fsc", few / "consensus.mrc", tmp_path / "small.mrc")
    assert outcome.code == 3
    assert all(fact in outcome.error_line() for fact in ("small.mrc", "32 voxels", "found 16", "[volume.box]"))


# displacements


def test_displacements_are_those_of_the_model_of_each_particle(
    command: Command, simulated: Path, finished_run: Path, tmp_path: Path, halves: dict[int, list[int]]
) -> None:
    points = read_truth(simulated / "truth.npz").points[::60]
    np.save(tmp_path / "points.npy", points)
    rows = [halves[2][3], halves[1][0], halves[2][0]]
    out = tmp_path / "d.npz"
    asked = ("displacements", finished_run, "--points", tmp_path / "points.npy", "-o", out)
    outcome = command(*asked, "--particles", ",".join(map(str, rows)))
    assert outcome.code == 0, outcome.err
    with np.load(out) as stored:
        assert stored["points"].shape == (len(points), 3) and np.allclose(stored["points"], points, atol=1e-4)
        assert stored["displacement"].shape == (3, len(points), 3)
        assert stored["particles"].tolist() == rows
        found = stored["displacement"]
    each = [displacements(finished_run, points, [row])[0] for row in rows]
    assert np.allclose(found, each, atol=1e-5) and np.abs(found).max() > 1.0
    assert command(*asked, "--particles", "all").code == 0
    with np.load(out) as stored:
        assert np.array_equal(stored["particles"], np.arange(400))
        assert np.allclose(stored["displacement"][rows], found, atol=1e-5)
    assert command(*asked, "--particles", "all", "--half", 2).code == 0
    with np.load(out) as stored:
        assert stored["particles"].tolist() == halves[2]
        assert np.allclose(stored["displacement"][[3, 0]], found[[0, 2]], atol=1e-5)


def test_displacements_refuse_what_they_cannot_answer(
    command: Command, finished_run: Path, tmp_path: Path, halves: dict[int, list[int]]
) -> None:
    np.save(tmp_path / "points.npy", np.zeros((4, 3)))
    np.save(tmp_path / "flat.npy", np.zeros((4, 2)))
    np.save(tmp_path / "nan.npy", np.full((4, 3), np.nan))
    np.save(tmp_path / "objects.npy", np.array([None, {}], dtype=object), allow_pickle=True)

    def ask(points: str, particles: str, *more: object) -> tuple[int, str]:
        asked = ("displacements", finished_run, "--points", tmp_path / points, "--particles", particles)
        outcome = command(*asked, "-o", tmp_path / "d.npz", *more)
        return outcome.code, outcome.error_line()

    for file in ("flat.npy", "nan.npy", "objects.npy", "missing.npy"):
        code, line = ask(file, "0")
        assert code == 3 and file in line
        assert line.endswith("[npy.shape]" if file in ("flat.npy", "nan.npy") else "[npy.unreadable]")
    refused: tuple[tuple[str, tuple[object, ...], str], ...] = (
        ("0,x", (), "usage.particles"),
        ("400", (), "particles.unknown"),
        (str(halves[2][0]), ("--half", 1), "particles.other-half"),
    )
    for particles, more, identifier in refused:
        code, line = ask("points.npy", particles, *more)
        assert code == 2 and line.endswith(f"[{identifier}]"), line
    assert not (tmp_path / "d.npz").exists()


# volumes


def test_a_run_of_a_method_that_is_not_known_is_not_guessed_at(
    command: Command, brief_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text((brief_run / "config.json").read_text().replace('"dynamight"', '"telepathy"'))
    outcome = command("volumes", run, "-o", tmp_path / "v", "--axis", 1)
    assert outcome.code == 2
    line = outcome.error_line()
    assert str(run / "config.json") in line and "found telepathy" in line and line.endswith("[run.method]")


def test_reconstruct_refuses_a_solver_that_it_does_not_have(command: Command, tmp_path: Path) -> None:
    assert "'magic'" in command("reconstruct", tmp_path, "--solver", "magic").refused_choice("--solver")
    assert "'3'" in command("volumes", tmp_path, "-o", tmp_path, "--axis", 1, "--half", 3).refused_choice("--half")


def test_reconstruct_makes_the_maps_of_the_run_again(command: Command, brief_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(brief_run, run)
    for path in run.glob("maps/*.mrc"):
        path.unlink()
    outcome = command("reconstruct", run)
    assert outcome.code == 0, outcome.err
    for path in brief_run.glob("maps/*.mrc"):
        assert (run / "maps" / path.name).read_bytes() == path.read_bytes(), path.name
    outcome = command("reconstruct", run, "--box", 24, "--solver", "backprojection")
    assert outcome.code == 0, outcome.err
    small = read_map(run / "maps" / "map.mrc")
    assert (small.box, small.pixel_size) == (24, 8.0)
