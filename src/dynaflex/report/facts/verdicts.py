"""What a run found and which controls it passed, in the sentences that the report and the explorer share."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from dynaflex.judge.validation import VALIDATION, controls_in
from dynaflex.report.facts import advice, summary
from dynaflex.report.facts.files import RunFiles
from dynaflex.report.facts.resolution import docking_sentence, resolution_sentence
from dynaflex.report.facts.supported import stored_support, support_sentence
from dynaflex.report.facts.wording import wording_of
from dynaflex.validate.controls import FAIL, PASS, WARN, Control

VERDICT = {PASS: "✓ passed", WARN: "? unclear", FAIL: "✗ failed"}
CONTROLS_HEAD = ("control", "verdict", "found", "by chance", "what must hold")


def verdicts(run: Path) -> list[dict[str, str]]:
    """What was found, which controls it passed, and what was unusual: a ``kind``, ``note`` or ``warning``, and a
    ``text`` each."""
    files = RunFiles(run)
    config, fsc = files.record("config.json") or {}, files.record("fsc.json")
    provenance = files.record("provenance.json") or {}
    motion = files.arrays("motion.npz", "points", "rms_displacement")
    latents = files.arrays("latents.npz", "half", "mean")
    shared = config.get("half_sets") == "shared"
    words = wording_of(run, config)
    found = []
    if motion is not None:
        found.append(_note(summary.Motion.of(motion, shared).sentence()))
    if fsc is not None:
        found.append(_note(resolution_sentence(fsc, files.record("grid.json") or {}, shared)))
        found += [_note(text) for text in (docking_sentence(fsc),) if text]
    support = stored_support(files)
    gain = support_sentence(support)
    found += [_note(gain)] if gain else []
    if latents is not None:
        controls = stored_controls(files)
        text = not_run(run) if controls is None else controls_sentence(controls)
        found.append(_warning(text) if controls and any(one.verdict == FAIL for one in controls) else _note(text))
    found += [_warning(text) for text in advice.advice(words, config, latents, support)]
    found += [_warning(str(text)) for text in provenance.get("warnings", [])]
    found += [_warning(f"{name} is not used here: it {reason}") for name, reason in files.faults().items()]
    return found


def stored_controls(files: RunFiles) -> list[Control] | None:
    """The verdicts that ``dynaflex validate`` left in the run; None where there are none to be read."""
    record = files.optional(VALIDATION)
    if record is None:
        return None
    try:
        return controls_in(record)
    except (LookupError, ValueError, TypeError) as error:
        files.absent[VALIDATION] = f"cannot be read: {error}"
        return None


def controls_sentence(controls: Sequence[Control]) -> str:
    """How many controls were passed, and the names of the others."""
    named = {verdict: [one.name for one in controls if one.verdict == verdict] for verdict in VERDICT}
    if len(named[PASS]) == len(controls):
        return f"All {len(controls)} controls of the motion were passed."
    text = f"{len(named[PASS])} of {len(controls)} controls were passed"
    text += f"; unclear: {', '.join(named[WARN])}" if named[WARN] else ""
    if not named[FAIL]:
        return f"{text}."
    return f"{text}; failed: {', '.join(named[FAIL])}. Do not interpret the motion before you know why."


def not_run(run: Path) -> str:
    """That nobody asked for the controls so far, and how to."""
    return f"The controls of the motion were not run yet: {command(run)}"


def command(run: Path) -> str:
    """What to type for the controls."""
    return f"dynaflex validate {shlex.quote(str(run.resolve()))}"


def control_rows(controls: Sequence[Control]) -> list[tuple[str, ...]]:
    """A line of text for each control, in the order of ``CONTROLS_HEAD``; what has a standard error shows that."""
    rows: list[tuple[str, ...]] = []
    for one in controls:
        found = f"{_number(one.value)} ± {one.chance:.1f}" if one.has_error else _number(one.value)
        chance = "0" if one.has_error else _number(one.chance)
        rows.append((one.name, VERDICT[one.verdict], f"{found} {one.unit}", chance, one.words))
    return rows


def _number(value: float) -> str:
    return (f"{value:+.1f}" if abs(value) >= 10 else f"{value:+.2f}").replace("-", "−")


def _note(text: str) -> dict[str, str]:
    return {"kind": "note", "text": text}


def _warning(text: str) -> dict[str, str]:
    return {"kind": "warning", "text": text}
