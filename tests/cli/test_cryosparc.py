"""Laws of the way back to cryoSPARC: no particle, column or bit is lost, and groups say truly what lies in them."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cryosparc_files import records, with_column, without, write_cs
from dynaflex.io.foreign.cs import read_cs
from dynaflex.io.mrc import read_map
from dynaflex.io.star import read_star, write_star
from dynaflex.products.states.named import rows_named
from dynaflex.run.directory import Run
from dynaflex.run.ledger import Ledger
from dynaflex.viewer.particles.selections import Selections
from dynaflex.viewer.particles.table import ParticleTable

Command = Callable[..., Any]
Made = tuple[Path, np.ndarray]


def assert_same_records(found: np.ndarray, expected: np.ndarray) -> None:
    """Every column of ``expected``, bit by bit."""
    for name in expected.dtype.names:
        assert found.dtype[name] == expected.dtype[name], name
        assert found[name].tobytes() == expected[name].tobytes(), name


def rows_file(path: Path, rows: list[int]) -> Path:
    path.write_text("\n".join(map(str, rows)))
    return path


def test_all_particles_come_back_with_all_columns_and_components(exported: Path, from_cryosparc: Made) -> None:
    _, given = from_cryosparc
    used, excluded = (read_cs(exported / f"{name}.cs") for name in ("particles", "excluded"))
    unposed = np.arange(len(given)) == 7
    assert_same_records(used, given[~unposed])
    assert_same_records(excluded, given[unposed])
    added = set(used.dtype.names) - set(given.dtype.names)
    assert added == {f"components_mode_{k}/{part}" for k in range(6) for part in ("component", "value")}
    assert (used["components_mode_5/component"] == 5).all() and np.isfinite(used["components_mode_0/value"]).all()


def test_components_are_the_motion_that_both_halves_share(
    exported: Path, from_cryosparc: Made, command: Command, tmp_path: Path
) -> None:
    run, _ = from_cryosparc
    outcome = command("analyze", run, "-o", tmp_path / "a", "--no-movies", "--frames", 2, "--clusters", 2)
    assert outcome.code == 0, outcome.err
    table = np.genfromtxt(tmp_path / "a" / "particles.csv", delimiter=",", names=True)
    used = read_cs(exported / "particles.cs")
    np.testing.assert_allclose(used["components_mode_0/value"], table["motion1"], atol=1e-3)
    # The frames of the path are five particles of half 2, and the same coordinates hold for them.
    frames = read_cs(exported / "latents.cs")
    of_half_2 = used["components_mode_1/value"][table["half"] == 2][:5]
    np.testing.assert_allclose(frames["components_mode_1/value"], of_half_2, rtol=1e-4, atol=1e-5)


def test_groups_are_yaml_and_name_what_is_there(exported: Path) -> None:
    yaml = pytest.importorskip("yaml")
    groups = sorted(exported.glob("*.csg"))
    assert [path.stem for path in groups] == sorted(
        path.stem for path in exported.glob("*.cs") if "half" not in path.name
    )
    kinds = {}
    for path in groups:
        group = yaml.safe_load(path.read_text())
        assert set(group) == {"created", "group", "results", "version"}
        assert set(group["group"]) == {"name", "title", "type", "description"}
        slots: set[str] = set()
        for slot, result in group["results"].items():
            assert result["metafile"].startswith(">")
            table = read_cs(path.parent / result["metafile"][1:])
            assert result["num_items"] == len(table)
            assert any(name.startswith(f"{slot}/") for name in table.dtype.names)
            slots.add(slot)
            kinds[slot] = result["type"]
        assert slots == {name.partition("/")[0] for name in table.dtype.names if name != "uid"}
    assert kinds["components_mode_3"] == "particle.components" and kinds["alignments3D"] == "particle.alignments3D"
    assert kinds["map_half_A"] == "volume.blob" and kinds["mask"] == "mask.blob"


def test_volumes_are_those_of_the_run(exported: Path, from_cryosparc: Made) -> None:
    run, _ = from_cryosparc
    for group, kind in (("volume", "map"), ("volume_noflex", "rigid")):
        (row,) = read_cs(exported / f"{group}.cs")
        for slot in ("map", "map_half_A", "map_half_B", "mask_refine"):
            file = read_map(exported / row[f"{slot}/path"].decode().removeprefix(">"))
            assert row[f"{slot}/shape"].tolist() == [file.box] * 3 and row[f"{slot}/psize_A"] == file.pixel_size
        for number, letter in ((1, "A"), (2, "B")):
            half = exported / row[f"map_half_{letter}/path"].decode().removeprefix(">")
            assert half.read_bytes() == (run / "maps" / f"{kind}_half{number}.mrc").read_bytes()


def test_select_writes_what_the_run_was_made_from(from_cryosparc: Made, command: Command, tmp_path: Path) -> None:
    run, given = from_cryosparc
    rows = rows_file(tmp_path / "rows.txt", [90, 7, 3, 12])
    typed = ("select", run, "--particles", rows, "-o")
    for name in ("some.cs", "some"):
        assert command(*typed, tmp_path / name).code == 0
        assert_same_records(read_cs(tmp_path / "some.cs"), given[[3, 7, 12, 90]])
    assert "'some'" in (tmp_path / "some.csg").read_text()
    outcome = command(*typed, tmp_path / "some.star")
    assert outcome.code == 0 and len(read_star(tmp_path / "some.star").blocks["particles"]) == 4
    everyone = rows_file(tmp_path / "all.txt", list(range(len(given))))
    assert command("select", run, "--particles", everyone, "-o", tmp_path / "all.cs").code == 0
    whole = read_cs(tmp_path / "all.cs")
    assert_same_records(whole, given)
    assert set(whole.dtype.names) == set(given.dtype.names)


def test_a_part_of_cryosparcs_table_is_a_state_and_all_of_it_the_input(
    from_cryosparc: Made, command: Command, tmp_path: Path
) -> None:
    run, _ = from_cryosparc
    rows = [3, 7, 12, 90]
    for name in ("some.cs", "some.star"):
        asked = ("select", run, "--particles", rows_file(tmp_path / "rows.txt", rows), "-o", tmp_path / name)
        assert command(*asked).code == 0
        found = rows_named(Run.open(run), tmp_path / name)
        assert found is not None and found.tolist() == rows
    assert rows_named(Run.open(run), Path(Run.open(run).read_json("provenance.json")["inputs"]["particles"])) is None


def test_a_selection_of_the_explorer_is_cryosparcs_too(from_cryosparc: Made, tmp_path: Path) -> None:
    run, given = from_cryosparc
    shutil.copytree(run, tmp_path / "run")
    particles = ParticleTable(Run(tmp_path / "run"), False)
    chosen = np.isin(particles.rows, [110, 30, 8])
    saved = Selections(tmp_path / "run").save("a few", chosen, particles, "by hand")
    path = tmp_path / "run" / saved["file"]
    assert_same_records(read_cs(path.with_suffix(".cs")), given[[8, 30, 110]])
    assert "a few" in path.with_suffix(".csg").read_text()


def test_a_group_of_cryosparcs_is_not_written_over(from_cryosparc: Made, command: Command, tmp_path: Path) -> None:
    run, _ = from_cryosparc
    (tmp_path / "J7.csg").write_text("created: 2026-01-01\n")
    rows = rows_file(tmp_path / "rows.txt", [1, 2])
    outcome = command("select", run, "--particles", rows, "-o", tmp_path / "J7.cs")
    assert outcome.code == 2 and "[output.not-ours]" in outcome.error_line() and not (tmp_path / "J7.cs").exists()


def test_a_run_from_before_such_copies_goes_back_to_the_file(
    from_cryosparc: Made, command: Command, tmp_path: Path
) -> None:
    run, given = from_cryosparc
    data = tmp_path / "data"
    shutil.copytree(run.parent, data)
    older = data / "run"
    Ledger(older).forget("input.cs")
    rows = rows_file(tmp_path / "rows.txt", [5, 100])
    assert command("select", older, "--particles", rows, "-o", tmp_path / "s.cs").code == 0
    assert_same_records(read_cs(tmp_path / "s.cs"), given[[5, 100]])


def test_halves_that_were_drawn_go_with_the_particles(few: Path, command: Command, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(few, data)
    rows = without(records(data / "particles.star", 6.0), "alignments3D/split")
    write_cs(data / "particles.cs", rows)
    outcome = command(
        "dynamight", data / "particles.cs", "--map", data / "consensus.mrc", "-o", data / "run", "--datadir", data,
        "--epochs", 1, "--gaussians", 40, "--batch-size", 8, "--until", "train",
    )  # fmt: skip
    assert outcome.code == 0, outcome.err
    some = rows_file(tmp_path / "rows.txt", list(range(0, 120, 2)))
    assert command("select", data / "run", "--particles", some, "-o", tmp_path / "s.cs").code == 0
    found = read_cs(tmp_path / "s.cs")
    assert_same_records(found, rows[::2])
    with np.load(data / "run" / "latents.npz") as stored:
        assert found["alignments3D/split"].tolist() == (stored["half"][::2] - 1).tolist()


def imported(star: Path, path: Path, order: np.ndarray) -> np.ndarray:
    """What cryoSPARC makes of a STAR file that it imports: stacks under names of its own, rows in another order."""
    rows = records(star, 6.0)[order]
    names = [f"J3/imported/0048172_{name.decode().lstrip('>')[:-1]}".encode() for name in rows["blob/path"]]
    rows = with_column(rows, "blob/path", np.array(names))
    write_cs(path, rows)
    return rows


def test_particles_from_relion_are_found_in_cryosparcs_import(
    brief_run: Path, few: Path, command: Command, tmp_path: Path
) -> None:
    order = np.random.default_rng(5).permutation(120)
    rows = imported(few / "particles.star", tmp_path / "imported_particles.cs", order)
    typed = ("export", brief_run, "--to", "cryosparc", "-o", tmp_path / "out", "--particles")
    outcome = command(*typed, tmp_path / "imported_particles.cs")
    assert outcome.code == 0, outcome.err
    found = read_cs(tmp_path / "out" / "particles.cs")
    assert_same_records(found, rows[np.argsort(order)])
    with np.load(brief_run / "latents.npz") as stored:
        assert (found["alignments3D/split"] == stored["half"] - 1).all()
    write_cs(tmp_path / "fewer.cs", rows[3:])
    outcome = command(*typed, tmp_path / "fewer.cs")
    assert outcome.code == 3 and "[cs.other-particles]" in outcome.error_line() and "117 of them" in outcome.err


def test_particles_that_were_converted_are_found_by_uid(few: Path, command: Command, tmp_path: Path) -> None:
    rows = records(few / "particles.star", 6.0)
    write_cs(tmp_path / "particles.cs", rows)
    assert command("convert", tmp_path / "particles.cs", "-o", tmp_path / "particles.star").code == 0
    files = ("--map", few / "consensus.mrc", "--mask", few / "mask.mrc", "--datadir", few, "-o", tmp_path / "run")
    options = ("--epochs", 1, "--gaussians", 40, "--batch-size", 8, "--until", "reconstruct")
    outcome = command("dynamight", tmp_path / "particles.star", *files, *options)
    assert outcome.code == 0, outcome.err
    write_cs(tmp_path / "sorted.cs", rows[np.argsort(rows["uid"])])
    typed = ("export", tmp_path / "run", "--to", "cryosparc", "-o", tmp_path / "out", "--particles")
    outcome = command(*typed, tmp_path / "sorted.cs")
    assert outcome.code == 0, outcome.err
    assert_same_records(read_cs(tmp_path / "out" / "particles.cs"), rows)


def test_of_one_model_for_both_halves_the_latents_are_the_components(
    few: Path, brief_of: Callable[..., Any], command: Command, tmp_path: Path
) -> None:
    run, outcome = brief_of("flex", "--half-sets", "shared", out=tmp_path / "run")
    assert outcome.code == 0, outcome.err
    imported(few / "particles.star", tmp_path / "imported_particles.cs", np.arange(120))
    with np.load(run / "latents.npz") as stored:
        mean = stored["mean"]
    np.save(tmp_path / "path.npy", mean[:3])
    typed = ("export", run, "--to", "cryosparc", "-o", tmp_path / "out", "--path", tmp_path / "path.npy")
    outcome = command(*typed, "--particles", tmp_path / "imported_particles.cs")
    assert outcome.code == 0 and "standard deviations of the prior" in outcome.out
    for name, expected in (("particles", mean), ("latents", mean[:3])):
        found = read_cs(tmp_path / "out" / f"{name}.cs")
        for k in range(mean.shape[1]):
            np.testing.assert_array_equal(found[f"components_mode_{k}/value"], expected[:, k].astype("<f4"))


def test_what_is_for_cryosparc_alone(brief_run: Path, few: Path, command: Command, tmp_path: Path) -> None:
    outcome = command("export", brief_run, "--to", "relion", "-o", tmp_path, "--particles", few / "particles.star")
    assert outcome.code == 2 and "[export.for-cryosparc]" in outcome.error_line()
    rows = rows_file(tmp_path / "rows.txt", [1, 2])
    outcome = command("select", brief_run, "--particles", rows, "-o", tmp_path / "s.cs")
    assert outcome.code == 2 and "[select.not-cryosparc]" in outcome.error_line()


def test_relions_table_comes_back_from_a_run_as_it_was(
    brief_run: Path, few: Path, command: Command, tmp_path: Path
) -> None:
    everyone = rows_file(tmp_path / "rows.txt", list(range(120)))
    assert command("select", brief_run, "--particles", everyone, "-o", tmp_path / "all.star").code == 0
    write_star(read_star(few / "particles.star"), tmp_path / "given.star")
    assert (tmp_path / "all.star").read_bytes() == (tmp_path / "given.star").read_bytes()
