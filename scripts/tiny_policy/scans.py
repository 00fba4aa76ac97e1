"""What the policy is trained on: scanned lines and pages of any face, language, size and state, one per seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

from tiny_policy.faces import Face, find_faces
from tiny_policy.lexicons import find_lexicons

from ocr_rl.data.synthetic.scan import PRINT, TYPESCRIPT, Effect, Frame, Look, Scan, render_scan
from ocr_rl.data.synthetic.text import Line, heading, make_line

SHARES = {"typewriter": 0.8, "print": 0.17, "fraktur": 0.03}
LENGTHS = (((1, 12), 0.27), ((8, 30), 0.23), ((30, 66), 0.4), ((60, 90), 0.1))


class Scans:
    def __init__(self, *more: Path) -> None:
        self.faces = find_faces(*more)
        self.lexicons, self.shares = find_lexicons()

    def line(self, seed: str) -> Scan:
        """A line crop, 30 to 68 pixels high, sometimes with parts of its neighbours."""
        rng = Random(seed)
        kind, face = self._face(rng)
        height = rng.uniform(49, 68) if rng.random() < 0.7 else rng.uniform(30, 49)
        em = height * rng.uniform(0.24, 0.46) / 0.6 if kind == "typewriter" else height * rng.uniform(0.45, 0.8)
        size = max(12, round(em))
        slack = max(0.05, height / size - 0.9)
        top = slack * rng.uniform(0.1, 0.8) - 0.1
        bottom = slack - top
        closest = max(0.95, top + 0.45, bottom + 0.3)  # less than half of a neighbour's letters is in the crop
        frame = Frame(top=(top, top), bottom=(bottom, bottom), leading=(closest, max(2.3, closest)))
        (least, most) = rng.choices([n for n, _ in LENGTHS], [share for _, share in LENGTHS])[0]
        lexicon = rng.choices(self.lexicons, self.shares)[0]
        alphabet = self._alphabet(face, kind)
        line, above, below = (make_line(rng, lexicon, alphabet, *n) for n in ((least, most), (10, 70), (10, 70)))
        if most <= 12 and rng.random() < 0.4:
            line = heading(rng, lexicon, alphabet, line)
        return self._scan(rng, kind, face, size, [line], frame, (above.drawn, below.drawn))

    def page(self, seed: str, most_lines: int = 12) -> Scan:
        """A page of two lines or more, as wide as the policy sees it."""
        rng = Random(seed)
        kind, face = self._face(rng)
        count = 1 + min(rng.randint(1, most_lines - 1), rng.randint(1, most_lines - 1))
        most = rng.randint(12, 44 if count < 7 else 34)
        size = rng.randint(13, 22) if most < 30 else rng.randint(13, 17)
        lexicon = rng.choices(self.lexicons, self.shares)[0]
        alphabet = self._alphabet(face, kind)
        lines = [make_line(rng, lexicon, alphabet, max(1, most // 2), most) for _ in range(count)]
        if rng.random() < 0.4:
            lines[-1] = make_line(rng, lexicon, alphabet, 1, most)
        frame = Frame(leading=(1.05, 1.7), top=(0.1, 1.2), bottom=(0.0, 1.0))
        return self._scan(rng, kind, face, size, lines, frame, None)

    def _face(self, rng: Random) -> tuple[str, Face]:
        kinds = [kind for kind in SHARES if self.faces[kind]]
        kind = rng.choices(kinds, [SHARES[kind] for kind in kinds])[0]
        return kind, rng.choice(self.faces[kind])

    def _alphabet(self, face: Face, kind: str) -> list[str]:
        """What the face has, in a fixed order; a typewriter has no typographic marks."""
        absent = set("“”„‚‘’«»–—…†•‹›·¹²³") if kind == "typewriter" else set()
        return sorted(face.alphabet - absent)

    def _scan(
        self,
        rng: Random,
        kind: str,
        face: Face,
        size: int,
        lines: list[Line],
        frame: Frame,
        around: tuple[str, str] | None,
    ) -> Scan:
        look = TYPESCRIPT if kind == "typewriter" else PRINT
        state = rng.random()
        if state < 0.15:  # a clean one, so that plain print is not forgotten
            look = replace(look, page_effects=look.page_effects[-1:], ink_effects=look.ink_effects[:1], ink=(0, 0.2))
        elif state < 0.6:  # what well-kept typescript looks like
            look = milder(look)
        return render_scan(rng.getrandbits(64), lines, face.at(size), look, frame, around)


def milder(look: Look) -> Look:
    """Fewer effects, half as strong."""

    def halved(effects: tuple[Effect, ...]) -> tuple[Effect, ...]:
        return tuple(replace(e, chance=0.7 * e.chance, strength=(e.strength[0], sum(e.strength) / 2)) for e in effects)

    return replace(look, ink_effects=halved(look.ink_effects), page_effects=halved(look.page_effects))
