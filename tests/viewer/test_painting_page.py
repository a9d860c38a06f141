"""What the painters of a surface draw from numbers that are given: arrows, colours, and what hides what."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from viewer.browsing import Visit, next_link, visited
from viewer.conftest import Explorer


@pytest.fixture(scope="module")
def visit(browser: Any, finished_run: Path, start: Callable[..., Explorer]) -> Visit:
    explorer = start(finished_run)
    return visited(browser, finished_run, explorer, next_link(explorer))


def test_arrows_end_where_the_model_puts_their_beginnings(visit: Visit) -> None:
    found = visit.ask("""async () => {
      const { arrowMesh } = await import('/static/solids.js');
      const mesh = arrowMesh(Float32Array.from([1, 2, 3, 0, 10, 0, 0, 0, 0, 0.1, 0, 0]), 2, 0.5, () => [1, 2, 3]);
      const y = [...mesh.positions].filter((_, i) => i % 3 === 1);
      let inwards = 0;
      for (let i = 0; i < mesh.indices.length; i += 3) {
        const at = (vertex) => [...mesh.positions.subarray(3 * vertex, 3 * vertex + 3)];
        const [a, b, c] = [0, 1, 2].map((k) => at(mesh.indices[i + k]));
        const [u, v] = [b, c].map((p) => p.map((value, k) => value - a[k]));
        const cross = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
        const normal = mesh.normals.subarray(4 * mesh.indices[i], 4 * mesh.indices[i] + 3);
        inwards += cross[0] * normal[0] + cross[1] * normal[1] + cross[2] * normal[2] < -1e-3;
      }
      return { low: Math.min(...y), high: Math.max(...y), inwards, count: mesh.indices.length };
    }""")
    # The second arrow is too short to be seen.
    assert found["low"] == pytest.approx(2.0) and found["high"] == pytest.approx(22.0)
    assert found["inwards"] == 0 and found["count"] == 3 * 36


def test_parts_have_the_colours_of_their_own_motion_or_place(visit: Visit) -> None:
    found = visit.ask("""async () => {
      const { gaussiansOf, meshOf, tableOf } = await import('/static/bodies.js');
      const rest = Float32Array.from([1, 2, 3, 10, 20, 30, -5, 0, 0]);
      const moved = Float32Array.from([1, 2, 3, 10, 23, 34, 5, 0, 0]);
      const parts = { layers: ['rest', 'local_resolution', 'faces', 'segment'], radius: 2,
        data: [rest, Float32Array.from([4, 8, 6]), Uint32Array.from([0, 1, 2]), Uint8Array.from([1])] };
      const message = (id) => ({ layers: ['parts'], data: [moved], colour: id && { id }, width: 100 });
      const look = { filled: true, bySegment: false };
      const first = (mesh) => [...mesh.paints.subarray(0, 12)];
      const at = (id, i) => [...tableOf(id).subarray(4 * i, 4 * i + 4)];
      return {
        moved: [[...gaussiansOf(message('displacement'), parts, [0, 10]).paints],
          [at('displacement', 0), at('displacement', 128), at('displacement', 255)].flat()],
        placed: [first(meshOf(message('local_resolution'), parts, [4, 8], look)),
          [at('local_resolution', 0), at('local_resolution', 255), at('local_resolution', 128)].flat()],
        plain: first(meshOf(message(null), parts, [4, 8], look)),
        segment: first(meshOf(message(null), parts, [4, 8], { filled: true, bySegment: true })),
      };
    }""")
    for painted, expected in (found["moved"], found["placed"]):
        assert painted == expected
    assert found["plain"] != found["segment"] and found["segment"][:4] == found["segment"][4:8]


@pytest.mark.parametrize("kind", ["webgl", "canvas"])
def test_what_is_nearer_hides_what_is_behind(visit: Visit, kind: str) -> None:
    """A square, a ball and a surface one behind the other, from the front and from the back; both painters agree."""
    colours = visit.ask("""async (kind) => {
      const { Camera } = await import('/static/camera.js');
      const { painter } = await import('/static/mesh_painter.js');
      const { CanvasPainter } = await import('/static/canvas_painter.js');
      const canvas = Object.assign(document.createElement('canvas'), { width: 64, height: 64 });
      const one = kind === 'webgl' ? painter(canvas) : new CanvasPainter(canvas);
      const square = (z, more) => ({
        positions: Float32Array.from([-5, -5, z, 5, -5, z, 5, 5, z, -5, 5, z]),
        normals: Int8Array.from([0, 0, 127, 0, 0, 0, 127, 0, 0, 0, 127, 0, 0, 0, 127, 0]),
        indices: Uint32Array.from([0, 1, 2, 0, 2, 3]), ...more,
      });
      const [red, green] = [[255, 0, 0, 255], [0, 255, 0, 255]].map((colour) => Uint8Array.from(colour));
      one.load('solids', square(-4, { paints: Uint8Array.from([...red, ...red, ...red, ...red]) }));
      one.load('points', { positions: Float32Array.from([0, 0, 0]), paints: green, radius: 2 });
      one.load('surface', square(6, { colours: null }));
      const camera = new Camera();
      const look = { plain: [0, 0, 1], behind: [1, 1, 1], table: null, limits: [0, 1] };
      const pixel = (x, y) => {
        const copy = Object.assign(document.createElement('canvas'), { width: 64, height: 64 }).getContext('2d');
        copy.drawImage(canvas, 0, 0);
        return [...copy.getImageData(x, y, 1, 1).data].slice(0, 3);
      };
      const seen = {};
      const sides = { front: [1, 0, 0, 0, 1, 0, 0, 0, 1], back: [-1, 0, 0, 0, 1, 0, 0, 0, -1] };
      for (const [side, rotation] of Object.entries(sides)) {
        camera.frame([0, 0, 0], 10, rotation);
        for (const surface of ['whole', 'seeThrough', 'hidden']) {
          one.paint(camera, { ...look, surface });
          seen[`${side} ${surface}`] = [pixel(32, 32), pixel(22, 22), pixel(2, 2)];
        }
      }
      return seen;
    }""", kind)  # fmt: skip
    main = {key: [int(np.argmax(one)) for one in seen[:2]] for key, seen in colours.items()}
    red, green, blue = 0, 1, 2
    assert main["front whole"] == [blue, blue] and main["front hidden"] == [green, red]
    assert main["back whole"] == [red, red] == main["back hidden"] == main["back seeThrough"]
    middle, beside, outside = colours["front seeThrough"]
    assert middle[green] > 40 < middle[blue] and middle[red] < middle[green]
    assert beside[red] > 40 < beside[blue] and beside[green] < beside[red]
    assert outside == [255, 255, 255]


def test_all_went_well(visit: Visit) -> None:
    assert visit.troubles == []
