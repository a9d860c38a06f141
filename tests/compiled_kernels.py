"""Compiles every Triton kernel, as its backend calls it, for GPUs of a compute capability; none has to be there.

    python tests/compiled_kernels.py 90

Prints the kernels, by name, as what they are compiled to.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import torch
from triton import compile as compiled
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from dynaflex.kernels.triton import corners, mesh, quads, rigidity, splat, trial

KINDS = {torch.float32: "*fp32", torch.int32: "*i32", torch.int64: "*i64", torch.int8: "*i8"}


def main(capability: int) -> dict[str, str]:
    """Name to PTX of all kernels that the trial of the backend starts."""
    found: dict[str, str] = {}

    def launch(kernel: Any, programs: int, *arguments: Any, num_warps: int = 4, **constants: int) -> None:
        given = dict(zip(kernel.arg_names, [*arguments, *constants.values()], strict=True))
        signature = {
            name: "constexpr" if name in constants else KINDS[value.dtype] if torch.is_tensor(value) else "i32"
            for name, value in given.items()
        }
        aligned = {
            (place,): [["tt.divisibility", 16]] for place, value in enumerate(arguments) if torch.is_tensor(value)
        }
        source = ASTSource(fn=kernel, signature=signature, constexprs=constants, attrs=aligned)
        options = {"num_warps": num_warps, "enable_fp_fusion": True}
        made = compiled(source, target=GPUTarget("cuda", capability, 32), options=options)
        found[f"{kernel.__module__.rpartition('.')[2]}.{kernel.__name__}"] = made.asm["ptx"]

    for module in (corners, mesh, quads, rigidity, splat):
        module.launch = launch
    list(trial.problems(torch.device("cpu")))
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]))))
