"""A method whose density is a canonical map that a mesh carries, as the pipeline that runs every method sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynaflex.training.method import Config, Method, Plan

if TYPE_CHECKING:
    from dynaflex.model import FlexModel
    from dynaflex.reconstruct.field import Field, Region
    from dynaflex.run.directory import Run
    from dynaflex.shapes import Tensor


class MeshMethod(Method[Config, Plan]):
    """What moves the vertices is the subclass; the mesh takes along all that they carry."""

    def rebase(self, model: FlexModel, origin: Tensor) -> FlexModel:
        """The same model with the conformation ``origin`` ``(k)`` at rest: map, landmarks, mesh and what moves it."""
        from dynaflex.methods.meshed.model import rebased

        return rebased(model, origin)

    def field(self, run: Run, model: FlexModel, latents: Tensor, region: Region) -> Field:
        """Voxels carried by the tetrahedra of the run's mesh."""
        from dynaflex.methods.meshed.model import mesh_field

        return mesh_field(run, model, region)
