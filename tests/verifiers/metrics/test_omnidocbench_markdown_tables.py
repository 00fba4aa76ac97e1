"""Tables in markdown among stray tags of tables."""

import random
import zlib

from ocr_verifiers.metrics.omnidocbench.blocks import markdown_tables

TABLE_PARTS = [
    "|",
    "|",
    "|",
    "\n",
    "\n",
    "\n",
    "a",
    "b c",
    " ",
    ":",
    "---",
    "| a | b |\n",
    "|---|---|\n",
    "\n\n",
    "|\n",
]
TABLE_PARTS += ["<table>", "</table>", "<table>\n", "</table>\n", "<tr><td>x", "<th>y</th>", "</thead>", "<!--", "-->"]
CHECKSUMS = (
    "c200e26111b90995dced635f2cbb4876ea0a4a66c070a21cb00f44fd1aeb21dc299cff11117d7dc1a49d8a2782139ac8da25"
    "00000000d447fdeff9701e051082ea2ea301411bd68ac829759809825f863973c26512f0622147fa2cb68141146cccff9f47"
    "259c01c55bb048c40f5d163e57ccf86e08a391df5342f89e1cb7368cf38df38d75fced0681966fd215530ed1431d9b37703d"
    "886fd39fd6eba15a95602cb8fd4effa42af0929940c8675a441fb84cb168b88f423551d165efc0df85e7e57080b1f38d8fcf"
    "f3e5c8f1ccba017470bd4c2a8773b86a000079f5dd8ac775e5c710b78ff38707a0ab1ee18419a0926bb5ce39fa8facde240b"
    "0000d5730000b122daf76ba36e497707e07fcdfb35781e4be0990da4d226a78ba7fa615e00002df791d8aa1fab3a00004e4e"
    "c916545cd98e6491e3983fff0be15d30bb3a0f8358a16a2a3dd9e577676670b9c37ef81667be0cfd0ff98aac17c3b1835841"
    "61aa5fd1b7807dfad9a27f2331df91c9618b1cf90000ac1f46d3a980a6c135e2ef54418ecf1d9826f4f3bd59146046c5e131"
)
"""Four digits for each of 200 texts: of what evalscope 1.14.1 and VLMEvalKit (commit fb4d575) make of it."""


def test_stray_tags_among_tables_in_markdown_cut_them_as_in_the_benchmark():
    rng = random.Random(16)
    for place in range(0, len(CHECKSUMS), 4):
        written = "\n| p |\n| q |\n".join("".join(rng.choices(TABLE_PARTS, k=8)) for _ in range(2))
        text, tables = markdown_tables(written)
        for table in tables:
            text = text[: table.position] + table.text + text[table.position + len(table.text) :]
        checksum = zlib.crc32(text.encode()) & 0xFFFF
        assert f"{checksum:04x}" == CHECKSUMS[place : place + 4], (written, text)


def test_a_table_that_does_not_end_takes_the_rows_of_the_next_one():
    _, (table,) = markdown_tables("<table>\n| a |\n| b |\n\nx")
    assert table.text.count("<td") == 2


def test_what_follows_a_table_that_does_not_end_is_lost_and_so_is_the_line_above():
    text, (table,) = markdown_tables("| a |\n| b |\nx\n<table>\ny")
    assert table.text.count("<td") == 2
    assert text.split() == []
