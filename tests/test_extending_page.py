"""The examples of the page on extending do what the page says of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from dynaflex.data.particles import read_particles
from dynaflex.grid import Grid
from dynaflex.imaging.pose import Pose
from dynaflex.io.mrc import write_stack
from dynaflex.io.star import write_star
from dynaflex.reconstruct.operator import Operator
from dynaflex.rotations import random_rotations
from dynaflex.validate.fsc import fourier_shell_correlation
from moved import MovedField
from seen import seen

PAGE = Path(__file__).parents[1] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def example() -> Any:
    """``example("A solver")``: the names that the example of a section defines."""
    sections = dict(part.split("\n", 1) for part in PAGE.read_text(encoding="utf-8").split("\n## ")[1:])

    def run(title: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "example"}
        for code in re.findall(r"^```python\n(.*?)^```$", sections[title], flags=re.MULTILINE | re.DOTALL):
            # Not the future of this file: an example's annotations are objects, as in a file without one.
            exec(compile(code, str(PAGE), "exec", dont_inherit=True), names)
        return names

    return run


def test_the_deformation_is_the_identity_at_first_and_learns_a_bend(example: Any) -> None:
    torch.manual_seed(0)
    bend, points, latents = example("A deformation model")["Bend"](2, 60.0), torch.randn(30, 3) * 20, torch.randn(5, 2)
    assert torch.equal(bend.carry(latents, points), points.expand(5, 30, 3))
    with torch.no_grad():
        bend.directions.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    moved = bend.displacement(latents, points)
    assert torch.allclose(moved[..., :2], latents[:, None] * (points[:, 2:] ** 2 / 60.0), atol=1e-5)
    assert torch.allclose(bend.at(points[3:4])(latents), moved[:, 3:4])
    moved.sum().backward()
    assert bend.directions.grad is not None and bend.directions.grad.abs().min() > 0


def test_the_solver_gives_a_map_back_from_its_images(example: Any) -> None:
    grid, generator = Grid(12, 4.0), torch.Generator().manual_seed(0)
    operator = Operator(MovedField(grid))
    region = operator.field.region
    pose = Pose(random_rotations(60, generator).float(), torch.zeros(60, 2))
    ones = torch.ones(60, grid.box, grid.box // 2 + 1)
    truth = region.from_volume(torch.randn(12, 12, 12, generator=generator))
    views = seen(pose, ones, operator.apply(truth, seen(pose, ones)))
    largest = operator.normal(truth, views).norm() / truth.norm()
    volume = example("A solver")["landweber"](operator.equations(lambda: [views]), float(0.2 / largest))
    shells = fourier_shell_correlation(volume, region.to_volume(truth))
    assert shells[1:5].min() > 0.8


def test_the_input_format_becomes_particles(example: Any, tmp_path: Path) -> None:
    write_stack(tmp_path / "a.mrcs", np.random.default_rng(0).normal(size=(2, 16, 16)).astype(np.float32), 3.0)
    rows = (
        "slice,stack,rot,tilt,psi,dx,dy,df1,df2,dfang",
        "1,a.mrcs,9,9,9,0,1,9e3,8e3,0",
        "2,a.mrcs,0,0,0,2,0,1e4,9e3,45",
    )
    (tmp_path / "p.csv").write_text("\n".join(rows))
    star = example("An input format")["read_csv_particles"](tmp_path / "p.csv", 300.0, 3.0)
    write_star(star, tmp_path / "p.star")
    read = read_particles(tmp_path / "p.star")
    assert len(read.rows) == 2 and read.grid == Grid(16, 3.0)
    assert read.pose.shift.tolist() == [[0.0, 3.0], [6.0, 0.0]]
    assert read.ctf.defocus_u.tolist() == [9000.0, 10000.0]


def test_the_command_counts(example: Any, brief_run: Path) -> None:
    app = typer.Typer()
    app.command()(example("A command")["count_command"])
    asked = [CliRunner().invoke(app, [str(brief_run), *more]) for more in ([], ["--half", "1", "--json"])]
    assert [one.exit_code for one in asked] == [0, 0]
    assert asked[0].stdout == "120 particles\n" and '"particles": ' in asked[1].stdout
