"""Laws of the compiled library: its table of functions is what the C says, and another version's is never called."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from dynaflex import kernels
from dynaflex.errors import EnvironmentFault
from dynaflex.kernels import native
from dynaflex.kernels.native import loading
from dynaflex.kernels.native.signatures import F32, I8, I32, I64, INTERFACE, SIGNATURES, N
from dynaflex.prepare.device import pick_device

SOURCES = Path(kernels.__file__).parent
KINDS = {"float *": F32, "int32_t *": I32, "int8_t *": I8, "int64_t *": I64, "int64_t ": N}
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler here")
needs_native = pytest.mark.skipif(native.library() is None, reason="the C kernels were not compiled at install")


def declared() -> dict[str, tuple[type | None, tuple[type, ...]]]:
    """What the sources export, read from them; ``ENTRY(32)`` makes a function for a width."""
    found: dict[str, tuple[type | None, tuple[type, ...]]] = {}
    for path in SOURCES.glob("*.c"):
        text = path.read_text()
        widths = re.findall(r"^ENTRY\((\d+)\)", text, re.MULTILINE)
        for result, name, arguments in re.findall(r"EXPORT (?:CLONES )?(\w+ )([\w#]+)\(([^)]*)\)", text):
            listed = [] if arguments == "void" else re.sub(r"[\\\n]|const ", "", arguments).split(",")
            kinds = tuple(KINDS[re.sub(r"\w+$", "", argument.strip())] for argument in listed)
            names = [name.replace("##H", "") + width for width in widths] if "##H" in name else [name]
            found |= {name: (KINDS.get(result), kinds) for name in names}
    return found


@pytest.fixture
def library_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Lets a test put another library in the place of the compiled one."""
    loading.library.cache_clear()
    yield monkeypatch
    monkeypatch.undo()
    loading.library.cache_clear()


def compiled_from(folder: Path, source: str) -> Path:
    (folder / "other.c").write_text(source)
    subprocess.run(["cc", "-shared", "-fPIC", "other.c", "-o", "other.so"], cwd=folder, check=True)
    return folder / "other.so"


def test_the_table_is_what_the_sources_declare() -> None:
    assert declared() == SIGNATURES
    assert f"#define INTERFACE {INTERFACE}\n" in (SOURCES / "kernels.h").read_text()


@needs_compiler
@pytest.mark.parametrize(
    ("source", "found"),
    [
        (f"#include <stdint.h>\nint64_t dynaflex_interface(void) {{ return {INTERFACE + 1}; }}", f"{INTERFACE + 1}"),
        ("int something_else;", "interface unknown"),
    ],
    ids=["newer", "older than the numbers"],
)
def test_the_library_of_another_version_is_refused_before_anything_is_computed(
    source: str, found: str, library_at: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = compiled_from(tmp_path, source)
    library_at.setattr(loading, "PATH", path)
    for use in (
        lambda: pick_device("cpu"),
        lambda: kernels.splat(torch.zeros(1, 2, 1), torch.zeros(1), 8),
        lambda: kernels.described("cpu"),
    ):
        with pytest.raises(EnvironmentFault) as refused:
            use()
        assert refused.value.identifier == "kernels.unfit" and refused.value.file == path
        assert found in str(refused.value.found) and "pip install" in str(refused.value.fix)
    library_at.setenv("DYNAFLEX_KERNELS", "reference")
    assert kernels.splat(torch.full((1, 2, 1), 4.0), torch.ones(1), 8).sum() == pytest.approx(1.0)


def test_what_is_no_library_is_refused(library_at: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "_native.so").write_bytes(b"of another machine")
    library_at.setattr(loading, "PATH", tmp_path / "_native.so")
    with pytest.raises(EnvironmentFault, match=r"kernels\.unfit"):
        kernels.backend(torch.zeros(1))


def test_the_fix_is_the_command_that_compiles_these_sources(tmp_path: Path) -> None:
    (tmp_path / "setup.py").touch()
    library = tmp_path / "src" / "dynaflex" / "kernels" / "_native.so"
    assert loading.rebuild(library).startswith(f"cd {tmp_path} && ")
    assert loading.rebuild(library).endswith("setup.py build_ext --force --inplace")


def test_without_a_library_torch_computes_and_says_so(library_at: pytest.MonkeyPatch, tmp_path: Path) -> None:
    library_at.setattr(loading, "PATH", tmp_path / "nothing.so")
    assert kernels.backend(torch.zeros(1)) == "reference"
    assert kernels.described("cpu").startswith("reference (plain torch), many times slower: the C kernels were not")


@needs_native
def test_the_backend_is_described_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    before = native.threads()
    try:
        native.set_threads(2)
        assert kernels.described("cpu") == f"native C, interface {INTERFACE}, 2 threads"
    finally:
        native.set_threads(before)
    assert kernels.described("mps") == "reference (plain torch): no kernels are compiled for mps"
    monkeypatch.setenv("DYNAFLEX_KERNELS", "reference")
    assert kernels.described("cpu").endswith("slower: DYNAFLEX_KERNELS=reference")


@needs_native
@pytest.mark.parametrize(
    "wrong", [torch.zeros(4, dtype=torch.float64), torch.zeros(8)[::2], torch.zeros(4, device="meta")],
    ids=["precision", "strides", "device"],
)  # fmt: skip
def test_only_arrays_of_the_right_kind_reach_the_library(wrong: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=r"contiguous torch\.float32 tensor on the CPU"):
        loading.function("splat_gather", wrong)
    whole = loading.function("splat_gather", torch.zeros(1, 2, 4), torch.zeros(1, 8, 8))
    with pytest.raises(ctypes.ArgumentError):
        whole(wrong, 1, 0, 4, 4, 8, 8)
    with pytest.raises(TypeError):
        whole(torch.zeros(4), 1, 0, 4)
