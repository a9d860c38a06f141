"""Laws of images that are read from a cache: those of the stacks, to the bit, and never all of them in memory."""

from __future__ import annotations

import shutil
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from cache.conftest import TRAIN_BOX, told
from dynaflex.cache.folder import CachePlan, made
from dynaflex.cache.stored import PRECISION, StoredImages, rounded
from dynaflex.config import MapConfig
from dynaflex.data.image_files import ImageFiles
from dynaflex.data.preprocess import fourier_crop, normalise
from dynaflex.data.treatment import Treatment
from dynaflex.errors import InputError
from dynaflex.imaging.ctf import CtfParams
from dynaflex.prepare.fingerprint import of_images, of_prepared
from dynaflex.prepare.half import WINDOW, HalfSet, keyed_generator, mixed
from dynaflex.prepare.inputs import InputPaths, Inputs, read_inputs
from dynaflex.prepare.memory import at_hand, memory_need
from dynaflex.results.reopen import remember
from dynaflex.run.directory import Run

CPU = torch.device("cpu")


def stored(inputs: Inputs, folder: Path) -> Inputs:
    """The inputs with their images in a cache."""
    folder.mkdir(exist_ok=True)
    run = Run.create(folder / "run", "flex", {}, {})
    remember(run, inputs)
    return at_hand(run, inputs, folder / "cache", make=True)


@pytest.fixture(scope="module")
def ready(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Inputs:
    return stored(inputs, tmp_path_factory.mktemp("ready"))


@pytest.mark.parametrize("which", ["imaging", "full_imaging"])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 64])
def test_an_image_is_the_same_from_stack_and_cache_whatever_is_read_with_it(
    inputs: Inputs, ready: Inputs, which: str, size: int
) -> None:
    from_stack, from_cache = getattr(inputs, which), getattr(ready, which)
    assert from_cache.stored is not None and from_stack.stored is None
    for index in torch.randperm(len(inputs.particles), generator=keyed_generator(size)).split(size):
        images = from_cache.normalise(ready.particles, index)
        assert images.dtype == PRECISION and images.shape[-1] == from_stack.grid.box
        assert torch.equal(images, from_stack.normalise(inputs.particles, index))


@pytest.mark.parametrize("size", [1, 2, 5, 16])
def test_nor_does_it_matter_where_what_was_done_to_images_is_undone(inputs: Inputs, size: int) -> None:
    count = len(inputs.particles)
    stretch = np.where(np.arange(count)[:, None, None] % 3, np.eye(2), np.array([[1.02, 0.01], [0.0, 0.98]]))
    flipped = np.arange(count) % 4 == 1
    particles = replace(inputs.particles, treatment=Treatment(stretch, flipped, ~flipped & (np.arange(count) % 5 == 0)))
    whole = inputs.imaging.normalise(particles, torch.arange(count))
    parts = [inputs.imaging.normalise(particles, index) for index in torch.arange(count).split(size)]
    assert torch.equal(torch.cat(parts), whole)


