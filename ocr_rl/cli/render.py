"""`ocr-rl render`: invented pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import take, writable_folder
from ocr_rl.cli.progress import progress

if TYPE_CHECKING:
    from ocr_rl.data.synthetic.render import Layout, LayoutKind, Style


@dataclass(frozen=True)
class LayoutOptions:
    """What is on the pages, and how they look."""

    style: str
    kinds: tuple[LayoutKind, ...]
    lines: tuple[int, int]
    characters: tuple[int, int]
    headers: float
    page_numbers: float

    def layouts(self) -> list[Layout]:
        from ocr_rl.data.synthetic.render import Layout

        return [Layout(kind, self.lines, self.characters, self.headers, self.page_numbers) for kind in self.kinds]

    def look(self) -> Style:
        from ocr_rl.data.synthetic.render import STYLES

        if self.style not in STYLES:
            raise ValueError(f'--style is "{self.style}"; write one of {", ".join(STYLES)}')
        return STYLES[self.style]


@click.command()
@click.argument("out", type=click.Path(path_type=Path), callback=writable_folder)
@click.option("--pages", type=click.IntRange(min=1), default=40, show_default=True, help="Number of pages.")
@click.option(
    "--style", default="print", show_default=True, help="clean, print, scan, carbon, typescript or old-print."
)
@click.option(
    "--layout",
    "kinds",
    multiple=True,
    type=click.Choice(["lines", "columns", "table", "html-table", "formulas"]),
    default=("lines",),
    show_default=True,
    help="If given several times, pages alternate.",
)
@click.option("--lines", type=(int, int), default=(3, 6), show_default=True, help="Minimum and maximum per page.")
@click.option(
    "--characters", type=(int, int), default=(14, 30), show_default=True, help="Minimum and maximum per line."
)
@click.option(
    "--headers",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of pages with a running header, which is not part of the text.",
)
@click.option(
    "--page-numbers", type=click.FloatRange(0, 1), default=0.0, help="Share of pages with a page number, likewise."
)
@click.option("--no-texts", is_flag=True, help="Write unit tests only, as for pages that nobody has transcribed.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same files.")
@click.option("--name", default="rendered", show_default=True, help="Prefix of file names, and source of the pages.")
@user_errors
def render(out: Path, pages: int, no_texts: bool, seed: int, name: str, **options: Any) -> None:
    """Draw invented pages into OUT: images/, metadata.jsonl with the text, tests.jsonl with unit tests.

    \b
    ocr-rl render pages/ --pages 200
    ocr-rl render pages/ --style carbon --layout lines --layout columns --headers 0.5 --seed 7
    ocr-rl render lines/ --lines 1 1 --characters 40 72
    """
    from ocr_rl.data.synthetic.render import render_collection

    chosen = take(LayoutOptions, options)
    style, layouts = chosen.look(), chosen.layouts()
    if (out / "metadata.jsonl").exists():
        raise ValueError(f"{out} holds a dataset already; give another folder")
    bar = progress("rendering")
    render_collection(out, pages, seed=seed, layouts=layouts, style=style, name=name, texts=not no_texts, progress=bar)
    click.echo(f"{pages} pages in {out}")
