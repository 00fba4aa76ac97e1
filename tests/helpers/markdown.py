"""Markdown pages as tests read them: fenced blocks with the comment above each, links, headings, inline code."""

import re
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [
        *CHECKOUT.glob("*.md"),
        *(page for name in ("data", "docs", "ocr_rl", "verifiers") for page in (CHECKOUT / name).rglob("*.md")),
    ]
)
DIRECTIVES = {"file", "output", "exit code", "slow", "not run"}
"""What a comment above a block may say, see CONTRIBUTING.md."""

_FENCED = re.compile(r"(?:^<!-- ([^\n]*) -->\n)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Block(NamedTuple):
    """A fenced block."""

    directive: str
    """"" or one of DIRECTIVES."""
    value: str
    """What follows the directive's colon."""
    language: str
    text: str
    line: int


def page_name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCED.finditer(text):
        directive, _, value = (match[1] or "").partition(": ")
        assert directive in DIRECTIVES | {""}, f"{page_name(page)}: <!-- {match[1]} --> is none of {DIRECTIVES}"
        found.append(Block(directive, value, match[2], match[3], text.count("\n", 0, match.start()) + 1))
    return found


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return _FENCED.sub("", page.read_text(encoding="utf-8"))


def inline_code(page: Path) -> list[str]:
    return re.findall(r"`([^`\n]+)`", prose(page))


def links(page: Path) -> list[str]:
    """The targets of a page's links to other places of the repository."""
    text = re.sub(r"`[^`\n]+`", "", prose(page))
    targets = re.findall(r"\]\(([^)\s]+)\)", text)
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub names them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(next(name for name in [slug, *(f"{slug}-{n}" for n in range(1, 99))] if name not in found))
    return found
