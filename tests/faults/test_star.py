"""Rows S of the list: the STAR file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dynaflex.io.star import read_star
from faults.harness import Command, Fault, Toy, prove

GOOD = ("particles: 120 used", "half-sets: 60 and 60", "nothing wrong found")


def edited(change: Callable[[str], str]) -> Callable[[Toy], list[object]]:
    """Check a data set after its STAR file was edited."""

    def command(toy: Toy) -> list[object]:
        toy.edit(change)
        return toy.check()

    return command


def changed(change: Callable[..., object], block: str = "particles") -> Callable[[Toy], list[object]]:
    """Check a data set after a table was changed."""

    def command(toy: Toy) -> list[object]:
        toy.change(change, block)
        return toy.check()

    return command


def in_bytes(change: Callable[[bytes], bytes]) -> Callable[[Toy], list[object]]:
    """Check a data set after the bytes of its STAR file were changed."""

    def command(toy: Toy) -> list[object]:
        toy.particles.write_bytes(change(toy.particles.read_bytes()))
        return toy.check()

    return command


def rows_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if "@" in line]


def without_rows(text: str) -> str:
    return "".join(line + "\n" for line in text.splitlines() if "@" not in line)


def misspelt(toy: Toy) -> list[object]:
    return ["check", toy.folder / "particle.star"]


def folder(toy: Toy) -> list[object]:
    toy.particles.rename(toy.folder / "run_data.star")
    return ["check", toy.folder]


def as_relion_30(toy: Toy) -> None:
    """One table without optics; the pixel size of 6 Å by the detector and the magnification."""
    optics = read_star(toy.particles).blocks["optics"].iloc[0]

    def flatten(table: object) -> object:
        given = {name: optics[name] for name in ("rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast")}
        return table.drop(columns="rlnOpticsGroup").assign(  # type: ignore[attr-defined]
            **given, rlnDetectorPixelSize="6", rlnMagnification="10000"
        )

    toy.change(flatten)
    toy.edit(lambda text: text[text.index("data_particles") :].replace("data_particles", "data_images"))


def old_file(toy: Toy) -> list[object]:
    as_relion_30(toy)
    return toy.check()


def old_file_without_voltage(toy: Toy) -> list[object]:
    as_relion_30(toy)
    toy.change(lambda table: table.drop(columns=["rlnVoltage", "rlnAmplitudeContrast"]), "images")
    return toy.check()


def optics_last(text: str) -> str:
    start = text.index("data_particles")
    return text[start:] + "\n" + text[:start]


def tabs_and_blank_lines(text: str) -> str:
    first = rows_of(text)[0]
    return text.replace(first, "\n# rows follow\n\n" + first).replace(" ", "\t").replace("loop_\n", "loop_\n\n")


def in_a_folder_with_blanks(quote: str) -> Callable[[Toy], list[object]]:
    def command(toy: Toy) -> list[object]:
        (toy.folder / "my images").mkdir()
        toy.stack.rename(toy.folder / "my images" / "p q.mrcs")
        toy.edit(lambda text: _quoted(text, quote))
        return toy.check()

    return command


def _quoted(text: str, quote: str) -> str:
    lines = text.splitlines()
    for i, line in enumerate(lines):
        if "@" in line:
            fields = line.split()
            where = next(k for k, field in enumerate(fields) if "@" in field)
            fields[where] = f"{quote}{fields[where].split('@')[0]}@my images/p q.mrcs{quote}"
            lines[i] = " ".join(fields)
    return "\n".join(lines) + "\n"


def positions(toy: Toy) -> list[object]:
    toy.particles.write_text("data_\n\nloop_\n_rlnCoordinateX #1\n_rlnCoordinateY #2\n100.0 200.0\n")
    return toy.check()


def a_map_for_a_table(toy: Toy) -> list[object]:
    return ["check", toy.map]


def copies(row_of_the_copy: int) -> Callable[[Toy], list[object]]:
    def copy(table: object) -> object:
        name = table["rlnImageName"].iloc[0]  # type: ignore[index]
        table.loc[row_of_the_copy, "rlnImageName"] = name  # type: ignore[attr-defined]
        return table

    return changed(copy)


def same_half_copy(toy: Toy) -> list[object]:
    halves = read_star(toy.particles).blocks["particles"]["rlnRandomSubset"].tolist()
    return copies(halves.index(halves[0], 1))(toy)


def other_half_copy(toy: Toy) -> list[object]:
    halves = read_star(toy.particles).blocks["particles"]["rlnRandomSubset"].tolist()
    return copies(halves.index({"1": "2", "2": "1"}[halves[0]]))(toy)


def classes(toy: Toy) -> list[object]:
    toy.change(lambda table: table.assign(rlnClassNumber=["1"] * 100 + ["2"] * 20))
    return toy.check()


def halves_of(values: list[str]) -> Callable[[Toy], list[object]]:
    return changed(lambda table: table.assign(rlnRandomSubset=values))  # type: ignore[attr-defined]


def word_for_an_angle(table: object) -> object:
    table.loc[7, "rlnAnglePsi"] = "oops"  # type: ignore[attr-defined]
    return table


def comma_for_a_point(table: object) -> object:
    table.loc[7, "rlnDefocusU"] = "15000,25"  # type: ignore[attr-defined]
    return table


def not_a_number(table: object) -> object:
    table.loc[7, "rlnDefocusU"] = "nan"  # type: ignore[attr-defined]
    return table


FAULTS = [
    Fault("S-01", "no such file", misspelt, 3, ("particle.star", "no such file", "particles.star?")),
    Fault("S-01", "a job's folder", folder, 3, ("folder", "did you mean", "run_data.star?")),
    Fault("S-01", "an empty file", edited(lambda text: ""), 3, ("particles.star", "an empty file", "run_data.star")),
    Fault("S-02", "line ends of Windows", in_bytes(lambda raw: raw.replace(b"\n", b"\r\n")), 0,
          ("particles: 120 used", "CRLF", "dos2unix")),
    Fault("S-03", "a row with a field too many",
          edited(lambda text: text.replace(rows_of(text)[8], rows_of(text)[8] + " 5")), 3,
          ("particles.star, row 8", "values, _rlnImageName to", "Fix: correct line")),
    Fault("S-03", "a row with a field too few",
          edited(lambda text: text.replace(rows_of(text)[8], rows_of(text)[8].rsplit(None, 1)[0])), 3,
          ("particles.star, row 8", "values, _rlnImageName to", "Fix: correct line")),
    Fault("S-04", "some particles are in no half", halves_of(["0"] * 7 + ["1", "2"] * 56 + ["1"]), 3,
          ("column rlnRandomSubset, row 0", "'0' (7 such rows)", "3D auto-refinement")),
    Fault("S-04", "a third half", halves_of(["3"] + ["1", "2"] * 59 + ["1"]), 3,
          ("column rlnRandomSubset, row 0", "'3' (1 such rows)", "3D auto-refinement")),
    Fault("S-04", "halves as decimals", halves_of(["1.0", "2.0"] * 60), 0, GOOD),
    Fault("S-05", "no halves", changed(lambda table: table.drop(columns="rlnRandomSubset")), 0,  # type: ignore[attr-defined]
          ("drawn with seed 0", "no rlnRandomSubset", "share the poses of the consensus")),
    Fault("S-06", "a label twice", edited(lambda text: text.replace("_rlnAngleTilt", "_rlnAngleRot")), 3,
          ("particles.star", "_rlnAngleRot is given twice", "found lines")),
    Fault("S-07", "labels that nobody knows", changed(lambda table: table.assign(myOwnColumn="x y")), 0, GOOD),  # type: ignore[attr-defined]
    Fault("S-08", "a word for a number", changed(word_for_an_angle), 3,
          ("column rlnAnglePsi, row 7", "expected a number", "'oops'")),
    Fault("S-08", "a decimal comma", changed(comma_for_a_point), 3,
          ("column rlnDefocusU, row 7", "expected a number", "'15000,25'")),
    Fault("S-08", "a value that is not a number", changed(not_a_number), 0,
          ("particles: 119 used", "1 of 120 particles excluded, first row 7", "defocus u")),
    Fault("S-09", "a file of RELION 3.0", old_file, 0, ("particles: 120 used", "pixels of 6 Å", "nothing wrong")),
    Fault("S-09", "one that lacks optics", old_file_without_voltage, 3,
          ("column rlnVoltage", "found no rlnVoltage rlnAmplitudeContrast", "add the column")),
    Fault("S-10", "optics after particles", edited(optics_last), 0, GOOD),
    Fault("S-11", "tabs and blank lines", edited(tabs_and_blank_lines), 0, GOOD),
    Fault("S-12", "blanks in paths, double quotes", in_a_folder_with_blanks('"'), 0, GOOD),
    Fault("S-12", "blanks in paths, single quotes", in_a_folder_with_blanks("'"), 0, GOOD),
    Fault("S-13", "no particles", edited(without_rows), 3,
          ("particles.star", "labels and no rows", "table of a job that kept particles")),
    Fault("S-14", "a tilt series", changed(lambda table: table.assign(rlnTomoVisibleFrames="[1,1]")), 3,  # type: ignore[attr-defined]
          ("particles.star", "a particle in a tomogram needs this column", "a table of RELION 5")),
    Fault("S-15", "positions instead of particles", positions, 3,
          ("column rlnImageName", "a table of positions on micrographs", "run_data.star")),
    Fault("S-16", "cut in its last row", edited(lambda text: text.rstrip().rsplit(None, 1)[0] + "\n"), 3,
          ("particles.star, row 119", "seems to be cut", "copy the file again")),
    Fault("S-16", "cut in its last field", edited(lambda text: text.rstrip()), 0,
          ("warning", "particles.star", "was it cut")),
    Fault("S-17", "an image twice in a half", same_half_copy, 0,
          ("warning", "1 particles show an image that is listed before", "particles: 120 used")),
    Fault("S-17", "an image in both halves", other_half_copy, 3,
          ("column rlnRandomSubset", "1 images are in both half-sets", "remove the copies")),
    Fault("S-20", "a map for a table", a_map_for_a_table, 3, ("consensus.mrc", "an MRC file", "run_data.star")),
    Fault("S-20", "bytes of no text", in_bytes(lambda raw: raw.replace(b"opticsGroup", b"optics\0\0\0\0\0")), 3,
          ("particles.star", "not a text file", "star.not-text")),
    Fault("S-20", "the mark of UTF-8", in_bytes(lambda raw: b"\xef\xbb\xbf" + raw), 0, GOOD),
    Fault("S-21", "several classes", classes, 0, ("2 classes", "class 1: 100, class 2: 20", "--class K")),
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.row}-{fault.given}")
def test_fault(fault: Fault, toy: Toy, command: Command) -> None:
    prove(fault, toy, command)


def test_S_07_columns_that_nobody_knows_reach_the_output(toy: Toy, command: Command) -> None:
    toy.change(lambda table: table.assign(myOwnColumn=[f"value {i}" for i in range(len(table))]))
    assert command(*toy.train()).code == 0
    written = read_star(toy.run / "particles.star").blocks["particles"]
    given = read_star(toy.particles).blocks["particles"]
    assert written["myOwnColumn"].tolist() == given["myOwnColumn"].tolist()


def test_S_21_one_class_can_be_chosen(toy: Toy, command: Command) -> None:
    toy.change(lambda table: table.assign(rlnClassNumber=["1"] * 40 + ["2"] * 80))
    outcome = command(*toy.train("--class", 3))
    assert (outcome.code, "class 1: 40, class 2: 80" in outcome.err) == (3, True), outcome.err
    assert "[particles.no-such-class]" in outcome.error_line()
    assert command(*toy.train("--class", 2)).code == 0
    written = read_star(toy.run / "particles.star").blocks["particles"]
    assert len(written) == 120
    assert (written["dynaflexLatent1"] == "nan").tolist() == [True] * 40 + [False] * 80


def test_S_18_many_rows_are_all_there(tmp_path: Path) -> None:
    labels = ["rlnImageName", "rlnAngleRot", "rlnMicrographName"]
    header = "data_particles\n\nloop_\n" + "".join(f"_{label} #{i}\n" for i, label in enumerate(labels, 1))
    rows = "".join(f"{i:06d}@s{i // 100}.mrcs {i / 7:.6f} m{i // 100}.mrc\n" for i in range(50_000))
    (tmp_path / "many.star").write_text(header + rows)
    table = read_star(tmp_path / "many.star").blocks["particles"]
    assert len(table) == 50_000
    assert table.iloc[-1].tolist() == ["049999@s499.mrcs", f"{49999 / 7:.6f}", "m499.mrc"]
