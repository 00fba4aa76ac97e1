"""footnote: is a footnote marker in the right place?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ocr_verifiers.markup.footnotes import Markers, letters_of, plain_marker
from ocr_verifiers.text.fuzzy_search import allowed_edits, near_ends
from ocr_verifiers.text.quoting import quoted
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FootnoteTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def footnote(test: FootnoteTest, page: PreparedPage) -> Verdict:
    """Passes if the marker is on the page, with both surrounding texts next to the same occurrence of it.

    Only letters and digits of the surrounding texts count, in any case. Each text must match within `max_diffs`
    edits, at most its own length away from the marker. A text without letters and digits always matches.
    """
    markers = page.footnote_markers
    places = markers.places.get(plain_marker(test.marker))
    if not places:
        return fail(f"no footnote marker {quoted(test.marker)}")
    for where, text in (("before", test.appears_before_marker), ("after", test.appears_after_marker)):
        wanted = letters_of(text or "")
        if wanted:
            places = _beside(markers, places, wanted, test.max_diffs, after=where == "after")
        if not places:
            return fail(f"{quoted(text or '')} does not stand {where} the footnote marker {quoted(test.marker)}")
    return PASS


def _beside(markers: Markers, places: Sequence[int], wanted: str, max_diffs: int, after: bool) -> list[int]:
    """The places with the wanted letters next to them. Text after a marker is searched backwards, from the end."""
    edits = allowed_edits(wanted, max_diffs)
    size = len(markers.letters)
    if after:
        reading, pattern = markers.letters[::-1], wanted[::-1]
        places_read = {place: size - place for place in places}
    else:
        reading, pattern = markers.letters, wanted
        places_read = {place: place for place in places}
    ends = [end for end, _ in near_ends(pattern, reading, edits)]
    kept = []
    for place, read in places_read.items():
        at = bisect_left(ends, read - len(wanted))
        if at < len(ends) and ends[at] <= read:
            kept.append(place)
    return kept
