"""`ocr-rl render`: invented pages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import progress


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--pages", type=click.IntRange(min=1), default=40, show_default=True, help="How many.")
@click.option(
    "--style", default="print", show_default=True, help="clean, print, scan, carbon, typescript or old-print."
)
@click.option(
    "--layout",
    "layouts",
    multiple=True,
    type=click.Choice(["lines", "columns", "table"]),
    default=("lines",),
    show_default=True,
    help="Given several times, pages take turns.",
)
@click.option("--lines", type=(int, int), default=(3, 6), show_default=True, help="Least and most per page.")
@click.option("--characters", type=(int, int), default=(14, 30), show_default=True, help="Least and most per line.")
@click.option(
    "--headers",
    type=click.FloatRange(0, 1),
    default=0.0,
    help="Share of pages with a running header, which is no part of the text.",
)
@click.option(
    "--page-numbers", type=click.FloatRange(0, 1), default=0.0, help="Share of pages with a page number, likewise."
)
@click.option("--no-texts", is_flag=True, help="Unit tests alone, as where nobody has transcribed the pages.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same files.")
@click.option("--name", default="rendered", show_default=True, help="Prefix of files, and the pages' source.")
@user_errors
def render(
    out: Path,
    pages: int,
    style: str,
    layouts: tuple[Any, ...],
    lines: tuple[int, int],
    characters: tuple[int, int],
    headers: float,
    page_numbers: float,
    no_texts: bool,
    seed: int,
    name: str,
) -> None:
    """Draw invented pages into OUT: images/, metadata.jsonl with the text, tests.jsonl with unit tests.

    \b
    ocr-rl render pages/ --pages 200
    ocr-rl render pages/ --style carbon --layout lines --layout columns --headers 0.5 --seed 7
    ocr-rl render lines/ --lines 1 1 --characters 40 72
    """
    from ocr_rl.data.synthetic.render import STYLES, Layout, render_collection

    if style not in STYLES:
        raise ValueError(f'--style is "{style}"; write one of {", ".join(STYLES)}')
    if (out / "metadata.jsonl").exists():
        raise ValueError(f"{out} holds a dataset already; give another folder")
    wanted = [Layout(kind, lines, characters, headers, page_numbers) for kind in layouts]
    render_collection(
        out,
        pages,
        seed=seed,
        layouts=wanted,
        style=STYLES[style],
        name=name,
        texts=not no_texts,
        progress=progress("rendering"),
    )
    click.echo(f"{pages} pages in {out}")
