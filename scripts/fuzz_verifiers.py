"""Coverage-guided fuzzing of the checks: no text and valid record may raise, take long, or give varying verdicts.

    python -m venv /tmp/fuzz && /tmp/fuzz/bin/pip install atheris mini-racer -e .
    /tmp/fuzz/bin/python scripts/fuzz_verifiers.py --out runs/fuzz -- -max_total_time=3600
    /tmp/fuzz/bin/python scripts/fuzz_verifiers.py --replay runs/fuzz/findings/*.bin

The bytes choose a kind, a mode, a record that `parse_test` accepts, and a text: raw characters, fragments of HTML,
markdown and LaTeX, pieces of the record's own strings, and repetitions of all of these. A finding does not end the run.
The first few findings of each sort are written to `findings/`: the bytes, and the record, text and reason as JSON.
Arguments after `--` go to libFuzzer; the corpus is kept in `corpus/`.

Findings: an exception (from `parse_test`, any except RecordError), a failure without a reason or with a reason of more
than 1,000 characters, a different verdict for a fresh page, and more CPU time than BASE_SECONDS + SECONDS_PER_KB per
1,024 characters of text and record. Math may take ENGINE_SECONDS more: see `ocr_verifiers.markup.katex`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import atheris

COMPARES_ARRAYS = ["ocr_verifiers.text.repetition", "ocr_verifiers.unit_tests.olmocr.near_matches"]
"""Not instrumented: Atheris 3.0 never frees the result of an instrumented comparison, which of arrays is an array."""

with atheris.instrument_imports(include=["ocr_verifiers"], exclude=COMPARES_ARRAYS, enable_loader_override=False):
    from ocr_verifiers import PreparedPage, RecordError, parse_test, run_test
    from ocr_verifiers.markup.mathml import contains, printed
    from ocr_verifiers.unit_tests.olmocr.layout import layout
    from ocr_verifiers.unit_tests.olmocr.math import contains as olmocr_contains
    from ocr_verifiers.unit_tests.olmocr.registry import CHECKS

BASE_SECONDS = 0.05
SECONDS_PER_KB = 0.005
ENGINE_SECONDS = 6.0
INSTRUMENTED = 3.0
"""How much slower the code is with coverage counting."""
LONGEST_TEXT = 60_000
LONGEST_STRING = 300
KEPT = 3
"""How many findings of each sort are kept."""
KINDS = sorted(CHECKS)
TEXT_FIELDS = {
    "present": ["text"],
    "absent": ["text"],
    "order": ["before", "after"],
    "table": ["cell", "up", "down", "left", "right", "top_heading", "left_heading"],
    "math": ["math"],
    "format": ["text"],
    "footnote": ["appears_before_marker", "appears_after_marker"],
    "baseline": [],
}

# fmt: off
# ruff: noqa: E501
FRAGMENTS = [
    # words, numbers, spaces
    "a", "b", "ab", "word ", "Total", "1", "12", "3.14", "1,234", " ", "\n", "\n\n", "\t", "\r\n", "\r", "  ", ".", ",",
    "-", "--", "---", "The quick brown fox ", "aab", "abcabc", "x" * 40, "1" * 5000, "\u0345\u0301",
    # characters that print nothing, combine, or are invalid
    "\x00", "\ud800", "\udc80", "\udfff", "\ufeff", "\u200b", "\u200d", "\u00ad", "\u2028", "\x0b", "\x0c", "\x1c", "\x85",
    "\u00a0", "\u3000", "\u0301", "e\u0301", "\u0345", "\u1100\u1161", "ſ", "İ", "ß", "ﬁ", "µ", "“", "’", "–", "−", "＿", "½", "²", "¹²", "ª",
    "ಕಿ", "שלום", "漢", "か", "한", "\U0001f600", "\U0001f1e6", "\U0001d400", "\U000e0001", "\U0010ffff", "٣", "೧", "Ⅷ",
    # HTML
    "<table>", "</table>", "<tr>", "</tr>", "<td>", "</td>", "<th>", "</th>", "<thead>", "</thead>", "<tbody>", "<TABLE>", "<caption>",
    '<td rowspan="2">', '<td colspan="3">', '<td rowspan="0">', '<td rowspan="999999999">', '<td colspan="999999">',
    '<td rowspan=-1>', '<td rowspan="', "<td colspan='2' rowspan='2'>", "<table><tr><td>a</td><td>b</td></tr></table>",
    "<br>", "<br/>", "<br />", "<BR>", "<b>", "</b>", "<i>", "</i>", "<strong>", "</strong>", "<em>", "</em>", "<body>", "<p>", "</p>",
    "<h1>", "</h1>", "<h6 a=b>", "</h6>", "<sup>", "</sup>", "<sup>1</sup>", "<sup >", "<", ">", "</", "/>", "<!--", "-->", "<!", "<?", "<![CDATA[",
    "]]>", "<![if", "<script>", "</script>", "<style>", "<template>", "</template>", "<a b=", '"', "'", "=", "<tr", "<td", "</td", "<table",
    "&", "&amp;", "&lt;", "&#", "&#0;", "&#x110000;", "&#xD800;", "&#1", "&notit;", "&CounterClockwiseContourIntegral;", ";", "&#x" + "f" * 30 + ";",
    # markdown
    "|", "| ", "|a|b|\n", "|---|---|\n", "|:-:|\n", "\\|", "| a | b |\n|---|---|\n| 1 | 2 |\n", "*", "**", "***", "_", "__", "`", "```\n", "# ", "## Head\n",
    "#", "====\n", "----\n", "![", "](", ")", "![a](b)", "[^1]", "[^1]:", "[^", "]", "[^a]", "^1^", "\\", "\\*", "- ", "> ", "1. ",
    # front matter
    "---\n", "---\nis_table: False\n---\n", "---\na: &x [*x]\n", "primary_language: en\n", "is_rotation_valid: True\n", ": ", "!!python/object ", "&a ", "*a ", "{", "}", "[", "? ", "| \n",
    # LaTeX
    "$", "$$", "\\(", "\\)", "\\[", "\\]", "\\begin{equation}", "\\end{equation}", "\\begin{align}", "\\end{align}", "\\begin{matrix}", "\\end{matrix}",
    "\\frac{", "}{", "\\sqrt{", "^{", "_{", "x", "y", "x^2", "a_1", "\\alpha", "\\sum", "\\int_0^1", "\\hat{", "\\vec{", "\\left(", "\\right)", "\\middle|", "\\\\", "\\text{", "\\mathbb{R}",
    "\\def\\a{", "\\a", "\\a\\a", "#1", "\\newcommand{\\a}{", "\\let\\a=", "\\gdef\\b#1{", "\\b", "\\tag{1}", "\\color{red}", "\\substack{", "\\binom{", "\\overbrace{", "\\underbrace{", "\\mathchoice",
    "\\hline", "\\rule{1em}{9999em}", "\\kern-1em", "\\phantom{", "\\boxed{", "\\cancel{", "\\href{x}{", "\\label{a}", "\\prime", "'", "\\not=", "\\char`", "\\textsuperscript{1}", "\\(^{1}\\)", "$^1$", "%",
]
# fmt: on
SEEDS = [
    "The quick brown fox jumps over 12 lazy dogs.",
    "# Head\n\nA **bold** word, an *italic* one[^1].\n\n[^1]: a note",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "<table><tr><th>a</th><td rowspan=2>b</td></tr><tr><td>c</td></tr></table>",
    "Then \\(x^2 + y_1\\) and $$\\frac{a}{b} = \\sqrt{c}$$.",
    "---\nprimary_language: en\nis_table: False\n---\nText",
    "\\def\\a{\\a\\a}\\a",
]


class FuzzError(Exception):
    """A finding; its first argument is the sort."""


class Source:
    """Makes records and texts from bytes."""

    def __init__(self, data: bytes) -> None:
        self._bytes = atheris.FuzzedDataProvider(data)

    def case(self) -> tuple[str | None, dict[str, Any], str]:
        """A mode, a record and a text."""
        source = self._bytes
        compat = "olmocr" if source.ConsumeBool() else None
        record = self._record()
        return compat, record, self._text([value for value in record.values() if isinstance(value, str) and value])

    def _record(self) -> dict[str, Any]:
        source = self._bytes
        kind = source.PickValueInList(KINDS)
        record: dict[str, Any] = {"pdf": "a.pdf", "page": 1, "id": "t", "type": kind}
        for name in TEXT_FIELDS[kind]:
            record[name] = self._string()
        if source.ConsumeBool():
            record["max_diffs"] = source.ConsumeIntInRange(0, 40)
        if kind in ("present", "absent", "format") and source.ConsumeBool():
            record["case_sensitive"] = False
        if kind in ("present", "absent"):
            for name in ("first_n", "last_n"):
                if source.ConsumeBool():
                    record[name] = source.ConsumeIntInRange(0, 200)
        if kind == "format":
            record["format"] = source.PickValueInList(["heading", "bold", "italic"])
        if kind == "footnote":
            record["marker"] = "".join(self._string().split())
        if kind in ("table", "math") and source.ConsumeBool():
            record["ignore_markdown_tables" if kind == "table" else "ignore_dollar_delimited"] = True
        if kind == "baseline":
            if source.ConsumeBool():
                record["max_length"] = source.ConsumeIntInRange(0, 100)
                record["max_length_skips_image_alt_tags"] = source.ConsumeBool()
            record["check_disallowed_characters"] = source.ConsumeBool()
            record["max_repeats"] = source.ConsumeIntInRange(0, 60)
        return record

    def _string(self) -> str:
        source = self._bytes
        pieces = [self._piece() for _ in range(source.ConsumeIntInRange(0, 5))]
        times = source.ConsumeIntInRange(1, 40) if source.ConsumeIntInRange(0, 7) == 0 else 1
        return ("".join(pieces) * times)[:LONGEST_STRING]

    def _piece(self) -> str:
        source = self._bytes
        if source.ConsumeIntInRange(0, 7) == 0:
            return source.ConsumeUnicode(8)
        return source.PickValueInList(FRAGMENTS)

    def _text(self, own: list[str]) -> str:
        source = self._bytes
        pieces: list[str] = []
        length = 0
        while source.remaining_bytes() and length < LONGEST_TEXT:
            match source.ConsumeIntInRange(0, 15):
                case 0 | 1:
                    piece = source.ConsumeUnicode(source.ConsumeIntInRange(0, 40))
                case 2 | 3 | 4:
                    piece = source.PickValueInList(own)
                case 5:  # from the record, with a mistake
                    piece = source.PickValueInList(own)
                    at = source.ConsumeIntInRange(0, len(piece))
                    piece = piece[:at] + self._piece() + piece[at + 1 :]
                case 6:
                    piece = self._piece() * source.ConsumeIntInRange(1, 3000)
                case 7:  # nested
                    times = source.ConsumeIntInRange(1, 500)
                    piece = self._piece() * times + self._piece() + self._piece() * times
                case 8 if pieces:  # the last pieces again
                    piece = "".join(pieces[-source.ConsumeIntInRange(1, 12) :]) * source.ConsumeIntInRange(1, 500)
                case _:
                    piece = self._piece()
            pieces.append(piece[:LONGEST_TEXT])
            length += len(pieces[-1])
        return "".join(pieces)[:LONGEST_TEXT]


def check(compat: Any, record: dict[str, Any], text: str, slower: float = 1.0) -> float | None:
    """CPU seconds of the verdict; None if the record is not valid. Raises FuzzError for a finding."""
    try:
        test = parse_test(record, "fuzz", compat)
    except RecordError:
        return None
    verdicts = []
    spent = float("inf")
    for _ in range(2):
        for cached in (contains, printed, layout, olmocr_contains):
            cached.cache_clear()
        start = time.process_time()
        verdicts.append(run_test(test, PreparedPage(text), compat))
        spent = min(spent, time.process_time() - start)
    first, second = verdicts
    kind = f"{record['type']} {compat or 'strict'}"
    if first.passed != second.passed or first.why != second.why:
        raise FuzzError(f"two verdicts {kind}", f"{first} and {second}")
    if first.passed != (not first.why) or len(first.why) > 1000:
        raise FuzzError(f"reason {kind}", f"{first}")
    size = (len(text) + sum(len(value) for value in record.values() if isinstance(value, str))) / 1024
    limit = BASE_SECONDS + SECONDS_PER_KB * size + (ENGINE_SECONDS if record["type"] == "math" else 0)
    if spent > slower * limit:
        raise FuzzError(f"slow {kind}", f"{spent:.3f} s of CPU for {size:.1f} KB, limit {limit:.3f} s")
    return spent


class Findings:
    """The findings of a run, by sort."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sorts: Counter[str] = Counter()
        self.executions = self.judged = 0
        folder.mkdir(parents=True, exist_ok=True)

    def one_input(self, data: bytes) -> int:
        """Called by libFuzzer; -1 keeps bytes without a valid record out of the corpus."""
        self.executions += 1
        compat, record, text = Source(data).case()
        try:
            spent = check(compat, record, text, INSTRUMENTED)
        except Exception as error:
            self._keep(data, compat, record, text, error)
            return 0
        self.judged += spent is not None
        if self.judged % 500 == 0:
            state = {"executions": self.executions, "judged": self.judged, "cpu": time.process_time()}
            (self._folder / f"state.{STARTED}.json").write_text(json.dumps({**state, "findings": self.sorts}))
        return 0 if spent is not None else -1

    def _keep(self, data: bytes, compat: Any, record: dict[str, Any], text: str, error: Exception) -> None:
        if isinstance(error, FuzzError):
            sort, why = error.args
        else:
            frames = traceback.extract_tb(error.__traceback__)
            frame = next((f for f in reversed(frames) if "ocr_verifiers" in f.filename), frames[-1])
            sort, why = f"{type(error).__name__} {Path(frame.filename).name} {frame.name}", traceback.format_exc()
        self.sorts[sort] += 1
        if self.sorts[sort] > KEPT:
            return
        name = f"{sort.replace(' ', '-')}.{STARTED}.{self.sorts[sort]}"
        (self._folder / f"{name}.bin").write_bytes(data)
        case = {"why": why, "compat": compat, "record": record, "length": len(text), "text": text}
        (self._folder / f"{name}.json").write_text(json.dumps(case, indent=1))
        print(f"finding: {sort}: {why.splitlines()[-1][:200]}", file=sys.stderr, flush=True)


STARTED = int(time.time())


def main() -> None:
    split = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/fuzz"))
    parser.add_argument("--replay", type=Path, nargs="+", metavar="BIN", help="run these findings again, with times")
    options = parser.parse_args(sys.argv[1:split])
    if options.replay:
        for path in options.replay:
            compat, record, text = Source(path.read_bytes()).case()
            try:
                print(f"{path.name}: {check(compat, record, text)} s")
            except FuzzError as error:
                print(f"{path.name}: {': '.join(error.args)}")
        return
    corpus = options.out / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (corpus / f"seed{number}").write_bytes(seed.encode() * 3)
    findings = Findings(options.out / "findings")
    atheris.Setup([sys.argv[0], *sys.argv[split + 1 :], str(corpus)], findings.one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
