"""Compares CDM by KaTeX with the published implementation by TeX: scores of invented formulas, and seconds.

    python scripts/bench/cdm.py --cdm UniMERNet/cdm --formulas 500

`--cdm` is the folder `cdm` of https://github.com/opendatalab/UniMERNet, which needs node, pdflatex, ImageMagick's
`magick` with Ghostscript, and a Python with its requirements (`--python`). Formulas are written in other notations,
with symbols wrong, missing, doubled, exchanged, or moved to another line, or cut.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import mean
from typing import Any

from ocr_verifiers.metrics.cdm import cdm

Node = list[Any]
"""A kind and its parts: rows (lists of nodes) or strings."""

LETTERS = [*"abcdefghijkmnpqrstuvwxyzABCDEFGKLMNPQRSTUVX"]
GREEK = r"\alpha \beta \gamma \delta \theta \lambda \mu \nu \pi \rho \sigma \phi \psi \omega \Gamma \Omega".split()
SIGNS = ["+", "-", "=", "<", ">", r"\le", r"\ge", r"\in", r"\times", r"\cdot", r"\to", r"\neq", r"\approx", ",", r"\pm"]
OTHERS = [r"\infty", r"\partial", r"\nabla", r"\ldots", r"\cdots", r"\ell", r"\hbar", "!", r"\forall", r"\emptyset"]
NAMES = ["sin", "cos", "log", "exp", "max", "min", "lim", "ln", "det", "sup", "tan"]
BATCH = 50
SAME = {r"\le": r"\leq", r"\ge": r"\geq", r"\to": r"\rightarrow", r"\ldots": r"\dots"}


def row(rng: random.Random, depth: int, length: int | None = None) -> list[Node]:
    """Things and signs in turn."""
    count = length or rng.choice([1, 1, 2, 3] if depth else [2, 3, 4, 5, 7])
    nodes: list[Node] = []
    for number in range(count):
        if number and rng.random() < 0.75:
            nodes.append(["sign", rng.choice(SIGNS)])
        nodes.append(thing(rng, depth))
    return nodes


def thing(rng: random.Random, depth: int) -> Node:
    plain = ["symbol", rng.choice(rng.choice([LETTERS, LETTERS, GREEK, [*"0123456789"], OTHERS]))]
    chance = rng.random()
    if chance < 0.35 + 0.25 * depth:
        return plain
    if chance < 0.62:
        return scripted(rng, plain, depth)
    kinds = "frac root fence accent font name big number array text over prime".split()
    kind = rng.choices(kinds, [4, 2, 3, 2, 2, 2, 2, 2, 0.7 if depth == 0 else 0, 0.7, 0.5, 0.7])[0]
    inner = depth + 1
    match kind:
        case "frac":
            return ["frac", row(rng, inner), row(rng, inner)]
        case "root":
            return ["root", [["symbol", "3"]] if rng.random() < 0.2 else [], row(rng, inner)]
        case "fence":
            node = ["fence", rng.choice(["()", "()", "[]", "||", "{}"]), row(rng, inner)]
            return scripted(rng, node, depth) if rng.random() < 0.3 else node
        case "accent":
            return ["accent", rng.choice(["hat", "bar", "tilde", "vec", "dot"]), [["symbol", rng.choice(LETTERS)]]]
        case "font":
            return [
                "font",
                rng.choice(["mathbf", "mathbb", "mathcal", "mathrm"]),
                [["symbol", rng.choice(LETTERS[26:])]],
            ]
        case "name":
            return ["name", rng.choice(NAMES), row(rng, 3, 1)]
        case "big":
            sign = rng.choice(["sum", "int", "prod"])
            low: list[Node] = [["symbol", "i"], ["sign", "="], ["symbol", "1"]]
            return ["big", sign, low if sign != "int" else [["symbol", "0"]], [["symbol", "n"]]]
        case "number":
            return [
                "number",
                [["symbol", digit] for digit in f"{rng.choice([rng.randint(10, 9999), rng.random() * 9]):.4g}"],
            ]
        case "array":
            name = rng.choice(["pmatrix", "bmatrix", "cases", "aligned"])
            return ["array", name, [[row(rng, 2, 1) for _ in range(2)] for _ in range(rng.randint(2, 3))]]
        case "text":
            return ["text", rng.choice(["if ", "for all ", "where ", "kg", "and"])]
        case "over":
            return ["over", rng.choice(["overline", "underline"]), row(rng, 3, 2)]
    return ["prime", plain]


def scripted(rng: random.Random, base: Node, depth: int) -> Node:
    inner = row(rng, depth + 2, rng.choice([1, 1, 2]))
    other = row(rng, 3, 1)
    return ["script", [base], *rng.choice([(inner, []), ([], inner), (inner, other)])]


def rows(nodes: Any) -> list[list[Node]]:
    """All rows of a formula, itself the first."""
    found = []
    if isinstance(nodes, list):
        if nodes and all(isinstance(node, list) and node and isinstance(node[0], str) for node in nodes):
            found.append(nodes)
        for part in nodes:
            found += rows(part)
    return found


def written(rng: random.Random, nodes: list[Node], loose: float) -> str:
    """LaTeX; with the chance `loose`, everything that can be in another notation is."""
    return " ".join(one(rng, node, loose) for node in nodes)


def command(name: str, *arguments: str) -> str:
    return f"\\{name}" + "".join(f"{{{argument}}}" for argument in arguments)


def one(rng: random.Random, node: Node, loose: float) -> str:
    other = rng.random() < loose
    kind, *parts = node

    def inside(nodes: list[Node]) -> str:
        return written(rng, nodes, loose)

    match kind:
        case "symbol" | "sign":
            text = SAME.get(parts[0], parts[0]) if other else parts[0]
            return rng.choice([r"{}\,", r"\,{}", r"{{{}}}"]).format(text) if other and rng.random() < 0.2 else text
        case "frac":
            return command("dfrac" if other else "frac", inside(parts[0]), inside(parts[1]))
        case "root":
            return command(f"sqrt[{inside(parts[0])}]" if parts[0] else "sqrt", inside(parts[1]))
        case "fence":
            left, right = (f"\\{sign}" if sign in "{}" else sign for sign in parts[0])
            sizes = ["", ""], [r"\bigl", r"\bigr"], [r"\left", r"\right"]
            before, after = rng.choice(sizes) if other and parts[0] != "||" else sizes[2]
            return f"{before}{left} {inside(parts[1])} {after}{right}"
        case "accent":
            wide = "wide" if other and parts[0] in ("hat", "tilde") else ""
            return command(wide + parts[0], inside(parts[1]))
        case "font" | "over":
            return command(parts[0], inside(parts[1]))
        case "name":
            plain = other and parts[0] not in ("lim", "max", "min", "det", "sup")
            return f"{command('mathrm', parts[0]) if plain else command(parts[0])} {inside(parts[1])}"
        case "big":
            limits = r"\limits" if other and parts[0] != "int" else ""
            return rf"\{parts[0]}{limits}_{{{inside(parts[1])}}}^{{{inside(parts[2])}}}"
        case "number":
            return inside(parts[0])
        case "array":
            body = r" \\ ".join(" & ".join(map(inside, cells)) for cells in parts[1])
            if other and parts[0] == "pmatrix":
                return rf"\left(\begin{{array}}{{cc}} {body} \end{{array}}\right)"
            return rf"\begin{{{parts[0]}}} {body} \end{{{parts[0]}}}"
        case "text":
            return command("mathrm" if other and parts[0].isalpha() else "text", parts[0])
        case "prime":
            return one(rng, parts[0], loose) + (r"^{\prime}" if other else "'")
    scripts = [f"{mark}{{{inside(nodes)}}}" for mark, nodes in (("_", parts[1]), ("^", parts[2])) if nodes]
    return inside(parts[0]) + "".join(reversed(scripts) if other else scripts)


def with_error(rng: random.Random, nodes: list[Node]) -> None:
    """One symbol wrong, missing, doubled, exchanged with its neighbour, or moved up or down; or a cut."""
    place = rng.choice(rows(nodes))
    at = rng.randrange(len(place))
    node = place[at]
    match rng.choices("wrong missing doubled exchanged moved flat cut".split(), [5, 3, 1, 2, 3, 1, 0.3])[0]:
        case "wrong":
            leaves = [leaf for each in rows(nodes) for leaf in each if leaf[0] in ("symbol", "sign")]
            rng.choice(leaves)[1] = rng.choice([*LETTERS, *GREEK, *SIGNS])
        case "missing" if len(place) > 1:
            del place[at]
        case "doubled":
            place.insert(at, json.loads(json.dumps(node)))
        case "exchanged" if at:
            place[at - 1], place[at] = node, place[at - 1]
        case "moved" if at and node[0] == "symbol" and place[at - 1][0] == "symbol":
            moved = ([node], []) if rng.random() < 0.5 else ([], [node])
            place[at - 1 : at + 1] = [["script", [place[at - 1]], *moved]]
        case "moved" if node[0] == "script":
            node[2], node[3] = node[3], node[2]
        case "flat" if node[0] in ("script", "frac"):
            place[at : at + 1] = [each for part in node[1:] for each in part]
        case "cut":
            del place[max(1, at) :]


def pair(rng: random.Random) -> tuple[str, str]:
    nodes = row(rng, 0)
    reference = written(rng, nodes, 0.0)
    if rng.random() < 0.04:
        nodes = row(rng, 0)
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3, 5, 8])):
        with_error(rng, nodes)
    return reference, written(rng, nodes, rng.choice([0.0, 0.3, 0.8]))


def run_published(pairs: list[tuple[str, str]], folder: Path, python: str, processes: int) -> tuple[list[float], float]:
    """Scores of the published implementation, and its seconds."""
    with tempfile.TemporaryDirectory() as scratch:
        cases = [{"img_id": f"f{n}", "gt": gt, "pred": pred} for n, (gt, pred) in enumerate(pairs)]
        Path(scratch, "pairs.json").write_text(json.dumps(cases), encoding="utf-8")
        start = time.perf_counter()
        command = [python, "evaluation.py", "-i", f"{scratch}/pairs.json", "-o", f"{scratch}/out", "-p", str(processes)]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        seconds = time.perf_counter() - start
        details = json.loads(Path(scratch, "out/pairs/metrics_res.json").read_text(encoding="utf-8"))["details"]
    return [details[case["img_id"]]["F1_score"] if case["img_id"] in details else -1.0 for case in cases], seconds


def read_scores(path: Path | None) -> tuple[list[float], float]:
    """Those that an interrupted run kept."""
    if path is None or not path.is_file():
        return [], 0.0
    scores, seconds = json.loads(path.read_text(encoding="utf-8"))
    return scores, seconds


def ranks(values: list[float]) -> list[float]:
    """Ranks, equal values sharing their mean."""
    ordered = sorted(values)
    first = {value: at for at, value in reversed(list(enumerate(ordered)))}
    last = {value: at for at, value in enumerate(ordered)}
    return [(first[value] + last[value]) / 2 for value in values]


def correlation(left: list[float], right: list[float]) -> float:
    a, b = mean(left), mean(right)
    both = sum((x - a) * (y - b) for x, y in zip(left, right, strict=True))
    return both / (sum((x - a) ** 2 for x in left) * sum((y - b) ** 2 for y in right)) ** 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cdm", type=Path, required=True)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--formulas", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--show", type=int, default=0, help="the most different pairs")
    parser.add_argument("--scores", type=Path, help="keep the published scores in this file, and go on from there")
    args = parser.parse_args()
    rng = random.Random(args.seed)
    pairs = [pair(rng) for _ in range(args.formulas)]
    theirs, their_seconds = read_scores(args.scores)
    for at in range(len(theirs), len(pairs), BATCH):
        scores, took = run_published(pairs[at : at + BATCH], args.cdm, args.python, args.processes)
        theirs, their_seconds = theirs + scores, their_seconds + took
        if args.scores:
            args.scores.write_text(json.dumps([theirs, their_seconds]), encoding="utf-8")
    theirs = theirs[: len(pairs)]
    start = time.perf_counter()
    matches = [cdm(*each) for each in pairs]
    seconds = time.perf_counter() - start
    both = [(m.f1, f, *p) for m, f, p in zip(matches, theirs, pairs, strict=True) if m is not None and f >= 0]
    ours, published = [each[0] for each in both], [each[1] for each in both]
    off = [abs(a - b) for a, b in zip(ours, published, strict=True)]
    print(
        "| pairs | scored by both | rank correlation | mean | mean, published | mean distance | seconds | published |"
    )
    print("|---|---|---|---|---|---|---|---|")
    print(
        f"| {len(pairs)} | {len(both)} | {correlation(ranks(ours), ranks(published)):.4f} | {mean(ours):.4f} "
        f"| {mean(published):.4f} | {mean(off):.4f} | {seconds:.1f} | {their_seconds:.0f} |"
    )
    for mine, other, reference, formula in sorted(both, key=lambda each: -abs(each[0] - each[1]))[: args.show]:
        print(f"{mine:.3f} {other:.3f}\n    {reference}\n    {formula}")


if __name__ == "__main__":
    main()
