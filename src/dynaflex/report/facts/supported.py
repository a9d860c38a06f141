"""Whether images that nothing was learned from support the motion, in the sentences of report and explorer."""

from __future__ import annotations

from collections.abc import Iterator

from dynaflex.report.facts.files import Record, RunFiles
from dynaflex.results.support import FEWEST, SUPPORT, Support


def stored_support(files: RunFiles) -> Record | None:
    """What the run measured; None where it did not, or where that cannot be read."""
    record = files.optional(SUPPORT)
    try:
        return None if record is None or not (_of(record) or isinstance(record["held_out"], int)) else record
    except (LookupError, ValueError, TypeError) as error:
        files.absent[SUPPORT] = f"cannot be read: {error}"
        return None


def support_sentence(record: Record | None) -> str | None:
    """What the motion gains on images that were not used; None where that was not measured."""
    halves = {} if record is None else _of(record)
    if not halves:
        return None
    verdict = "support" if all(one.holds for one in halves.values()) else "do not support"
    gains = " and ".join(f"{one.gain:+.1f} ± {one.error:.1f}" for one in halves.values())
    others = " and ".join(f"{one.permuted:+.1f}" for one in halves.values())
    whole = " and ".join(f"{one.whole:+.1f}" for one in halves.values())
    return f"Images {verdict} the motion: " + (
        f"on particles and shells that were not used it gains {gains} nats a particle over a rigid map of the same "
        f"particles, the motion of another particle gains {others}, and that of the whole, as other poses, {whole}."
    ).replace("-", "−")


def on_support(record: Record | None) -> Iterator[str]:
    """Advice where the motion is not supported, in one half or in both, or where nobody can know.

    Runs of earlier versions, and those that are not done, have no ``record``.
    """
    if record is None:
        return
    halves = _of(record)
    if not halves:
        yield (
            f"Too few particles were held out to tell whether images support the motion: {record['held_out']}, and at "
            f"least {FEWEST} are needed."
        )
    without = [half for half, one in halves.items() if not one.holds]
    agree = len(without) == len(halves)
    if without and agree and all(one.moves for one in halves.values()):
        yield (
            "What moves is the whole molecule: a rigid map in poses that follow it explains images as well. That is "
            "what errors of poses look like, and no motion. Refine the poses, in a finer local search or within a "
            "tighter mask, and run again."
        )
    elif without and agree:
        yield (
            "The motion is not supported: images that were not used are not likelier with it, by three standard "
            "errors, than both with a rigid map and with the motion of other particles. Do not interpret it."
        )
    elif without:
        yield (
            f"The halves disagree: images that were not used support the motion of half {3 - without[0]}, and not that "
            f"of half {without[0]}. Do not interpret it before you know why."
        )


def _of(record: Record) -> dict[int, Support]:
    """The support of each half.

    Raises ``LookupError``, ``TypeError`` or ``ValueError`` where the record is something else.
    """
    names = {half: f"half{half}" for half in (1, 2)}
    return {
        half: Support(**{key: float(value) for key, value in record[name].items()})
        for half, name in names.items()
        if name in record
    }
