"""The pages and answers of the explorer, as an ASGI application."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from functools import partial
from importlib.resources import files
from typing import Any

import anyio
import numpy as np
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dynaflex.errors import DynaflexError, UsageError
from dynaflex.viewer.access import Keys
from dynaflex.viewer.answers.archive import Shown, archive
from dynaflex.viewer.answers.counterparts import with_counterparts
from dynaflex.viewer.answers.wire import pack, unpack
from dynaflex.viewer.opened import OpenedRun, Verdicts
from dynaflex.viewer.questions import choice, numbers, rows, whole

_TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_WORTH_PACKING = 1 << 12
_NEAREST = 96
"""How many particles stand for a conformation where their images are shown."""


def explorer(opened: OpenedRun, keys: Keys, verdicts: Verdicts) -> Starlette:
    """The application without its :class:`~dynaflex.viewer.access.Guard`."""
    answers = _Answers(opened, keys, verdicts)
    routes = [
        Route("/", answers.file),
        Route("/static/{name:path}", answers.file),
        Route("/api/run", answers.run),
        Route("/api/columns", answers.columns),
        Route("/api/column/{id}", answers.column),
        Route("/api/conformation", answers.conformation),
        Route("/api/parts", answers.parts),
        Route("/api/path", answers.path),
        Route("/api/dense_path", answers.dense_path),
        Route("/api/places", answers.places),
        Route("/api/images", answers.images),
        Route("/api/nearest", answers.nearest),
        Route("/api/map/{id}", answers.map),
        Route("/api/section/{id}", answers.section),
        Route("/api/curves", answers.curves),
        Route("/api/verdicts", answers.verdicts),
        Route("/api/progress", answers.progress),
        Route("/api/selections", answers.selections, methods=["GET"]),
        Route("/api/selections", answers.save_selection, methods=["POST"]),
        Route("/api/archive", answers.archive, methods=["POST"]),
        Route("/api/counterparts", answers.counterparts, methods=["POST"]),
        Route("/api/averages", answers.averages, methods=["POST"]),
        Route("/api/path_maps", answers.path_maps, methods=["GET"]),
        Route("/api/path_maps", answers.make_path_maps, methods=["POST"]),
        Route("/api/path_map/{node:int}", answers.path_map),
    ]
    app = Starlette(
        routes=routes, exception_handlers={DynaflexError: _refused, KeyError: _unknown, ClientDisconnect: _gone}
    )
    app.router.redirect_slashes = False
    return app


class _Answers:
    """One method per route. What is slow happens in a thread.

    The model is asked by one request at a time, and so are the particle table, which can take long to read the first
    time, and the images; none waits for the other.
    """

    def __init__(self, opened: OpenedRun, keys: Keys, verdicts: Verdicts) -> None:
        self.opened, self.keys, self._verdicts = opened, keys, verdicts
        self._model, self._table, self._images = (anyio.CapacityLimiter(1) for _ in range(3))
        # The whole catalogue of files, read once: a request can name one of these, and nothing else.
        folders = {"": files("dynaflex.viewer") / "static", "vendor/": files("dynaflex") / "vendor"}
        self._files = {
            f"{prefix}{entry.name}": entry.read_bytes()
            for prefix, folder in folders.items()
            for entry in folder.iterdir()
            if entry.is_file()
        }

    async def file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        content = self._files[name]
        kind = _TYPES.get(name[name.rfind(".") :], "application/octet-stream")
        return Response(content, media_type=kind)

    async def run(self, request: Request) -> Response:
        return JSONResponse({**await run_sync(self.opened.summary, limiter=self._table), "key": self.keys.csrf})

    async def columns(self, request: Request) -> Response:
        return JSONResponse(await run_sync(self.opened.columns, limiter=self._table))

    async def column(self, request: Request) -> Response:
        return await self._binary(request, partial(self.opened.column, request.path_params["id"]), self._table)

    async def conformation(self, request: Request) -> Response:
        query = request.query_params
        half, size = whole(query.get("half", "1")), query.get("size", "fine")
        colour, more = query.get("colour", "displacement"), tuple(sorted(set(query.getlist("more"))))

        def decoded() -> bytes:
            asked = self.opened.conformations()
            if "z" in query:
                shown = asked.of(half, np.asarray(numbers(query["z"]), dtype=np.float32))
            else:
                (u, v) = numbers(query.get("at", ""), 2)
                shown = asked.at(half, (query.get("x", ""), query.get("y", "")), (u, v))
            return asked.packed(half, shown, size, None if colour == "none" else colour, more)

        return await self._binary(request, decoded, self._model)

    async def parts(self, request: Request) -> Response:
        half = whole(request.query_params.get("half", "1"))
        return await self._binary(request, lambda: self.opened.conformations().parts(half), self._model)

    async def path(self, request: Request) -> Response:
        query = request.query_params
        half, frames = (whole(query.get(name, "")) for name in ("half", "frames"))
        return await self._json(
            lambda: self.opened.conformations().path_along(half, query.get("axis", ""), frames), self._model
        )

    async def dense_path(self, request: Request) -> Response:
        query = request.query_params
        half, frames = (whole(query.get(name, "")) for name in ("half", "frames"))
        stops = rows(query.get("through", ""))
        return await self._json(lambda: self.opened.conformations().dense_path(half, frames, stops), self._table)

    async def places(self, request: Request) -> Response:
        query = request.query_params
        half, names = whole(query.get("half", "")), (query.get("x", ""), query.get("y", ""))
        latents = rows(query.get("z", ""))
        return await self._json(lambda: self.opened.conformations().places(half, names, latents), self._table)

    async def images(self, request: Request) -> Response:
        query = request.query_params
        listed = np.array([whole(row) for row in query.get("rows", "").split(",")], dtype=np.int64)
        (resolution,) = numbers(query.get("resolution", ""), 1)
        return await self._binary(request, partial(self.opened.images, listed, resolution), self._images)

    async def averages(self, request: Request) -> Response:
        header, content = unpack(await request.body())
        (resolution,) = numbers(str(header.get("resolution", "")), 1)

        def found() -> bytes:
            return self.opened.averages(choice(content, len(self.opened.particles())), resolution)

        return await self._binary(request, found, self._images)

    async def path_maps(self, request: Request) -> Response:
        return JSONResponse(self.opened.path_maps())

    async def make_path_maps(self, request: Request) -> Response:
        header, _ = unpack(await request.body())
        half, nodes = whole(str(header.get("half", ""))), rows(str(header.get("z", "")))
        found = await run_sync(self.opened.make_path_maps, half, nodes, limiter=self._model)
        return JSONResponse(found, 202)

    async def path_map(self, request: Request) -> Response:
        return await self._binary(request, partial(self.opened.path_map, request.path_params["node"]), self._table)

    async def nearest(self, request: Request) -> Response:
        query = request.query_params
        half, z = whole(query.get("half", "")), np.asarray(numbers(query.get("z", "")), dtype=np.float32)
        return await self._json(lambda: self.opened.conformations().nearest(half, z, _NEAREST), self._table)

    async def map(self, request: Request) -> Response:
        name, colour = request.path_params["id"], request.query_params.get("colour")
        return await self._binary(request, partial(self.opened.map, name, colour), self._model)

    async def section(self, request: Request) -> Response:
        name, axis = request.path_params["id"], request.query_params.get("axis", "")
        at = whole(request.query_params.get("at", ""))
        return await self._binary(request, partial(self.opened.section, name, axis, at), self._model)

    async def curves(self, request: Request) -> Response:
        return JSONResponse(await run_sync(self.opened.curves))

    async def verdicts(self, request: Request) -> Response:
        return JSONResponse(await run_sync(self._verdicts))

    async def progress(self, request: Request) -> Response:
        since = whole(request.query_params.get("since", "0"))
        return JSONResponse(await run_sync(self.opened.progress, since))

    async def selections(self, request: Request) -> Response:
        return JSONResponse(await run_sync(self.opened.selections.listed))

    async def save_selection(self, request: Request) -> Response:
        header, content = unpack(await request.body())

        def save() -> dict[str, Any]:
            particles = self.opened.particles()
            name, how = str(header.get("name", "")), str(header.get("how", ""))[:1000]
            return self.opened.selections.save(name, choice(content, len(particles)), particles, how)

        return JSONResponse(await run_sync(save, limiter=self._table), 201)

    async def archive(self, request: Request) -> Response:
        header, _ = unpack(await request.body())
        told = {name: str(header.get(name, "")) for name in ("half", "z", "level", "colour", "limits", "times")}
        half, latents = whole(told["half"]), rows(told["z"])
        (level,), limits = numbers(told["level"], 1), numbers(told["limits"], 2)
        colour = (told["colour"], (limits[0], limits[1])) if told["colour"] else None
        shown = Shown(level, colour, numbers(told["times"], 1)[0] if told["times"] else None)
        return await self._json(lambda: archive(self.opened.conformations(), half, latents, shown), self._model)

    async def counterparts(self, request: Request) -> Response:
        _, content = unpack(await request.body())

        def found() -> bytes:
            stage = self.opened.stage()
            chosen = with_counterparts(stage, choice(content, len(stage.particles)))
            return pack({"layers": ["chosen"]}, chosen.astype(np.uint8))

        return await self._binary(request, found, self._table)

    async def _json(self, work: Callable[[], Any], limiter: anyio.CapacityLimiter) -> Response:
        return JSONResponse(await run_sync(work, limiter=limiter))

    async def _binary(self, request: Request, work: Callable[[], bytes], limiter: anyio.CapacityLimiter) -> Response:
        packs = "gzip" in request.headers.get("accept-encoding", "")

        def packed() -> tuple[bytes, dict[str, str]]:
            content = work()
            if not packs or len(content) < _WORTH_PACKING:
                return content, {}
            return gzip.compress(content, compresslevel=1, mtime=0), {"content-encoding": "gzip"}

        content, headers = await run_sync(packed, limiter=limiter)
        return Response(content, media_type="application/octet-stream", headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, DynaflexError)
    code = 409 if error.identifier == "view.selection-taken" else 400 if isinstance(error, UsageError) else 422
    return JSONResponse({"error": error.problem, "fix": error.fix, "id": error.identifier}, code)


async def _unknown(request: Request, error: Exception) -> Response:
    return PlainTextResponse("there is no such thing\n", 404)


async def _gone(request: Request, error: Exception) -> Response:
    return PlainTextResponse("too large\n", 413)
