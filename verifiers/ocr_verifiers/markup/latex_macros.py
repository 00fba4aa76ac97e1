r"""Commands of LaTeX and its usual packages that KaTeX lacks, as macros that print alike.

Only strict mode uses them: for olmOCR a formula with one of these cannot be rendered.
"""

from __future__ import annotations

import re

UNITS = dict(
    pair.split("=")
    for pair in (
        "kilo=k centi=c milli=m mega=M giga=G nano=n gram=g metre=m meter=m second=s ampere=A kelvin=K mole=mol "
        "hertz=Hz newton=N pascal=Pa joule=J watt=W volt=V litre=L liter=L hour=h minute=min tesla=T farad=F coulomb=C "
        "per=/"
    ).split()
)
"""Names of siunitx."""
_TEXT = r"\text{#1}"
_SAME = "{#1}"
MACROS: dict[str, tuple[int, str]] = {
    "mbox": (1, _TEXT),
    "textsc": (1, _TEXT),
    "textsl": (1, r"\textit{#1}"),
    "intertext": (1, _TEXT),
    "shortintertext": (1, _TEXT),
    "fbox": (1, r"\boxed{\text{#1}}"),
    "ensuremath": (1, r"\TextOrMath{$#1$}{{#1}}"),
    "textsuperscript": (1, r"\TextOrMath{$^{\text{#1}}$}{{}^{\text{#1}}}"),
    "textsubscript": (1, r"\TextOrMath{$_{\text{#1}}$}{{}_{\text{#1}}}"),
    "nicefrac": (2, "{#1}/{#2}"),
    "sfrac": (2, "{#1}/{#2}"),
    "xfrac": (2, "{#1}/{#2}"),
    "sideset": (2, "{}#1{}#2"),
    "mathds": (1, r"\mathbb{#1}"),
    "mathbbm": (1, r"\mathbb{#1}"),
    "mathpzc": (1, r"\mathscr{#1}"),
    "slashed": (1, r"\not{#1}"),
    "mathlarger": (1, _SAME),
    "mathsmaller": (1, _SAME),
    "abs": (1, r"\left|#1\right|"),
    "norm": (1, r"\left\|#1\right\|"),
    "num": (1, _SAME),
    "si": (1, r"\mathrm{#1}"),
    "unit": (1, r"\mathrm{#1}"),
    "SI": (2, r"#1\,\mathrm{#2}"),
    "qty": (2, r"#1\,\mathrm{#2}"),
    "eqref": (1, r"\text{(#1)}"),
    "ref": (1, _TEXT),
    "cite": (1, r"\text{[#1]}"),
    "hdots": (0, r"\ldots"),
    "dotsi": (0, r"\cdots"),
    "iddots": (0, r"\ddots"),
    "hfill": (0, r"\quad"),
    "hfil": (0, r"\quad"),
    "noindent": (0, ""),
    "normalfont": (0, ""),
    "protect": (0, ""),
    "vspace": (1, ""),
    "smallskip": (0, ""),
    "medskip": (0, ""),
    "bigskip": (0, ""),
    "sc": (0, ""),
    "sl": (0, ""),
    "em": (0, ""),
    "cal": (0, r"\mathcal"),
    **{f"up{name}": (0, rf"\{name}") for name in "alpha beta gamma delta epsilon eta theta lambda mu nu pi".split()},
    **{f"up{name}": (0, rf"\{name}") for name in "rho sigma tau phi chi psi omega".split()},
    **{name: (0, rf"\mathrm{{{sign}}}") for name, sign in UNITS.items()},
    "dv": (2, r"\frac{d #1}{d #2}"),
    "odv": (2, r"\frac{d #1}{d #2}"),
    "pdv": (2, r"\frac{\partial #1}{\partial #2}"),
    "prescript": (3, "{}^{#1}_{#2}{#3}"),
    "ang": (1, r"#1^\circ"),
    "symbf": (1, r"\mathbf{#1}"),
    "mathbfit": (1, r"\boldsymbol{#1}"),
    "mathbfcal": (1, r"\mathbf{\mathcal{#1}}"),
    "uppercase": (1, _SAME),
    "textquotesingle": (0, "'"),
    "xspace": (0, ""),
    "ce": (1, r"\mathrm{#1}"),
    "degree": (0, r"^\circ"),
    "celsius": (0, r"\text{°C}"),
    "micro": (0, r"\mu"),
    "ohm": (0, r"\Omega"),
    "percent": (0, r"\%"),
    "bigtimes": (0, r"\mathop{\times}"),
    "argmin": (0, r"\operatorname*{arg\,min}"),
    "argmax": (0, r"\operatorname*{arg\,max}"),
}
"""The number of arguments and what a command prints. Those that KaTeX has are left to it."""

_COMMAND = re.compile(r"\\([A-Za-z]+)")
_CHEMISTRY = re.compile(r"\\ce ?\{([^{}\\$]{0,500})\}")
_COUNT = re.compile(r"(?<=[A-Za-z)\]])(\d+)")
_CHARGE = re.compile(r"\^(\d*[+-])|(?<=[A-Za-z0-9)\]}])([+-])(?=\s|$)")
_ARROW = re.compile(r"<=>|<->|->")
_ARROWS = {"<=>": r" \rightleftharpoons ", "<->": r" \leftrightarrow ", "->": r" \rightarrow "}


def with_macros(latex: str) -> str:
    """The formula after definitions of those of its commands that KaTeX lacks."""
    if "\\ce" in latex:
        latex = _CHEMISTRY.sub(_chemistry, latex)
    used = dict.fromkeys(name for name in _COMMAND.findall(latex) if name in MACROS)
    return "".join(map(_definition, used)) + latex


def _chemistry(found: re.Match[str]) -> str:
    """A formula of mhchem: counts after elements are subscripts, charges superscripts."""
    text = _CHARGE.sub(lambda charge: f"^{{{charge[1] or charge[2]}}}", _COUNT.sub(r"_{\1}", found[1]))
    return rf"\mathrm{{{_ARROW.sub(lambda arrow: _ARROWS[arrow[0]], text)}}}"


def _definition(name: str) -> str:
    arguments, printed = MACROS[name]
    return rf"\providecommand{{\{name}}}{f'[{arguments}]' if arguments else ''}{{{printed}}}"
