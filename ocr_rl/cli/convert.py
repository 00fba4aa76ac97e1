"""`ocr-rl data convert`: a dataset in another form."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ocr_rl.cli.errors import user_errors
from ocr_rl.cli.options import DatasetOptions, dataset_options, on_error_option, take

if TYPE_CHECKING:
    from ocr_rl.data.archives.layout import Layout
    from ocr_rl.data.archives.pages import ArchivePage
    from ocr_rl.types import Page


@click.command()
@click.argument("data", metavar="SOURCE")
@click.option(
    "--to",
    "form",
    required=True,
    type=click.Choice(["imagefolder", "parquet", "page-xml", "alto", "hocr"]),
    help="What is written.",
)
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The folder, or .parquet file, to write.")
@dataset_options
@on_error_option
@user_errors
def convert(form: str, out: Path, **options: Any) -> None:
    """Write the dataset SOURCE in another form; nothing is written if it has a problem.

    imagefolder is a folder of images with metadata.jsonl, parquet a table that holds its images. page-xml, alto and
    hocr are a layout file a page with its image beside it; what is no region or line of text is left out.

    \b
    ocr-rl data convert export.zip --to imagefolder --level line --out lines/
    ocr-rl data convert export/ --to alto --out alto/
    ocr-rl data convert scans/ --to parquet --out scans.parquet
    """
    dataset = take(DatasetOptions, options | {"prompt": ""})
    if out.exists():
        raise ValueError(f"{out}: is there already; name another --out")
    if form == "parquet" and out.suffix != ".parquet":
        raise ValueError(f"{out}: --to parquet writes one file; name it *.parquet")
    if form in ("imagefolder", "parquet"):
        count = _write_rows(dataset.load(out), form, out)
    else:
        if dataset.level not in (None, "page"):
            raise ValueError(f"--level {dataset.level} has no effect: {form} has whole pages; leave it out")
        count = write_layouts(_layout_pages(dataset, out), form, out)
    click.echo(f"{count} pages in {out}")


def _write_rows(pages: Sequence[Page], form: str, out: Path) -> int:
    from ocr_rl.data.archives.conversion import rows_of, save_png, write_parquet
    from ocr_rl.runs.atomic import atomic_folder

    if form == "parquet":
        partial = out.with_name(out.name + ".partial")
        write_parquet(partial, pages)
        partial.replace(out)
        return len(pages)
    with atomic_folder(out) as folder, open(folder / "metadata.jsonl", "w", encoding="utf-8") as file:
        for row in rows_of(pages, save_png(folder)):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(pages)


def _layout_pages(dataset: DatasetOptions, out: Path) -> Iterable[tuple[str, Page | ArchivePage, Layout]]:
    """(id, page, layout) of the pages that the options choose: layout files keep theirs, others get one region."""
    from ocr_rl.data.archives.conversion import layout_of
    from ocr_rl.data.archives.pages import ArchivePage, is_archive, read_archive

    pages = dataset.load(out)
    source = Path(dataset.data)
    entries = read_archive(source) if is_archive(source) else []
    known = {entry.id: entry for entry in entries if isinstance(entry, ArchivePage)}
    for page in pages:
        entry = known.get(page.id)
        yield (page.id, page, layout_of(page)) if entry is None else (page.id, entry, entry.layout)


def write_layouts(pages: Iterable[tuple[str, Page | ArchivePage, Layout]], form: str, out: Path) -> int:
    """A layout file for each page, with its image beside it; how many there are."""
    from ocr_rl.data.archives.conversion import copy_image
    from ocr_rl.evaluation.layout_output import LAYOUT_FORMATS, layout_name
    from ocr_rl.runs.atomic import atomic_folder

    write, suffix = LAYOUT_FORMATS[form]
    taken: set[str] = set()
    with atomic_folder(out) as folder:
        for name, page, layout in pages:
            file = folder / layout_name(name, suffix, taken)
            file.parent.mkdir(parents=True, exist_ok=True)
            image, size = copy_image(page, file.parent, file.name.removesuffix(suffix))
            file.write_bytes(write(replace(layout.scaled(size), image=image)))
    return len(taken)
