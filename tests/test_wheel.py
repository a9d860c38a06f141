"""Laws of the wheel: its tag says what is in it. The compiler here is a script that writes a file, or does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("setuptools", minversion="77")
ROOT = Path(__file__).parents[1]
LIBRARY = "dynaflex/kernels/_native.so"

_WRITES = """#!/bin/sh
while [ $# -gt 0 ]; do [ "$1" = -o ] && : > "$2"; shift; done
"""


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    copy = tmp_path / "sources"
    ignored = shutil.ignore_patterns("*.so", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", copy / "src", ignore=ignored)
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    return copy


def built(sources: Path, compiler: Path) -> Path:
    ended = subprocess.run(
        [sys.executable, "setup.py", "-q", "bdist_wheel"], cwd=sources, capture_output=True, text=True, check=False,
        env={**os.environ, "CC": str(compiler), "LDSHARED": str(compiler)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    (wheel,) = (sources / "dist").glob("*.whl")
    return wheel


@pytest.mark.parametrize("compiles", [True, False])
def test_the_tag_names_the_platform_only_with_a_library_inside(compiles: bool, sources: Path) -> None:
    compiler = sources / "cc"
    compiler.write_text(_WRITES if compiles else "#!/bin/sh\nexit 1\n")
    compiler.chmod(0o755)
    wheel = built(sources, compiler)
    with zipfile.ZipFile(wheel) as opened:
        names = opened.namelist()
        (record,) = (name for name in names if name.endswith(".dist-info/WHEEL"))
        said = opened.read(record).decode()
    assert "dynaflex/kernels/operations.py" in names and (LIBRARY in names) == compiles
    assert "-py3-none-" in wheel.name and wheel.name.endswith("-any.whl") != compiles
    assert f"Root-Is-Purelib: {str(not compiles).lower()}" in said
