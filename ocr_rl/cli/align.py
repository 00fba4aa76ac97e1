"""`ocr-rl data align`: the text of a page onto its lines."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.convert import write_layouts
from ocr_rl.cli.errors import stoppable, user_errors
from ocr_rl.cli.options import engine_option
from ocr_rl.cli.progress import console

if TYPE_CHECKING:
    from ocr_rl.data.archives.layout import Layout
    from ocr_rl.data.archives.pages import ArchivePage


@click.command()
@click.argument("source", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--model", default="tiny-scans", show_default=True, help='Folder or hub id of a policy, "tiny" or "tiny-scans".'
)
@click.option(
    "--to",
    "form",
    type=click.Choice(["page-xml", "alto", "hocr"]),
    default="page-xml",
    show_default=True,
    help="What is written.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder to write.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Leave a line empty whose text is less similar to what the policy reads.",
)
@click.option("--max-tokens", type=click.IntRange(min=1), default=256, show_default=True, help="Tokens of a line.")
@engine_option
@user_errors
def align(source: Path, form: str, out: Path, **options: Any) -> None:
    """Put the texts of pages on their lines, where SOURCE has only the places of these.

    SOURCE is PAGE-XML, ALTO or hOCR: a file, a folder, a METS or a zip. A text is that of a region, or 0042.txt beside
    0042.xml. MODEL transcribes each line, and the text is cut where its alignment with that has the fewest edits. OUT
    has a layout file for each page, with its image; `conf` says how similar both are.

    \b
    ocr-rl data align export/ --model runs/a/checkpoints/step_000060 --out aligned/
    ocr-rl train --data aligned/ --level line --set data.on_error=skip
    """
    from ocr_rl.evaluation import align as aligning

    if out.exists():
        raise ValueError(f"{out}: is there already; name another --out")
    aligned = 0
    unsure: list[str] = []

    def pages() -> Iterator[tuple[str, ArchivePage, Layout]]:
        nonlocal aligned
        for found in aligning.align(source, aligning.AlignOptions(**options), console()):
            aligned += found.aligned
            unsure.extend(f"{found.page.id}#{line}" for line in found.unsure)
            yield found.page.id, found.page, found.layout

    with stoppable():
        count = write_layouts(pages(), form, out)
    click.echo(f"{aligned} lines of {count} pages have their text in {out}")
    if unsure:
        click.echo(f"{len(unsure)} are too unsure and have none, such as {unsure[0]}", err=True)
