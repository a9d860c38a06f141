"""The job that Doppio and the CCP-EM Pipeliner offer, where dynaflex is installed beside them.

They find it by the entry point ``ccpem_pipeliner.jobs`` of this package, and make an object of it to draw its form: so
nothing is loaded here but what they have loaded already. The job itself is a line of :mod:`dynaflex.relion.line`.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from pipeliner.display_tools import create_results_display_object
from pipeliner.job_options import (
    ExternalFileJobOption,
    FileDescription,
    InputNodeJobOption,
    IntJobOption,
    JobOptionCondition,
    MultipleChoiceJobOption,
    StringJobOption,
)
from pipeliner.nodes import NODE_DENSITYMAP, NODE_MASK3D, NODE_PARTICLEGROUPMETADATA
from pipeliner.pipeliner_job import ExternalProgram, PipelinerCommand, PipelinerJob, Ref
from pipeliner.results_display_objects import ResultsDisplayObject

from dynaflex.relion.parent import PROGRAM
from dynaflex.relion.places import REPORT, RESULTS
from dynaflex.version import __version__

_METHODS = {"3DFlex": "flex", "DynaMight": "dynamight"}
_FLEX = JobOptionCondition([("method", "!=", "3DFlex")])
_INPUTS, _MOTION, _RUNNING = "Main", "Motion", "Running options"
_FIELDS = {
    "fn_parts": "--in_parts", "fn_map": "--in_3dref", "fn_mask": "--in_mask", "nr_threads": "--j",
    "gpu_ids": "--gpu-id", "fn_mesh": "--mesh", "latent_dim": "--latent-dim",
}  # fmt: skip
"""The option of the line that each field becomes where it is filled in."""


class FlexibilityJob(PipelinerJob):  # type: ignore[misc]
    """How the particles of a refinement move, and maps that are sharp where they do."""

    PROCESS_NAME = "dynaflex.flexibility"
    OUT_DIR = "Dynaflex"
    CATEGORY_LABEL = "Continuous Heterogeneity"

    def __init__(self) -> None:
        super().__init__()
        about = self.jobinfo
        about.display_name = "dynaflex flexibility"
        about.version = __version__
        about.short_desc = "Learn how the molecule moves, and sharpen what moves"
        about.long_desc = (
            "Learns from the particles of a consensus refinement how the molecule moves, in two halves that know "
            "nothing of each other, and reconstructs half-maps along the motion of every particle. The report says "
            "what moves, how sure that is, and what it did for the resolution."
        )
        about.programs = [ExternalProgram(PROGRAM)]
        about.references = [
            Ref(
                ["Punjani A", "Fleet DJ"], "3DFlex: determining structure and motion of flexible proteins from cryo-EM",
                journal="Nature Methods", year="2023", doi="10.1038/s41592-023-01853-8",
            ),
            Ref(
                ["Schwab J", "Kimanius D", "Burt A", "Dendooven T", "Scheres SHW"],
                "DynaMight: estimating molecular motions with improved reconstruction from cryo-EM images",
                journal="Nature Methods", year="2024", doi="10.1038/s41592-024-02377-5",
            ),
        ]  # fmt: skip
        self.joboptions.update(_inputs() | _motion() | _running())
        self.get_runtab_options(threads=True, addtl_args=True)

    def get_commands(self) -> list[PipelinerCommand]:
        """One line: that of an External job, with the fields that are filled in."""
        line = [PROGRAM, "--o", self.output_dir, "--method", _METHODS[self.joboptions["method"].get_string()]]
        for field, option in _FIELDS.items():
            if self.check_joboption_is_now_deactivated(field):
                continue
            value = self.joboptions[field].get_string()
            if value:
                line += [option, value]
        return [PipelinerCommand([*line, *shlex.split(self.joboptions["other_args"].get_string())])]

    def create_output_nodes(self) -> None:
        """The map, both half-maps, their mask, and the particles with their latents."""
        for file, kind in RESULTS:
            top, _, *words = kind.split(".")
            self.add_output_node(file, top, ["dynaflex", *(word for word in words if word != "relion")])

    def create_results_display(self) -> Sequence[ResultsDisplayObject]:
        """The report, whole."""
        report = str(Path(self.output_dir) / REPORT)
        shown: ResultsDisplayObject = create_results_display_object(
            "html", title="What moves, and how sure that is", associated_data=[report], html_file=report
        )
        return [shown]


def _inputs() -> dict[str, object]:
    return {
        "fn_parts": InputNodeJobOption(
            label="Particles:",
            node_type=NODE_PARTICLEGROUPMETADATA,
            pattern=FileDescription("Particles STAR file", [".star"]),
            help_text="The table of a consensus refinement (_data.star), with its poses, CTFs and half-sets.",
            is_required=True,
            jobop_group=_INPUTS,
        ),
        "fn_map": InputNodeJobOption(
            label="Consensus map:",
            node_type=NODE_DENSITYMAP,
            pattern=FileDescription("Density map", [".mrc"]),
            help_text="The map of the same refinement, in the box and with the pixel size of the particles.",
            is_required=True,
            jobop_group=_INPUTS,
        ),
        "fn_mask": InputNodeJobOption(
            label="Mask (optional):",
            node_type=NODE_MASK3D,
            pattern=FileDescription("Mask", [".mrc"]),
            help_text="A soft mask around all places that the molecule may be in. Left empty, one is made of the map.",
            jobop_group=_INPUTS,
        ),
    }


def _motion() -> dict[str, object]:
    return {
        "method": MultipleChoiceJobOption(
            label="Method:",
            choices=list(_METHODS),
            default_value="3DFlex",
            help_text="3DFlex bends a map on a mesh, DynaMight moves Gaussians. Both end with half-maps and a report.",
            jobop_group=_MOTION,
        ),
        "latent_dim": IntJobOption(
            label="Coordinates of the motion:",
            default_value=2,
            hard_min=1,
            suggested_max=10,
            step_value=1,
            help_text="How many movements may be independent of each other. Start with 2.",
            jobop_group=_MOTION,
        ),
        "fn_mesh": ExternalFileJobOption(
            label="Mesh (optional, 3DFlex):",
            help_text="One that dynaflex mesh made, with parts that are rigid or cut apart. Left empty, it is regular.",
            deactivate_if=_FLEX,
            jobop_group=_MOTION,
        ),
    }


def _running() -> dict[str, object]:
    return {
        "gpu_ids": StringJobOption(
            label="GPU:",
            validation_regex="[0-9,: ]*",
            regex_error_message="Numbers of GPUs: 0 or 0,1",
            help_text="Left empty, the first GPU there is, or the CPU where there is none.",
            jobop_group=_RUNNING,
        )
    }
