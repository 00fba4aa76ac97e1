"""footnote: does a footnote marker stand where it belongs?"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from ocr_verifiers.markup.footnotes import Markers, letters_of, plain_marker
from ocr_verifiers.text.fuzzy_search import allowed_edits, near_ends
from ocr_verifiers.text.quoting import shown
from ocr_verifiers.unit_tests.page import PreparedPage
from ocr_verifiers.unit_tests.records import FootnoteTest
from ocr_verifiers.unit_tests.verdict import PASS, Verdict, fail


def footnote(test: FootnoteTest, page: PreparedPage) -> Verdict:
    """Passes if the marker is on the page, and in one place has both texts that should surround it.

    Of the surrounding texts only letters and digits count, in any case. Each has to be within `max_diffs` edits,
    and at most its own length away from the marker. A text without a letter or digit asks for nothing.
    """
    markers = page.footnote_markers
    places = markers.places.get(plain_marker(test.marker))
    if not places:
        return fail(f"no footnote marker {shown(test.marker)}")
    for where, text in (("before", test.appears_before_marker), ("after", test.appears_after_marker)):
        wanted = letters_of(text or "")
        if wanted:
            places = _beside(markers, places, wanted, test.max_diffs, after=where == "after")
        if not places:
            return fail(f"{shown(text or '')} does not stand {where} the footnote marker {shown(test.marker)}")
    return PASS


def _beside(markers: Markers, places: Sequence[int], wanted: str, max_diffs: int, after: bool) -> list[int]:
    """The places that have the wanted letters beside them. What follows a marker is read backwards, from the end."""
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