def test_a_cache_reads_every_image_once_and_then_none(
    inputs: Inputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, from_disk = [], ImageFiles.read

    def counted(files: ImageFiles, index: np.ndarray, *more: Any) -> Any:
        read.extend(index.tolist())
        return from_disk(files, index, *more)

    monkeypatch.setattr(ImageFiles, "read", counted)
    ready = stored(inputs, tmp_path)
    assert sorted(read) == list(range(len(inputs.particles)))
    for imaging in (ready.imaging, ready.full_imaging):
        HalfSet(ready.particles, 0, imaging, CPU).normalised(torch.arange(len(ready.particles)))
    assert len(read) == len(inputs.particles) and memory_need(ready) == 0 < memory_need(inputs)


def test_an_image_that_cannot_be_used_is_refused_and_nothing_is_left(few: Path, tmp_path: Path) -> None:
    shutil.copytree(few, tmp_path / "few")
    with (tmp_path / "few" / "particles.mrcs").open("r+b") as stream:
        stream.seek(-4 * 32 * 32, 2)
        stream.write(np.full(32 * 32, np.nan, dtype="<f4").tobytes())
    paths = InputPaths(*(tmp_path / "few" / name for name in ("particles.star", "consensus.mrc", "mask.mrc")))
    with pytest.raises(InputError, match=r"particles\.bad-image"):
        stored(read_inputs(paths, MapConfig()), tmp_path)
    assert {path.suffix for path in (tmp_path / "cache").iterdir()} == {".lock"}


def test_rounding_is_far_below_the_noise(inputs: Inputs) -> None:
    index = torch.arange(len(inputs.particles))
    imaging, particles = inputs.full_imaging, inputs.particles
    read = particles.restored(particles.images(index.numpy()), index.numpy(), imaging.diameter)
    exact = normalise(fourier_crop(read, imaging.grid.box), imaging._mask(particles, index))
    error = (imaging.normalise(particles, index).double() - exact.double()).square().mean().sqrt()
    assert 0.0 < float(error) < 5e-4
    wild = rounded(torch.tensor([[[1e9, -1e9]]]))
    assert bool(wild.isfinite().all())


def settings_of_the_key(inputs: Inputs) -> dict[str, Any]:
    """One change each of all that decides what images become, as ``(particles, imagings, stacks)``."""
    particles, both = inputs.particles, [inputs.imaging, inputs.full_imaging]
    stacks = of_images(particles.image_paths)
    grid = inputs.imaging.grid.cropped(16)
    treated, files = particles.treatment, particles.files
    some = np.arange(len(particles)) < 3
    changed = {
        "stack": (particles, both, [{**stacks[0], "digest": "0"}]),
        "time": (particles, both, [{**stacks[0], "changed": 0}]),
        "size": (particles, both, [{**stacks[0], "size": 0}]),
        "rows": (particles.take(np.arange(len(particles))[::-1].copy()), both, stacks),
        "half": (replace(particles, half=3 - particles.half), both, stacks),
        "shift": (replace(particles, pose=replace(particles.pose, shift=particles.pose.shift + 1.0)), both, stacks),
    }
    for name, value in (("grid", grid), ("diameter", 50.0), ("edge", 5.0), ("sign", -1.0)):
        changed[name] = (particles, [replace(both[0], **{name: value}), both[1]], stacks)
    for name, values in (("magnification", treated.magnification * 1.1), ("flipped", some), ("multiplied", some)):
        changed[name] = (replace(particles, treatment=replace(treated, **{name: values})), both, stacks)
    for name in ("stack", "index", "sign", "native"):
        other = replace(files, **{name: getattr(files, name)[::-1] + 1})
        changed[f"files.{name}"] = (replace(particles, files=other), both, stacks)
    flipped = changed["flipped"][0]
    for name, value in particles.ctf.terms().items():
        if value.numel():
            ctf = CtfParams.of(particles.ctf.terms() | {name: value + 1.0})
            changed[f"ctf.{name}"] = (replace(flipped, ctf=ctf), both, stacks)
    return changed


def test_whatever_changes_an_image_asks_for_another_cache(inputs: Inputs) -> None:
    stacks = of_images(inputs.particles.image_paths)
    keys = {name: of_prepared(*given) for name, given in settings_of_the_key(inputs).items()}
    keys["as given"] = of_prepared(inputs.particles, [inputs.imaging, inputs.full_imaging], stacks)
    assert len(keys) > 20 and len(set(keys.values())) == len(keys)
    # Optics that no image was multiplied by change nothing, nor does the place where a stack lies.
    later = replace(inputs.particles, ctf=replace(inputs.particles.ctf, defocus_u=inputs.particles.ctf.defocus_u + 9.0))
    elsewhere = [{**stacks[0], "path": "/elsewhere"}]
    assert of_prepared(later, [inputs.imaging, inputs.full_imaging], elsewhere) == keys["as given"]


def test_a_stack_that_changes_is_noticed(few: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(few, tmp_path / "few"))
    paths = InputPaths(*(data / name for name in ("particles.star", "consensus.mrc", "mask.mrc")))
    folders = []
    for value in (None, 50.0):
        if value is not None:
            with (data / "particles.mrcs").open("r+b") as stream:
                stream.seek(-4, 2)
                stream.write(np.float32(value).tobytes())
        ready = stored(read_inputs(paths, MapConfig(train_box=TRAIN_BOX)), tmp_path / f"{value}")
        last = torch.tensor([len(ready.particles) - 1])
        plain = replace(ready.full_imaging, stored=None)
        assert torch.equal(plain.normalise(ready.particles, last), ready.full_imaging.normalise(ready.particles, last))
        assert ready.imaging.stored is not None
        folders.append(ready.imaging.stored.path.parent.name)
    assert folders[0] != folders[1]


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that an operation of torch makes."""

    bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, list | tuple) else [out]:
            if isinstance(tensor, torch.Tensor):
                self.bytes = max(self.bytes, tensor.numel() * tensor.element_size())
        return out


def test_memory_does_not_grow_with_the_number_of_images(ready: Inputs) -> None:
    """An epoch of four and of sixteen times as many particles: what is added is less than a tenth of their images."""
    peaks = []
    for times in (4, 16):
        particles = ready.particles.take(np.tile(np.arange(len(ready.particles)), times))
        tracemalloc.start()
        with Largest() as largest:
            data = HalfSet(particles, 1, ready.imaging, CPU)
            for batch in data.batches(torch.arange(len(data)), 16, 2, (0,)):
                assert batch.coefficients.shape == (16, TRAIN_BOX, TRAIN_BOX // 2 + 1)
        peaks.append((tracemalloc.get_traced_memory()[1] + largest.bytes, len(data)))
        tracemalloc.stop()
    (small, few), (large, many) = peaks
    assert large - small < 0.1 * 2 * TRAIN_BOX**2 * (many - few)


def test_making_a_cache_takes_no_more_memory_for_more_images(tmp_path: Path) -> None:
    peaks = []
    for count in (1000, 4000):
        plan = CachePlan(str(count), np.arange(count), np.arange(count), {"train": 8, "full": 16})
        tracemalloc.start()
        with Largest() as largest:
            made(tmp_path, plan, told)
        peaks.append(tracemalloc.get_traced_memory()[1] + largest.bytes)
        tracemalloc.stop()
    assert peaks[1] - peaks[0] < 0.1 * 3000 * 2 * (8**2 + 16**2)


@pytest.mark.parametrize("count", [1, 64, WINDOW, 3 * WINDOW + 100])
def test_an_epoch_mixes_all_and_reads_few_places_at_a_time(count: int) -> None:
    order = mixed(count, keyed_generator(1))
    assert torch.equal(order.sort().values, torch.arange(count))
    if count <= WINDOW:
        assert torch.equal(order, torch.randperm(count, generator=keyed_generator(1)))
    for window in order.split(WINDOW):
        assert len(torch.unique(window // 64)) <= WINDOW // 64 + 2
    apart = (order.diff().abs() > 64).double().mean()
    assert count < 1000 or float(apart) > 0.95, "neighbours in the table are far from each other"


def test_what_is_fetched_ahead_is_what_is_read(ready: Inputs, monkeypatch: pytest.MonkeyPatch) -> None:
    announced: list[int] = []
    monkeypatch.setattr(StoredImages, "expect", lambda _own, rows: announced.extend(rows.tolist()))
    data = HalfSet(ready.particles, 0, ready.imaging, CPU)
    read = []
    for batch in data.batches(torch.arange(100), 4, 2, (3,), skip=2):
        read += data.particles.rows[batch.index.numpy()].tolist()
        assert set(read) <= set(announced)
    assert announced[: len(read)] == read and len(read) == 92


def test_copies_by_symmetry_have_one_place(few: Path, tmp_path: Path) -> None:
    paths = InputPaths(few / "particles.star", few / "consensus.mrc", None)
    inputs = read_inputs(paths, MapConfig(train_box=TRAIN_BOX))
    copies = inputs.particles.take(np.repeat(np.arange(len(inputs.particles)), 3))
    expanded = replace(inputs, particles=replace(copies, rows=np.arange(len(copies))))
    found = stored(expanded, tmp_path)
    for imaging in (found.imaging, found.full_imaging):
        assert imaging.stored is not None
        assert imaging.stored.path.stat().st_size == 2 * len(inputs.particles) * imaging.grid.box**2
    half = found.particles.take(found.members(2))
    index = torch.randperm(len(half), generator=keyed_generator(0))[:40]
    from_stack = HalfSet(expanded.particles.take(expanded.members(2)), 2, expanded.imaging, CPU)
    assert torch.equal(HalfSet(half, 2, found.imaging, CPU).normalised(index), from_stack.normalised(index))


def test_on_another_grid_nothing_is_stored(ready: Inputs, inputs: Inputs) -> None:
    other = inputs.imaging.grid.cropped(16)
    assert ready.imaging.on(ready.imaging.grid) is ready.imaging and ready.imaging.on(other).stored is None
