"""Files of small datasets, which tests write."""

import io
import json
import re

import datasets
from PIL import Image

PRESENT = {"pdf": "a.png", "page": 1, "id": "a_1", "type": "present", "text": "Dear Sir"}
LETTER = {"file_name": "a.png", "text": "Dear Sir,\nthank you."}


def draw(path, size=(20, 30), grey=255):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, grey).save(path)


def begins(message):
    return "^" + re.escape(message)


def encoded(grey):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), grey).save(buffer, "PNG")
    return buffer.getvalue()


def draw_pdf(path, pages):
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = [Image.new("L", (40, 60), 255) for _ in range(pages)]
    first.save(path, save_all=True, append_images=rest)


def write_lines(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def table(**columns):
    images = [{"bytes": encoded(grey), "path": None} for grey in (10, 20)]
    made = datasets.Dataset.from_dict({"image": images, "text": ["one", "two"]} | columns)
    return made.cast_column("image", datasets.Image())


def draw_tiff(path, greys=(10, 20, 30)):
    first, *rest = [Image.new("L", (4, 4), grey) for grey in greys]
    first.save(path, save_all=True, append_images=rest)
