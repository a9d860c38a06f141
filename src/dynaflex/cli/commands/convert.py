"""``convert``: other programs' particles as a STAR file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dynaflex.cli.words import counted, typable
from dynaflex.errors import UsageError

if TYPE_CHECKING:
    from dynaflex.io.star import StarFile


def convert_command(
    files: Annotated[list[Path], typer.Argument(help="cryoSPARC's .cs file, or cryoDRGN's poses.pkl and ctf.pkl.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="STAR file to write.")],
    images: Annotated[Path | None, typer.Option(help="With pickles: the stack of the particles, .mrcs.")] = None,
    class_number: Annotated[int | None, typer.Option("--class", help="With a .cs file of several: which one.")] = None,
) -> None:
    """Write particles of cryoSPARC or cryoDRGN as RELION lists them. Nothing that is in a pickle is run."""
    from dynaflex.data.foreign.cryosparc import read_cryosparc
    from dynaflex.io.durable import make_folder
    from dynaflex.io.foreign.cs import looks_like_cs
    from dynaflex.io.star import write_star

    if len(files) == 1 and looks_like_cs(files[0]):
        star = read_cryosparc(files[0], class_number)
    elif len(files) == 2 and images is not None:
        star = _of_cryodrgn(files[0], files[1], images, out)
    else:
        raise UsageError(
            "convert.arguments",
            f"what to convert is not clear from {len(files)} files",
            expected="FILE.cs, or POSES.pkl CTF.pkl --images STACK.mrcs",
        )
    make_folder(out.parent)
    write_star(star, out)
    typer.echo(f"{counted(len(star.blocks['particles']), 'particle')} in {out}")
    typer.echo(f"next: {typable('dynaflex', 'check', out)} --map MAP.mrc --mask MASK.mrc")


def _of_cryodrgn(poses: Path, ctf: Path, images: Path, out: Path) -> StarFile:
    """Names of images are relative to the table, so that both can move together."""
    from dynaflex.data.foreign.cryodrgn import relion_tables
    from dynaflex.io.foreign.pickle_jail import load_arrays_jailed

    name = os.path.relpath(images.absolute(), out.absolute().parent)
    return relion_tables(load_arrays_jailed(poses), load_arrays_jailed(ctf), (poses, ctf), images, name)
