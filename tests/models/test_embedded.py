"""The policies that come with the package."""

import pytest

from ocr_rl import EvaluateOptions, Page, evaluate
from ocr_rl.config.embedded import EMBEDDED
from ocr_rl.data.synthetic.render import STYLES, Layout, render_page

LINE = Layout(lines=(1, 1), characters=(20, 50))


def lines(style: str) -> list[Page]:
    pages = [render_page(f"embedded:{style}:{i}", LINE, STYLES[style]) for i in range(12)]
    return [Page(str(i), lambda page=page: page.image, text=page.text) for i, page in enumerate(pages)]


def cer(model: str, style: str) -> float:
    return float(evaluate(lines(style), EvaluateOptions(model=model, max_tokens=64))["cer"])


@pytest.mark.parametrize("model", EMBEDDED)
def test_every_embedded_policy_reads_a_printed_line(model):
    assert cer(model, "print") < 0.12


def test_only_tiny_scans_reads_typescript():
    assert cer("tiny-scans", "typescript") < 0.32 < cer("tiny", "typescript")
