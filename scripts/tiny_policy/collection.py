"""Write scans and rendered pages as a collection that `ocr-rl` reads: to measure on, or to train on with rewards.

PYTHONPATH=scripts python -m tiny_policy.collection runs/held_out --lines 200 --pages 40
PYTHONPATH=scripts python -m tiny_policy.collection runs/mix --seed on-policy --lines 1600 --rendered-lines 800
ocr-rl eval FOLDER --data runs/held_out --where level=line
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from tiny_policy.scans import Scans

from ocr_rl.data.synthetic.render import STYLES, Layout, render_page

LINE = Layout(lines=(1, 1), characters=(30, 72))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--lines", type=int, default=0, help="scanned lines")
    parser.add_argument("--pages", type=int, default=0, help="scanned pages")
    parser.add_argument("--rendered-lines", type=int, default=0)
    parser.add_argument("--rendered-pages", type=int, default=0)
    parser.add_argument("--seed", default="held-out", help="any but train0, train1 ...")
    parser.add_argument("--fonts", type=Path, nargs="*", default=[], help="further folders of faces")
    args = parser.parse_args()
    scans = Scans(*args.fonts)
    kinds = (
        ("line", scans.line, args.lines),
        ("page", scans.page, args.pages),
        ("rendered-line", lambda seed: render_page(seed, LINE, STYLES["print"]), args.rendered_lines),
        ("rendered-page", lambda seed: render_page(seed, Layout(), STYLES["print"]), args.rendered_pages),
    )
    (args.out / "images").mkdir(parents=True, exist_ok=True)
    with open(args.out / "metadata.jsonl", "w", encoding="utf-8") as file:
        for kind, draw, count in kinds:
            for i in range(count):
                page = draw(f"{args.seed}:{kind}:{i}")
                name = f"images/{kind}_{i:05d}.png"
                page.image.save(args.out / name)
                level = kind.removeprefix("rendered-")
                row = {"file_name": name, "text": page.text, "source": kind, "level": level, "doc": name}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
