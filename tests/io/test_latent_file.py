"""Laws of reading latents: every program's file gives the same rows, in the table's order, or a clear error."""

from __future__ import annotations

import pickle  # noqa: TID251  (to make what cryoDRGN writes)
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from dynaflex.errors import InputError
from dynaflex.io.durable import write_npz
from dynaflex.io.latent_file import read_latents, standardised

ROWS = 7
LATENTS = np.random.default_rng(0).normal(size=(ROWS, 2)).astype(np.float32)


def ours(path: Path, latents: np.ndarray) -> None:
    order = np.random.default_rng(1).permutation(len(latents))
    write_npz(path, index=order, half=np.ones(len(order)), mean=latents[order], scale=latents[order])


def cryosparc(path: Path, latents: np.ndarray) -> None:
    names = [f"components_mode_{k}/value" for k in range(latents.shape[1])]
    columns = [("uid", "u8"), *((name, "f4") for name in reversed(names)), ("components_mode_0/component", "u4")]
    table = np.zeros(len(latents), dtype=columns)
    for name, values in zip(names, latents.T, strict=True):
        table[name] = values
    saved(path, table)


def saved(path: Path, array: np.ndarray) -> None:
    """What numpy writes as ``.npy``, under any name."""
    with path.open("wb") as stream:
        np.save(stream, array)


def cryodrgn(path: Path, latents: np.ndarray) -> None:
    path.write_bytes(pickle.dumps(latents) + pickle.dumps(np.zeros_like(latents)))


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "latents.npz": ours,
    "plain.npz": lambda path, latents: np.savez(path, z=latents),
    "plain.npy": lambda path, latents: np.save(path, latents),
    "J42_particles.cs": cryosparc,
    "z.19.pkl": cryodrgn,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_of_file_gives_the_same_latents(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, LATENTS)
    found = read_latents(tmp_path / name, ROWS)
    assert found.dtype == torch.float32 and torch.equal(found, torch.from_numpy(LATENTS))


@pytest.mark.parametrize("name", WRITERS)
def test_other_particles_are_refused(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name, LATENTS)
    for rows in (ROWS - 1, ROWS + 1):
        with pytest.raises(InputError) as caught:
            read_latents(tmp_path / name, rows)
        assert caught.value.identifier == "latents.wrong-count" and caught.value.file == tmp_path / name
        assert str(ROWS) in str(caught.value.found) and caught.value.fix


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_latent_that_is_no_number_is_refused(tmp_path: Path, name: str, value: float) -> None:
    latents = LATENTS.copy()
    latents[3, 1] = value
    WRITERS[name](tmp_path / name, latents)
    with pytest.raises(InputError) as caught:
        read_latents(tmp_path / name, ROWS)
    assert caught.value.identifier == "latents.not-finite" and caught.value.row == 3


def test_more_than_ten_components_come_in_their_order(tmp_path: Path) -> None:
    many = np.arange(ROWS * 12, dtype=np.float32).reshape(ROWS, 12)
    cryosparc(tmp_path / "many.cs", many)
    assert torch.equal(read_latents(tmp_path / "many.cs", ROWS), torch.from_numpy(many))


@pytest.mark.parametrize(
    ("name", "write", "identifier"),
    [
        ("z.npy", lambda p: np.save(p, LATENTS[:, 0]), "latents.wrong-shape"),
        ("z.npy", lambda p: np.save(p, LATENTS[:, :0]), "latents.wrong-shape"),
        ("z.npy", lambda p: np.save(p, LATENTS.astype(str)), "latents.wrong-shape"),
        ("z.pkl", lambda p: p.write_bytes(pickle.dumps({"z": LATENTS})), "latents.wrong-shape"),
        ("z.pkl", lambda p: p.write_bytes(pickle.dumps(Path.touch)), "pickle.refused"),
        ("z.npz", lambda p: np.savez(p, a=LATENTS, b=LATENTS), "latents.ambiguous"),
        ("z.npz", lambda p: np.savez(p), "latents.ambiguous"),
        ("z.npz", lambda p: np.savez(p, index=np.zeros(ROWS, int), mean=LATENTS), "latents.wrong-count"),
        ("z.npz", lambda p: np.savez(p, index=np.arange(1, ROWS + 1), mean=LATENTS), "latents.wrong-count"),
        ("z.npz", lambda p: np.savez(p, index=np.arange(3), mean=LATENTS), "latents.wrong-count"),
        ("z.cs", lambda p: saved(p, np.zeros(ROWS, dtype=[("uid", "u8")])), "latents.no-components"),
        ("z.cs", lambda p: saved(p, LATENTS), "cs.not-particles"),
        ("z.npy", lambda p: np.save(p, np.array([{}]), allow_pickle=True), "latents.not-readable"),
        ("z.npy", lambda p: p.write_bytes(b""), "latents.not-readable"),
        ("z.npz", lambda p: p.write_bytes(b"PK\x03\x04 and no more"), "latents.not-readable"),
        ("z.txt", lambda p: p.write_text("1 2"), "latents.unknown-format"),
        ("z.npy", lambda p: None, "latents.not-found"),
    ],
)
def test_what_holds_no_latents_is_an_error(
    tmp_path: Path, name: str, write: Callable[[Path], object], identifier: str
) -> None:
    write(tmp_path / name)
    with pytest.raises(InputError) as caught:
        read_latents(tmp_path / name, ROWS)
    assert caught.value.identifier == identifier
    assert "allow_pickle" not in str(caught.value)


def test_standardised_latents_have_no_mean_and_unit_variance() -> None:
    latents = torch.from_numpy(LATENTS) * torch.tensor([0.01, 300.0]) + 40.0
    found = standardised(latents)
    assert torch.allclose(found.mean(dim=0), torch.zeros(2), atol=1e-3)
    assert torch.allclose(found.square().mean(dim=0), torch.ones(2), atol=1e-3)
    assert torch.equal(found.argsort(dim=0), latents.argsort(dim=0))
    assert torch.equal(standardised(torch.full((5, 1), 3.0)), torch.zeros(5, 1))
