"""A page without a mistake, as each family writes it, and unit tests of it."""

import json

TABLE = (
    '<table><tr><th rowspan="2">Quarter</th><th colspan="2">Arrivals</th></tr><tr><th>Sail</th><th>Steam</th></tr>'
    "<tr><td>First</td><td>412</td><td>96</td></tr><tr><td>Second</td><td></td><td>88</td></tr></table>"
)
MARKDOWN = f"""\
# Annual Report

## Traffic

The **quarterly inspection** took place under unusual conditions: the basin was closed.[^1]

Arrivals fell, while the tonnage rose. With $n$ ships of tonnage $t$ the dues are

$$d = \\frac{{n t}}{{2}}$$

Table 1. Arrivals by quarter

{TABLE}

- pilots
- lock keepers
    - of the east basin

1. The crane was repaired.
2. The boiler was replaced.

Figure 1. The steam crane

[^1]: See the report of the harbour office.
"""
OTSL = (
    "<ched>Quarter<ched>Arrivals<lcel><nl><ucel><ched>Sail<ched>Steam<nl>"
    "<fcel>First<fcel>412<fcel>96<nl><fcel>Second<ecel><fcel>88<nl>"
)
PLACE = "<loc_50><loc_40><loc_250><loc_60>"
FIRST, SECOND, *_ = [block for block in MARKDOWN.split("\n\n") if not block.startswith("#")]
NOTE = "[^1]: See the report of the harbour office."


def dots(category, text=None):
    box = {"bbox": [100, 80, 500, 120], "category": category}
    return box if text is None else box | {"text": text}


def block(label, text=""):
    return f"<|ref|>{label}<|/ref|><|det|>[[115, 99, 884, 223], [115, 230, 884, 240]]<|/det|>\n{text}"


PERFECT = {
    "markdown": MARKDOWN,
    "front_matter": "---\nprimary_language: en\nis_rotation_valid: True\nrotation_correction: 0\nis_table: False\n"
    f"is_diagram: False\n---\n{MARKDOWN}",
    "doctags": f"""<doctag><page_header>{PLACE}Weir Commission</page_header>
<title>{PLACE}Annual Report</title>
<section_header_level_1>{PLACE}Traffic</section_header_level_1>
<text>{PLACE}{FIRST}</text>
<inline>{PLACE}<text>Arrivals fell, while the tonnage rose. With</text>
<formula>n</formula>
<text>ships of tonnage</text>
<formula>t</formula>
<text>the dues are</text>
</inline>
<formula>{PLACE}d = \\frac{{n t}}{{2}}</formula>
<otsl>{PLACE}{OTSL}<caption>{PLACE}Table 1. Arrivals by quarter</caption></otsl>
<unordered_list><list_item>{PLACE}· pilots</list_item>
<list_item>{PLACE}lock keepers</list_item>
<list_item><unordered_list><list_item>{PLACE}of the east basin</list_item>
</unordered_list></list_item>
</unordered_list>
<ordered_list><list_item>{PLACE}The crane was repaired.</list_item>
<list_item>{PLACE}The boiler was replaced.</list_item>
</ordered_list>
<picture>{PLACE}<engineering_drawing><caption>{PLACE}Figure 1. The steam crane</caption></picture>
<footnote>{PLACE}{NOTE}</footnote>
<page_footer>{PLACE}14</page_footer>
</doctag><end_of_utterance>""",
    "otsl": MARKDOWN.replace(TABLE, OTSL.replace("<nl>", "<nl>\n").strip()),
    "layout_json": "```json\n"
    + json.dumps(
        [
            dots("Page-header", "Weir Commission"),
            dots("Title", "# Annual Report"),
            dots("Section-header", "Traffic"),
            dots("Text", FIRST),
            dots("Text", SECOND),
            dots("Formula", "d = \\frac{n t}{2}"),
            dots("Caption", "Table 1. Arrivals by quarter"),
            dots("Table", TABLE),
            dots("List-item", "- pilots"),
            dots("List-item", "- lock keepers"),
            dots("List-item", "    - of the east basin"),
            dots("List-item", "1. The crane was repaired."),
            dots("List-item", "2. The boiler was replaced."),
            dots("Picture"),
            dots("Caption", "Figure 1. The steam crane"),
            dots("Footnote", NOTE),
            dots("Page-footer", "14"),
        ]
    )
    + "\n```",
    "grounding": "\n\n".join(
        [
            block("title", "# Annual Report"),
            block("sub_title", "## Traffic"),
            block("text", FIRST + "  "),
            block("text", SECOND + "  "),
            block("equation", "$$d = \\frac{n t}{2}$$"),
            block("table_caption", "<center>Table 1. Arrivals by quarter</center>"),
            block("table", TABLE),
            block("text", "- pilots\n- lock keepers\n    - of the east basin"),
            block("text", "1. The crane was repaired.\n2. The boiler was replaced."),
            block("image"),
            block("image_caption", "<center>Figure 1. The steam crane</center>"),
            block("footnote", NOTE),
            block("page_number", "14"),
        ]
    ),
    "tags": "<watermark>OFFICIAL COPY</watermark>\n"
    + MARKDOWN.replace("Figure 1. The steam crane", "<img>Figure 1. The steam crane</img>")
    + "\n<page_number>14</page_number>",
}

RECORDS = [
    {"type": "baseline"},
    {"type": "absent", "text": "Weir Commission", "max_diffs": 1},
    {"type": "absent", "text": "OFFICIAL COPY"},
    {"type": "present", "text": "took place under unusual conditions"},
    {"type": "order", "before": "The crane was repaired.", "after": "The boiler was replaced."},
    {"type": "format", "format": "heading", "text": "Annual Report"},
    {"type": "format", "format": "heading", "text": "Traffic"},
    {"type": "format", "format": "bold", "text": "quarterly inspection"},
    {"type": "footnote", "marker": "1", "appears_before_marker": "the basin was closed"},
    {"type": "table", "cell": "412", "left": "First", "up": "Sail", "right": "96", "top_heading": "Arrivals"},
    {"type": "table", "cell": "88", "up": "96", "top_heading": "Steam"},
    {"type": "math", "math": "d = \\frac{n t}{2}"},
    {"type": "math", "math": "t"},
]
