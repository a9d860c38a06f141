"""What was left to the images that were held out: coordinates, what stands still, cuts in the mesh, and how stiff."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

TRIED_HEAD = ("half", "epoch", "rigidity", "nats a particle, against going on as before", "")


def tried_rows(records: Sequence[Mapping[str, object]]) -> list[tuple[str, ...]]:
    """Every strength of the rigidity that was tried, by half and epoch; the one that was taken is marked. Where nothing
    moves there is none.

    Lines that hold something else are left out.
    """
    rows: list[tuple[str, ...]] = []
    for line in records:
        tried = line.get("tried")
        for one in tried if isinstance(tried, list) else []:
            match one:
                case [int() | float() | None as rigidity, int() | float() as gain, int() | float() as error]:
                    strength = "nothing moves" if rigidity is None else f"{rigidity:.3g}"
                    taken = "taken" if rigidity == line.get("lambda") else ""
                    found = _nats(gain, error)
                    rows.append((str(line.get("half")), str(line.get("epoch")), strength, found, taken))
    return rows


def coordinates_sentence(records: Sequence[Mapping[str, object]]) -> str:
    """Along how many latent coordinates each half moves in the end, where held-out images were asked; else empty."""
    last = {line["half"]: line["coordinates"] for line in records if "half" in line and "coordinates" in line}
    told = [f"half {half} along {number}" for half, number in sorted(last.items(), key=str)]
    if not told:
        return ""
    return f"Of its latent coordinates a half moves along those that held-out images need: {', '.join(told)}."


def whole_sentence(records: Sequence[Mapping[str, object]]) -> str:
    """Whether motion of the whole molecule was taken off, where held-out images were asked; else empty."""
    still = {line["half"]: line.get("still") for line in records if "half" in line and "still" in line}
    told = []
    for line in sorted(records, key=lambda line: str(line.get("half"))):
        match line.get("whole"):
            case [int() | float() as gain, int() | float() as error]:
                found = _nats(gain, error)
                kept = "is taken off" if still.get(line.get("half")) else "belongs to the motion, and stays"
                told.append(f"in half {line.get('half')} it {kept} ({found} nats a held-out particle)")
    if not told:
        return ""
    return (
        "A whole molecule that turns or shifts is what errors of poses look like. Held-out images were asked whether "
        f"that has latents of its own: {', '.join(told)}."
    )


def cuts_sentence(records: Sequence[Mapping[str, object]]) -> str:
    """Whether bodies slide along each other, and the mesh of a half was cut between them; empty where nobody asked."""
    told, whole = [], []
    for line in records:
        match line.get("cut"):
            case [1, *_]:
                whole.append(str(line.get("half")))
            case [int() as segments, int() | float() as gain, int() | float() as error]:
                found = _nats(gain, error)
                kept = f"cut into {segments} segments" if line.get("segments") == segments else "left whole"
                told.append(f"half {line.get('half')} was {kept} ({found} nats a held-out particle with the cuts)")
    sentences = [f"Bodies slide along each other, and the mesh of {'; that of '.join(told)}."] if told else []
    if whole:
        sentences.append(f"Nothing slides that a cut would part in half {' and in half '.join(whole)}: left whole.")
    return " ".join(sentences)


def _nats(gain: float, error: float) -> str:
    return f"{gain:+.2f} ± {error:.2f}".replace("-", "−")
