"""The report of a run: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from html import escape
from itertools import chain
from pathlib import Path

from dynaflex.costs.account import SPENT
from dynaflex.costs.plan import PLAN
from dynaflex.errors import InputError
from dynaflex.io.durable import write_text
from dynaflex.io.paths import absolute
from dynaflex.report import page
from dynaflex.report.drawing.style import FILES
from dynaflex.report.evidence import FIGURES, UNUSABLE, Evidence, guarded
from dynaflex.report.facts import advice, summary, verdicts
from dynaflex.report.facts.ending import Ending, reached
from dynaflex.report.facts.files import NOT_THERE, Record
from dynaflex.report.facts.noise import NOISE_HEAD, noise_rows
from dynaflex.report.facts.resolution import docking_sentence, resolution_sentence, resolution_tiles
from dynaflex.report.facts.supported import support_sentence
from dynaflex.report.facts.taken import taken_rows
from dynaflex.report.facts.tried import TRIED_HEAD, coordinates_sentence, cuts_sentence, tried_rows, whole_sentence
from dynaflex.report.states import reconstructed
from dynaflex.report.views import Views
from dynaflex.run.directory import PAGE
from dynaflex.run.files import NOISE
from dynaflex.run.refusals import to_resume
from dynaflex.run.results import REPORT, listed_in
from dynaflex.validate.controls import FAIL

_OPTIONAL = {
    "alignment.json": "Latents of the conformation that each half rests in: the mean of its particles",
    "poses_drift.json": "How far the refined poses drifted",
}
"""Files that not every run has, and what they tell."""


def write_report(run: Path, ending: Ending | None = None) -> Path:
    """Write ``report.html`` from the files of a run directory, and its figures into ``figures``; returns its path.

    A file that is missing or damaged is named in the place where its contents would be. Of a run that came to an
    ``ending`` before it was done, the page says so first and shows the numbers that there are, in a second or two: it
    has no pictures of maps and no figures beside it.

    Raises:
        InputError: there is no such directory.
        EnvironmentFault, ResourceError: the report cannot be written.
    """
    run = Path(run)
    if not run.is_dir():
        raise InputError("run.missing", "no such run directory", file=run, fix="name the folder given to -o")
    target = run / PAGE
    report = _Report(run, ending)
    document = page.document(f"{run.resolve().name} · dynaflex report", report.parts())
    drawings = report.shown.drawings if ending is None else {}
    listed = listed_in(run, REPORT)
    listed.claim([target.name, *(f"{FIGURES}/{key}{kind}" for key in drawings for kind in FILES)])
    write_text(target, document)
    if drawings:
        (run / FIGURES).mkdir(exist_ok=True)
    for key, drawing in drawings.items():
        drawing.write(run / FIGURES / key)
    listed.settle()
    return target


class _Report:
    """The contents of a run, and the page made of them."""

    def __init__(self, run: Path, ending: Ending | None) -> None:
        self.run = run
        self.ending = ending
        self.shown = Evidence(run, unfinished=ending is not None)
        self.views = None if ending is not None else Views(self.shown)
        self.provenance = self.shown.provenance

    def parts(self) -> Iterator[str]:
        """The page from top to bottom: what was found, the evidence, how it was made."""
        sections = [(key, title, content) for key, title, content in self._sections() if content]
        yield self._header()
        yield page.contents([("summary", "Summary"), *((key, title) for key, title, _ in sections)])
        if self.ending is not None:
            yield self._ending(self.ending)
        yield from self._summary()
        for key, title, content in sections:
            yield page.section(key, title, content)

    def _sections(self) -> Iterator[tuple[str, str, str]]:
        """An identifier, a title and the contents, empty where there are none."""
        shown, views = self.shown, self.views
        compared, sharp, carried = (views.compared(), views.local_resolution(), views.carried()) if views else ((),) * 3
        found: list[tuple[str, str, Iterable[str]]] = [
            ("before-and-after", "Before and after", chain(compared, shown.resolution(), sharp)),
            ("motion-found", "Where and how far it moves", chain(carried, shown.moved())),
            ("states", "States from their own particles", reconstructed(shown) if views else ()),
            ("certainty", "How sure that is", chain(self._controls(), self._shared())),
            ("latent-space", "Latent space", [shown.latent_space()]),
            (
                "learning",
                "Training",
                chain(self._effort(), [shown.trained()], self._tried(), self._noise(), self._taken()),
            ),
            ("carrier", shown.words.heading, shown.model()),
            ("repeat", "To repeat it", self._tables()),
        ]
        for key, title, parts in found:
            yield key, title, "\n".join(part for part in parts if part)

    def _ending(self, ending: Ending) -> str:
        """That the run is not done, where it is, and how to go on."""
        where = reached(self.run)
        if ending.stopped:
            return page.notice(
                "This run was stopped",
                f"It was {ending.reason}, {where}. Nothing is lost: this goes on from there.",
                page.command(ending.command),
            )
        text = f"It ended {where}: {ending.reason}." + (f" To do: {ending.fix}." if ending.fix else "")
        return page.notice(
            "This run ended in an error",
            f"{text} Once the cause is gone, this goes on from what was saved.",
            page.command(ending.command),
        )

    def _controls(self) -> Iterator[str]:
        """Every control with its number, or the command that makes them."""
        controls = self.shown.controls
        if controls is not None:
            yield page.table(verdicts.control_rows(controls), verdicts.CONTROLS_HEAD)
            yield page.paragraph(
                "Gains are of particles that were held out of training: embedded from half of their Fourier shells, "
                "judged by the others. R² says how well the motion can be told from what it must not depend on."
            )
        elif self.shown.latents is not None and self.ending is None:
            yield page.paragraph(
                "The controls were not run. They ask of held-out particles whether this motion would be found if it "
                "were not there, and take about a minute:"
            )
            yield page.command(verdicts.command(self.run))

    def _shared(self) -> Iterator[str]:
        """What may make the halves agree without their images."""
        if "shared_between_halves" in self.provenance:
            shared = _texts(self.provenance, "shared_between_halves")
            yield page.box("What the two halves shared", shared or ["nothing"])

    def _effort(self) -> Iterator[str]:
        if self.shown.metrics:
            yield page.paragraph(f"{summary.effort(self.shown.metrics)}.")

    def _tried(self) -> Iterator[str]:
        """How many coordinates there are and how stiff the molecule may be, where held-out images were asked."""
        for sentence_of in (coordinates_sentence, whole_sentence, cuts_sentence):
            if sentence := sentence_of(self.shown.metrics or ()):
                yield page.paragraph(sentence)
        rows = tried_rows(self.shown.metrics or ())
        if rows:
            yield page.folded("How stiff: what was tried on held-out images", page.table(rows, TRIED_HEAD))

    def _taken(self) -> Iterator[str]:
        """What every stage took, and was planned to take if that was asked before."""
        files = self.shown.files
        rows, head = taken_rows(files.optional(SPENT), files.optional(PLAN))
        if rows:
            yield page.folded("What it took", page.table(rows, head))

    def _noise(self) -> Iterator[str]:
        """How optics groups differ in their noise, where they do."""
        noise = self.shown.files.optional(NOISE)
        if noise:
            made = guarded(NOISE, lambda: page.table(noise_rows(noise), NOISE_HEAD))
            yield page.folded("Power of the noise of optics groups, over that of all particles", made)

    def _header(self) -> str:
        lines = [
            f'<p class="kicker">dynaflex report · {escape(self.shown.words.title)}</p>',
            f"<h1>{escape(self.run.resolve().name)}</h1>",
        ]
        asked = summary.asked(self.shown.words.title, self.provenance, self.shown.shared)
        if asked:
            lines.append(f"<p>{escape(asked)}</p>")
        started, version = (_text(self.provenance, name) for name in ("started", "version"))
        made = [("started", summary.moment(started)), ("dynaflex", version)]
        known = " · ".join(f"{name} {value}" for name, value in made if value)
        if known:
            lines.append(f'<p class="kicker">{escape(known)}</p>')
        return '<header id="summary">\n' + "\n".join(lines) + "\n</header>"

    def _summary(self) -> Iterator[str]:
        warnings = _texts(self.provenance, "warnings")
        counts = self.provenance.get("counts")
        sentence, mismatch = summary.counts_sentence(counts if isinstance(counts, dict) else {})
        if mismatch:
            warnings.append(mismatch)
        yield '<dl class="tiles">' + "".join(_tile(tile) for tile in self._tiles()) + "</dl>"
        shown = self.shown
        motion = shown.motion
        if motion is not None:
            yield guarded(
                "motion.npz", lambda: page.paragraph(summary.Motion.of(motion, shown.shared).sentence(), "lead")
            )
        if shown.fsc is not None:
            yield page.paragraph(resolution_sentence(shown.fsc, shown.grid, shown.shared), "lead")
            docked = docking_sentence(shown.fsc)
            yield page.paragraph(docked) if docked else ""
        supported = support_sentence(shown.support)
        if supported is not None:
            yield page.paragraph(supported, "lead")
        if shown.latents is not None and self.ending is None:
            controls = shown.controls
            told = verdicts.not_run(self.run) if controls is None else verdicts.controls_sentence(controls)
            if controls is not None and any(one.verdict == FAIL for one in controls):
                warnings.insert(0, told)
            else:
                yield page.paragraph(told, "lead")
        yield page.paragraph(sentence)
        if warnings:
            yield page.box("Warnings", warnings, "warnings")
        yield guarded("latents.npz", self._advice)
        yield from self._incomplete()

    def _incomplete(self) -> Iterator[str]:
        """The files that were not read; those that an unfinished run does not have yet are not missed."""
        absent = self.shown.files.absent.items()
        missed = [f"{name}: {reason}" for name, reason in absent if self.ending is None or reason != NOT_THERE]
        if missed:
            yield page.box("This report is not complete", missed, "warnings")
            yield page.paragraph("A run that was stopped goes on with")
            yield page.command(to_resume(absolute(self.run)))

    def _advice(self) -> str:
        shown = self.shown
        found = advice.advice(shown.words, shown.config or {}, shown.latents, shown.support)
        return page.box("Advice", found, "warnings") if found else ""

    def _tiles(self) -> Iterator[summary.Tile]:
        if self.shown.fsc is not None:
            yield from resolution_tiles(self.shown.fsc, self.shown.grid)
        if self.shown.motion is not None:
            with suppress(*UNUSABLE):
                yield summary.Motion.of(self.shown.motion, self.shown.shared).tile()
        counts = self.provenance.get("counts")
        if isinstance(counts, dict) and isinstance(counts.get("used"), int):
            yield summary.particles(counts)

    def _tables(self) -> Iterator[str]:
        command = _text(self.provenance, "command")
        if command:
            yield page.command(command)
        made = [(name, _text(self.provenance, name)) for name in ("version", "python", "torch")]
        known = ", ".join(f"{'dynaflex' if name == 'version' else name} {value}" for name, value in made if value)
        if known:
            yield page.paragraph(f"Made with {known}.")
        computed = _texts(self.provenance, "kernels")
        if computed:
            yield page.paragraph(f"Computed by {', then by '.join(computed)}.")
        if self.shown.config is None:
            yield page.absent(f"No settings here, because of config.json: {self.shown.reason('config.json')}.")
        else:
            yield page.folded("Settings", page.table(summary.flattened(self.shown.config), ("setting", "value")))
        if not self.provenance:
            yield page.absent(f"No inputs here, because of provenance.json: {self.shown.reason('provenance.json')}.")
        inputs = self.provenance.get("inputs")
        if isinstance(inputs, dict) and inputs:
            yield page.folded("Inputs", page.table(summary.flattened(inputs), ("input", "value")))
        counts = self.provenance.get("counts")
        rows = summary.excluded_rows(counts) if isinstance(counts, dict) else []
        if rows:
            lines = [(reason, f"{count:,}", of_it) for reason, count, of_it in summary.reasons(rows)]
            yield page.folded(f"{len(rows):,} excluded particles", page.table(lines, ("reason", "particles", "rows")))
        for name, title in _OPTIONAL.items():
            record, fault = self.shown.files.optional(name), self.shown.files.faults().get(name)
            if record:
                yield page.folded(title, page.table(summary.flattened(record)))
            elif fault:
                yield page.folded(title, page.absent(f"{name}: {fault}."))


def _tile(tile: summary.Tile) -> str:
    return (
        f'<div><dt>{escape(tile.label)}</dt><dd class="value">{escape(tile.value)}</dd>'
        f'<dd class="remark">{escape(tile.remark)}</dd></div>'
    )


def _text(record: Record, key: str) -> str:
    value = record.get(key)
    return " ".join(str(part) for part in value) if isinstance(value, list) else str(value or "")


def _texts(record: Record, key: str) -> list[str]:
    value = record.get(key)
    return [str(item) for item in value] if isinstance(value, list) else []
