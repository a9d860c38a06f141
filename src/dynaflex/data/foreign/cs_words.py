"""What cryoSPARC calls the columns that RELION names otherwise, and what can be done about them there."""

from __future__ import annotations

from dynaflex.errors import Words

_EDIT = "where they were imported, or with cryosparc-tools"
_FIRST = {"rlnImageName": 0, "rlnClassNumber": 0}
_NAMES = {
    "rlnImageName": "blob/path and blob/idx",
    "rlnImageSize": "blob/shape",
    "rlnImagePixelSize": "blob/psize_A",
    "rlnMicrographName": "location/micrograph_path",
    "rlnMicrographPixelSize": "location/micrograph_psize_A",
    "rlnCoordinateX": "location/center_x_frac",
    "rlnCoordinateY": "location/center_y_frac",
    "rlnOpticsGroup": "ctf/exp_group_id",
    "rlnVoltage": "ctf/accel_kv",
    "rlnSphericalAberration": "ctf/cs_mm",
    "rlnAmplitudeContrast": "ctf/amp_contrast",
    "rlnDefocusU": "ctf/df1_A",
    "rlnDefocusV": "ctf/df2_A",
    "rlnDefocusAngle": "ctf/df_angle_rad",
    "rlnPhaseShift": "ctf/phase_shift_rad",
    "rlnCtfBfactor": "ctf/bfactor",
    "rlnCtfScalefactor": "ctf/scale",
    "rlnBeamTiltX": "ctf/tilt_A[0]",
    "rlnBeamTiltY": "ctf/tilt_A[1]",
    "rlnCtfDataArePhaseFlipped": "the flag of phase-flipped images in the STAR file that dynaflex convert writes",
    "rlnCtfDataAreCtfPremultiplied": "the flag of multiplied images in the STAR file that dynaflex convert writes",
}
_REMEDIES = {
    "check.misread": f"; change it {_EDIT}, or in the STAR file that dynaflex convert writes",
    "halves.copies": "Remove Duplicate Particles in cryoSPARC, then refine again",
    "halves.empty": "give the particles of a homogeneous or non-uniform refinement, which splits them",
    "halves.same-place": "Remove Duplicate Particles in cryoSPARC with this separation, then refine again",
    "halves.shared-image": "Remove Duplicate Particles in cryoSPARC, then refine again; or give all copies of one "
    "expanded particle the same split",
    "halves.value": "give the particles of a homogeneous or non-uniform refinement, which splits them",
    "particles.bad-image": "Check For Corrupt Particles in cryoSPARC, then refine what is left",
    "particles.box": "give --map, whose grid all are then brought to, or Downsample Particles in cryoSPARC",
    "particles.image-size": "give the stacks that these particles were written with",
    "particles.masked": "give the particles as Extract From Micrographs wrote them",
    "particles.none-left": "give the particles of a 3D refinement",
    "particles.odd-box": "extract the particles again in an even box, or Downsample Particles in cryoSPARC to one",
    "particles.out-of-range": f"; change it {_EDIT}",
    "particles.pixel-size": "give --map, whose grid all are then brought to, or Downsample Particles in cryoSPARC; "
    f"if a number is wrong, change it {_EDIT}",
    "particles.sampling": "refine the particles again, and give the map of that refinement",
    "star.image-index": "give the stacks that these particles were written with; blob/idx counts from 0",
    "star.image-name": "give the .cs file as cryoSPARC wrote it",
}


def words(alignments: str) -> Words:
    """The words for particles whose poses are those of the columns ``alignments``."""
    poses = {f"rlnAngle{name}": f"the angle {name.lower()} of {alignments}/pose" for name in ("Rot", "Tilt", "Psi")}
    shifts = {f"rlnOrigin{x}{unit}": f"{alignments}/shift[{i}]" for i, x in enumerate("XY") for unit in ("", "Angst")}
    return Words(
        {**_NAMES, **poses, **shifts, "rlnRandomSubset": f"{alignments}/split", "rlnClassNumber": "class_posterior"},
        _REMEDIES,
        _FIRST,
    )
