"""LaTeX as OmniDocBench v1.6 looks at it: delimiters, equation numbers, and whether it can be read."""

from __future__ import annotations

import re

DELIMITERS = (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"), ("$", "$"))
_TAG = re.compile(r"\\tag(?![^\W\d_])\s*(?:\*\s*)?\{")
_ENVIRONMENT = re.compile(r"\\(begin|end)\{([^{}]+)\}")
_SIGNAL = re.compile(r"\\[A-Za-z]+|[_^{}$]|\\[\[\]()]]|&|%|#")
_WORD = re.compile(r"[A-Za-z]{3,}")
_COMMAND = re.compile(r"\\[A-Za-z]+")
_STRUCTURE = re.compile(r"[{}$^_]|\\(?:frac|sqrt|left|right|begin|end|sum|int|alpha|beta)")
_LONGEST = 8_000


def undelimited(latex: str) -> str:
    """A formula without its delimiters."""
    text, inner = latex.strip(), None
    while text.startswith(("$", "\\")) and inner != text:
        inner = text
        for left, right in DELIMITERS:
            if text.startswith(left) and text.endswith(right) and len(text) >= len(left) + len(right):
                text = text[len(left) : len(text) - len(right)].strip()
                break
    return text


def without_tags(latex: str) -> str:
    r"""A formula without `\tag{...}`, `\notag` and `\nonumber`."""
    pieces: list[str] = []
    ends = _group_ends(latex) if _TAG.search(latex) else {}
    position = 0
    while found := _TAG.search(latex, position):
        pieces.append(latex[position : found.start()])
        position = ends.get(found.end() - 1, found.start() + len(r"\tag"))
    return ("".join(pieces) + latex[position:]).replace(r"\notag", "").replace(r"\nonumber", "")


def _group_ends(latex: str) -> dict[int, int]:
    """For each brace that is closed, where its group ends."""
    begins: list[int] = []
    ends: dict[int, int] = {}
    for brace in re.finditer(r"[{}]", latex):
        if brace[0] == "{":
            begins.append(brace.start())
        elif begins:
            ends[begins.pop()] = brace.end()
    return ends


def without_group(latex: str, command: str) -> str:
    """A formula without a command and its argument; one that does not end loses the command alone."""
    while (start := latex.find(command + "{")) >= 0:
        end = _group_end(latex, start + len(command) + 1)
        if end is None:
            return latex[:start] + latex[start + len(command) :]
        latex = latex[:start] + latex[end:]
    return latex


def _group_end(latex: str, index: int) -> int | None:
    depth = 1
    while index < len(latex) and depth:
        depth += {"{": 1, "}": -1}.get(latex[index], 0)
        index += 1
    return None if depth else index


def is_readable(latex: str) -> bool:
    """Whether it is read as LaTeX: it has commands rather than words, and everything that begins in it ends."""
    words, commands, signs = len(_WORD.findall(latex)), len(_COMMAND.findall(latex)), len(_SIGNAL.findall(latex))
    prose = words >= 6 and latex.count(" ") >= 5 and len(latex) >= 32
    if prose and signs <= 2 and not _STRUCTURE.search(latex):
        return False
    strong = sum(latex.count(sign) for sign in "{}$^_=&%#")
    weak = (
        latex in ("\\", "\\\\")
        or (latex.endswith("\\") and not latex.endswith("\\\\") and not commands)
        or ("\\" in latex and not commands and not strong)
        or (words >= 2 and not commands and strong <= 1)
        or (words >= 4 and commands <= 1 and strong <= 2)
    )
    return not weak and len(latex) <= _LONGEST and _is_balanced(latex)


def _is_balanced(latex: str) -> bool:
    depth = 0
    for sign in re.findall(r"\\[{}\[\]()]|[{}]", latex):
        depth += {"{": 1, "}": -1}.get(sign, 0)
        if depth < 0:
            return False
    stack: list[str] = []
    for kind, name in _ENVIRONMENT.findall(latex):
        if kind == "begin":
            stack.append(name)
        elif not stack or stack.pop() != name:
            return False
    pairs = ((r"\\left\b", r"\\right\b"), (r"\\\(", r"\\\)"), (r"\\\[", r"\\\]"))
    return (
        depth == 0
        and not stack
        and all(len(re.findall(left, latex)) == len(re.findall(right, latex)) for left, right in pairs)
        and len(re.findall(r"(?<!\\)\$", latex)) % 2 == 0
    )
