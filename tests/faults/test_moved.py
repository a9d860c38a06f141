"""Whose file is this? Inputs of a run that moved are found or asked for, and other content is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import mrcfile
import pytest

from dynaflex.run.ledger import Ledger
from faults.harness import Command, Toy
from faults.single import without_report


def test_a_project_that_moved_as_a_whole_goes_on_from_anywhere(
    trained_toy: Toy, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = tmp_path / "renamed" / "project"
    new.parent.mkdir()
    trained_toy.folder.rename(new)
    monkeypatch.chdir(tmp_path)
    outcome = command("resume", "renamed/project/run", "--until", "reconstruct")
    assert outcome.code == 0, outcome.err
    inputs = json.loads((new / "run" / "provenance.json").read_text())["inputs"]
    assert inputs["particles"] == str(new / "particles.star") and inputs["consensus"] == str(new / "consensus.mrc")
    # What was found is remembered: nothing is said of it a second time.
    with without_report():
        again = command("reconstruct", new / "run")
    assert again.code == 0 and "elsewhere" in outcome.out and "elsewhere" not in again.out


INPUTS = {"--particles": "particles.star", "--map": "consensus.mrc", "--mask": "mask.mrc"}


@pytest.mark.parametrize("option", INPUTS)
def test_an_input_that_moved_alone_is_asked_for_taken_and_remembered(
    trained_toy: Toy, command: Command, tmp_path: Path, option: str
) -> None:
    here = trained_toy.folder / INPUTS[option]
    there = tmp_path / "elsewhere" / f"other_{INPUTS[option]}"
    there.parent.mkdir()
    here.rename(there)
    refused = command("resume", trained_toy.run)
    assert refused.code == 3 and "[run.input-gone]" in refused.error_line() and str(here) in refused.err
    assert f"{option} NEW_PATH" in refused.err
    # What doctor prints can be typed.
    assert f"dynaflex resume {trained_toy.run} {option} NEW_PATH" in command("doctor", trained_toy.run).out
    typed = (option, there, *(() if option != "--particles" else ("--datadir", trained_toy.folder)))
    assert command("resume", trained_toy.run, *typed, "--until", "reconstruct").code == 0
    for again in ("resume", "reconstruct", "score"):
        truth = ("--truth", trained_toy.folder / "truth.npz") if again == "score" else ()
        with without_report():
            outcome = command(again, trained_toy.run, *truth)
        assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("option", ["--map", "--mask"])
@pytest.mark.parametrize("name", ["resume", "reconstruct", "validate"])
def test_another_file_is_not_taken_for_the_one_that_moved(
    trained_toy: Toy, command: Command, tmp_path: Path, option: str, name: str
) -> None:
    other = tmp_path / INPUTS[option]
    shutil.copy(trained_toy.folder / INPUTS[option], other)
    with mrcfile.open(other, "r+") as opened:
        opened.data[3, 4, 5] += 0.25
    before = stored(trained_toy.run)
    outcome = command(name, trained_toy.run, option, other)
    assert outcome.code == 8 and "[run.other-inputs]" in outcome.error_line() and str(other) in outcome.err
    assert before == stored(trained_toy.run)


def test_what_cannot_be_done_leaves_the_results_as_they_were(trained_toy: Toy, command: Command) -> None:
    assert command("resume", trained_toy.run).code == 0
    before = stored(trained_toy.run)
    for options in (("--symmetry", "Q7"), ("--device", "cuda:99"), ("--box", "7"), ("--box", "64")):
        assert command("reconstruct", trained_toy.run, *options).code in (2, 4), options
        assert before == stored(trained_toy.run), options


def stored(run: Path) -> dict[str, bytes]:
    """Every file of a run but the account of what was tried."""
    found = (path for path in run.iterdir() if path.is_file() and path.name not in ("lock.json", "log.txt"))
    return {path.name: path.read_bytes() for path in found}


def test_images_that_changed_are_other_inputs(trained_toy: Toy, command: Command) -> None:
    with mrcfile.open(trained_toy.stack, "r+") as opened:
        opened.data[7] = -opened.data[7]
    outcome = command("reconstruct", trained_toy.run)
    assert outcome.code == 8 and "[run.other-inputs]" in outcome.error_line() and "particles.mrcs" in outcome.err


def test_the_working_directory_does_not_shadow_the_project(
    trained_toy: Toy, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Images of the same name, of another project, lie where the user happens to be.
    other = tmp_path / "other project"
    other.mkdir()
    shutil.copy(trained_toy.stack, other / "particles.mrcs")
    with mrcfile.open(other / "particles.mrcs", "r+") as opened:
        opened.data[:] = 0.0
    monkeypatch.chdir(other)
    outcome = command("check", *trained_toy.check()[1:])
    if outcome.code == 0:
        assert "nothing wrong" in outcome.out
    else:
        assert "[particles.ambiguous-images]" in outcome.out and str(other) in outcome.out
    assert command("resume", trained_toy.run, "--until", "reconstruct").code == 0


def test_what_a_run_remembers_leads_there_from_anywhere(
    toy: Toy, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What a user types passes through another folder, and up again from a link to the project.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "linked").symlink_to(toy.folder)
    monkeypatch.chdir(tmp_path / "other")
    names = ("linked/../toy/particles.star", "--map", "linked/consensus.mrc", "--mask", "../toy/../toy/mask.mrc")
    out = ("-o", "../other/../toy/run", *toy.train()[8:])
    assert command("dynamight", *names, *out).code == 0
    known = json.loads((toy.run / "provenance.json").read_text())
    inputs = known["inputs"]
    assert inputs["particles"] == str(toy.particles) and inputs["mask"] == str(toy.mask)
    assert inputs["consensus"] == str(tmp_path / "other" / "linked" / "consensus.mrc")
    stacks = json.loads((toy.run / "images.json").read_text())["stacks"]
    assert [stack["path"] for stack in stacks] == [str(toy.stack)] and known["run_directory"] == str(toy.run)
    monkeypatch.chdir("/")
    toy.particles.rename(tmp_path / "gone.star")
    refused = command("resume", toy.run)
    assert str(toy.particles) in refused.error_line() and ".." not in refused.err


@pytest.mark.parametrize(
    "spoil", [("--epochs", "0"), ("--diameter", "1e9"), ("--latent-dimension", "-1"), ("--batch-size", "0.5")]
)
def test_a_typing_error_leaves_the_folder_free(toy: Toy, command: Command, spoil: tuple[str, str]) -> None:
    outcome = command(*toy.train(*spoil))
    assert outcome.code in (2, 3) and not toy.run.exists(), outcome.err
    assert command(*toy.train()).code == 0


@pytest.mark.parametrize("half", [1, 2])
def test_what_is_wrong_with_one_half_is_said_before_the_folder_is_made(toy: Toy, command: Command, half: int) -> None:
    def all_but_three(table):  # type: ignore[no-untyped-def]
        few = table.index[table["rlnRandomSubset"].astype(int) == half][3:]
        return table.drop(index=few)

    toy.change(all_but_three)
    outcome = command(*toy.train())
    assert outcome.code == 3 and f"half {half}" in outcome.error_line() and not toy.run.exists()


def test_a_list_of_files_is_the_runs_own(trained_toy: Toy, command: Command, tmp_path: Path) -> None:
    run, listed = trained_toy.run, trained_toy.run / "files.json"
    whole = listed.read_text()
    for spoiled, identifier in ((whole[: len(whole) // 2], "run.damaged-list"), (None, "run.lost-list")):
        listed.unlink()
        if spoiled is not None:
            listed.write_text(spoiled)
        for name in ("resume", "volumes", "doctor"):
            more = ("--axis", 1, "-o", tmp_path / "volumes") if name == "volumes" else ()
            outcome = command(name, run, *more)
            assert outcome.code == 8 and "--accept-files" in outcome.out + outcome.err
            assert name == "doctor" or f"[{identifier}]" in outcome.error_line()
    assert command("doctor", run, "--accept-files").code == 0
    assert command("resume", run, "--until", "reconstruct").code == 0


def test_before_there_are_results_they_are_not_there_yet(toy: Toy, command: Command, tmp_path: Path) -> None:
    assert command(*toy.train()).code == 0
    Ledger(toy.run).forget("latents.npz")
    outcome = command("select", toy.run, "--latents", "1:0:1", "--half", 1, "-o", tmp_path / "s.star")
    assert outcome.code == 2 and "[run.not-yet]" in outcome.error_line() and "dynaflex resume" in outcome.err
