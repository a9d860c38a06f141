"""Meshes between files, which hold arrays, and the mathematics, which takes tensors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from dynaflex.errors import InputError
from dynaflex.grid import Grid
from dynaflex.io.foreign.product_mesh import read_product_mesh
from dynaflex.io.mesh_file import MeshArrays, read_mesh, write_mesh
from dynaflex.mesh.segments import LabelledMesh
from dynaflex.mesh.tetmesh import TetMesh, validated

_PICKLE_MARK = b"\x80"


def load_mesh(path: Path | str) -> LabelledMesh:
    """Read a mesh: our own ``.npz``, or the mesh file of cryoSPARC's 3D Flex.

    Raises:
        InputError: missing, damaged, or no mesh; nothing in it is executed.
    """
    path = Path(path)
    stored = read_product_mesh(path) if _is_pickle(path) else read_mesh(path)
    with naming(path):
        mesh = validated(
            TetMesh(
                torch.from_numpy(stored.vertices),
                torch.from_numpy(stored.cells),
                torch.from_numpy(stored.weights),
                torch.from_numpy(stored.segment),
                torch.from_numpy(stored.fixed),
            )
        )
    if stored.labels is None or stored.pixel_size is None:
        return LabelledMesh(mesh)
    return LabelledMesh(mesh, torch.from_numpy(stored.labels), Grid(len(stored.labels), stored.pixel_size))


def _is_pickle(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.read(1) == _PICKLE_MARK


def save_mesh(path: Path | str, labelled: LabelledMesh) -> None:
    """Write a mesh as ``.npz``.

    Raises:
        EnvironmentFault: the file cannot be written.
    """
    write_mesh(path, mesh_arrays(labelled))


def mesh_arrays(labelled: LabelledMesh) -> MeshArrays:
    """The mesh as it is stored."""
    mesh = labelled.mesh.to(torch.device("cpu"))
    return MeshArrays(
        mesh.vertices.numpy(),
        mesh.cells.numpy(),
        mesh.weights.numpy(),
        mesh.segment.numpy(),
        mesh.fixed.numpy(),
        None if labelled.labels is None else labelled.labels.cpu().numpy(),
        None if labelled.grid is None else labelled.grid.pixel_size,
    )


@contextmanager
def naming(path: Path | None) -> Iterator[None]:
    """Name the file in errors of the mathematics, which knows of none."""
    try:
        yield
    except InputError as error:
        if error.file is not None or path is None:
            raise
        raise error.but(file=path) from error
