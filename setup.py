"""Builds the optional C kernels into ``dynaflex/kernels/_native.so``; everything else is in pyproject.toml.

The library is plain C, called through ctypes. It knows nothing of Python, so one wheel serves every Python 3 of a
platform, and where it cannot be compiled the package installs without it and computes with torch.
"""

from __future__ import annotations

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.errors import CompileError

KERNELS = Path("src/dynaflex/kernels")

# What -ffast-math would bring, less what would break NaN and infinity, or change denormals for the whole process.
FLAGS = [
    "-O3",
    "-std=c11",
    "-fvisibility=hidden",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-rounding-math",
    # ISO C forbids fused multiply-adds by default; without them the network costs 1.5 times as much.
    "-ffp-contract=fast",
]


class BuildLibrary(build_ext):
    """Builds a shared library for ctypes, not an extension module for the interpreter."""

    def get_ext_filename(self, fullname: str) -> str:
        """The same file name for every Python."""
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        """No module initialiser to export."""
        return []

    def build_extension(self, ext: Extension) -> None:
        """Refuse a compiler without vector extensions; ``optional`` turns the refusal into a warning."""
        if self.compiler.compiler_type == "msvc":
            raise CompileError("the kernels need GCC or clang; torch takes their place")
        super().build_extension(ext)


class Wheel(bdist_wheel):
    """A wheel for every Python 3: of one platform with the library in it, of any without."""

    def run(self) -> None:
        """Compile first: only then is it known what the wheel will hold."""
        self.run_command("build_ext")
        library = Path(self.get_finalized_command("build_ext").get_outputs()[0])
        if not library.exists():
            self.distribution.ext_modules = []
            self.root_is_pure = True
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        """``py3-none-<platform>``, or ``py3-none-any``."""
        return "py3", "none", "any" if self.root_is_pure else super().get_tag()[2]


setup(
    cmdclass={"build_ext": BuildLibrary, "bdist_wheel": Wheel},
    ext_modules=[
        Extension(
            "dynaflex.kernels._native",
            sources=sorted(str(path) for path in KERNELS.glob("*.c")),
            depends=sorted(str(path) for path in KERNELS.glob("*.h")),
            extra_compile_args=FLAGS,
            libraries=["m"],
            optional=True,
        )
    ],
)
