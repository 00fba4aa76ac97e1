"""Invented pages for the cheating table: prose, tables, formulas, footnotes, other languages, a short page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ocr_verifiers.authoring.make_tests import Rarity, make_page_tests
from ocr_verifiers.unit_tests.records import UnitTest, parse_test

PROMPT = (
    "Transcribe this page in reading order as markdown. Write tables in HTML or markdown and formulas in LaTeX. "
    "Leave out running headers, footers and page numbers. Do not describe, translate or correct anything."
)
"""A typical instruction to transcribe."""


@dataclass(frozen=True)
class CheatedPage:
    """A page that policies are asked to transcribe."""

    name: str
    reference: str
    furniture: Mapping[str, Any]
    """Running headers and the like, which do not belong in a transcription."""
    tests: tuple[UnitTest, ...]
    """Made by `make_page_tests`."""


_PAGES: Mapping[str, tuple[dict[str, Any], str]] = {
    "letter": (
        {"header": "Correspondence of the Weir Commission", "page_number": 47},
        """\
Marlow Ferry, 8 September 1871

Dear Mrs Ashgrove,

Your inquiry about the footbridge reached me on Tuesday, together with the parcel of drawings. I have compared \
them with the survey of 1866 and find the northern abutment some 14 inches lower than the engineer supposed. The \
carpenter blames the spring floods; the lock keeper, who has watched the river for 31 years, blames the carpenter.

The committee met at the schoolhouse on the following Thursday. Mr Penhaligon proposed a subscription of 250 pounds, \
of which 118 have been promised so far. Nobody objected except the miller, whose cart is too wide for the present \
crossing and will be too wide for the next one. His protest was entered in the minutes.

I would advise you to wait until the harvest is over before you speak to the tenants. They are reasonable people, \
but a dry August makes them anxious. Two of them have already offered timber from the hedgerows, and old Tobias \
Wren will lend his oxen without payment.

Please return the drawings at your convenience. The blue tracing is the only copy that shows the culvert.

I remain, with sincere regards,

Josiah Fennimore
""",
    ),
    "report": (
        {"header": "Annual report of the harbour office", "footer": "printed for internal use"},
        """\
# Traffic and dues

The **quarterly inspection** took place under unusual conditions: the eastern basin was closed for dredging from \
February to May. Arrivals fell accordingly, while the average tonnage rose.

| Quarter | Arrivals | Tonnage | Dues collected |
| --- | --- | --- | --- |
| First | 412 | 96,350 | 18,204.50 |
| Second | 287 | 88,115 | 16,930.25 |
| Third | 561 | 134,720 | 25,077.00 |
| Fourth | 498 | 119,480 | 22,641.75 |

## Staff and equipment

Two pilots retired during the summer and **one apprentice** was engaged. The steam crane lifted 7,340 loads \
without an accident. Its boiler is to be replaced next spring, at an estimated cost of 3,650 crowns.

## Outlook

Dredging resumes in October. The office expects about 1,900 arrivals next year, provided that the lighthouse at \
Skerrow Point is repaired before the autumn gales.
""",
    ),
    "mathematics": (
        {"header": "Lectures on heat", "page_number": 112},
        r"""## The cooling of a rod

Consider a thin rod of length \(L\) whose ends are kept at temperature zero. The temperature \(u(x, t)\) obeys

\[ \frac{\partial u}{\partial t} = \kappa \frac{\partial^2 u}{\partial x^2} \]

with the initial distribution \(u(x, 0) = f(x)\). Separation of variables suggests products of a function of \
position and a function of time, each of which solves an ordinary equation. Only the sines survive at the ends, \
and the general solution is the superposition

\[ u(x, t) = \sum_{n=1}^{\infty} b_n e^{-\kappa n^2 \pi^2 t / L^2} \sin \frac{n \pi x}{L} \]

whose coefficients are found by multiplying with one sine and integrating over the rod:

\[ b_n = \frac{2}{L} \int_0^L f(x) \sin \frac{n \pi x}{L} \, dx \]

Every term decays, the higher ones faster. After a while the first term dominates, and the profile looks like a \
single arch whatever the beginning was. The half-life of the arch is \(\tau = \frac{L^2 \ln 2}{\kappa \pi^2}\), \
so that a rod of twice the length takes four times as long to cool.
""".replace("\\\n", ""),
    ),
    "ledger": (
        {"footer": "carried forward to folio 29", "page_number": 28},
        """\
<table>
<tr><th>Date</th><th>Account</th><th>Particulars</th><th>Debit</th><th>Credit</th></tr>
<tr><td>3 March</td><td>Granary</td><td>Barley, 46 sacks</td><td></td><td>82.80</td></tr>
<tr><td>5 March</td><td>Smithy</td><td>Shoeing of four horses</td><td>11.20</td><td></td></tr>
<tr><td>9 March</td><td>Wages</td><td>Shepherd and two boys</td><td>27.45</td><td></td></tr>
<tr><td>14 March</td><td>Dairy</td><td>Cheese to Colbeck market</td><td></td><td>39.15</td></tr>
<tr><td>17 March</td><td>Repairs</td><td>Thatching of the long barn</td><td>64.00</td><td></td></tr>
<tr><td>22 March</td><td>Orchard</td><td>Grafts of russet and codlin</td><td>8.35</td><td></td></tr>
<tr><td>30 March</td><td>Granary</td><td>Oats, 19 sacks</td><td></td><td>28.50</td></tr>
</table>

Examined and found correct, the 2nd of April. The sum for the barn was paid in two parts.
""",
    ),
    "article": (
        {"header": "Beiträge zur Landeskunde", "page_number": "203"},
        """\
# Die Brücken über die Lauter

Schon im Jahre 1438 erwähnt eine Urkunde den hölzernen Steg unterhalb der Mühle.[^1] Ob er mit dem späteren \
Übergang am Galgenberg identisch ist, bleibt ungewiß. Der Pfarrer Balthasar Öhler berichtet 1612 von einem \
Hochwasser, das *drei Joche* fortgerissen habe.

Die steinerne Brücke entstand zwischen 1703 und 1709 unter dem Baumeister Grünspan, dessen Rechnungen vollständig \
erhalten sind. Sie kostete 4.216 Gulden, beinahe das Doppelte des Voranschlags. Für die Gewölbe verwendete man \
Muschelkalk aus den Brüchen bei Weißenstein.[^2]

Im Winter 1784 stauten sich die Eisschollen vor den Pfeilern. Bürger und Soldaten arbeiteten sechs Nächte lang mit \
Äxten und Stangen, ehe der Fluß wieder frei war. Seither wird der Wasserstand täglich aufgezeichnet.

[^1]: Stadtarchiv, Bestand Zünfte, Nr. 77.
[^2]: Vgl. die Zeichnung im Anhang.
""",
    ),
    "accounts": (
        {"header": "Statement of tolls", "page_number": 9},
        """\
<table>
<tr><th>Gate</th><th>January</th><th>February</th><th>March</th><th>April</th></tr>
<tr><td>Aldwick</td><td>4186</td><td>5875</td><td>8685</td><td>476</td></tr>
<tr><td>Birkby</td><td>850</td><td>2570</td><td>1855</td><td>6092</td></tr>
<tr><td>Carrow</td><td>6239</td><td>8909</td><td>1671</td><td>9404</td></tr>
<tr><td>Dunmere</td><td>3551</td><td>6688</td><td>4580</td><td>2984</td></tr>
<tr><td>Eastlow</td><td>1179</td><td>2274</td><td>7289</td><td>2076</td></tr>
<tr><td>Farndale</td><td>88</td><td>3432</td><td>3531</td><td>2718</td></tr>
<tr><td>Gorsley</td><td>5139</td><td>3259</td><td>8835</td><td>3356</td></tr>
<tr><td>Hexmoor</td><td>9882</td><td>9604</td><td>56</td><td>9765</td></tr>
</table>
""",
    ),
    "register": (
        {"footer": "to be returned to the clerk"},
        """\
# Return of cattle

| Parish | Oxen | Cows | Calves | Fines |
| --- | --- | --- | --- | --- |
| Aldwick | 14 | 37 | 21 | 12.50 |
| Birkby | nil | nil | nil | 0.00 |
| Carrow | nil | nil | nil | 0.00 |
| Dunmere | nil | nil | nil | 0.00 |
| Eastlow | nil | nil | nil | 0.00 |
| Farndale | 9 | 25 | 13 | 7.25 |
| Gorsley | nil | nil | nil | 0.00 |
| Hexmoor | 31 | 64 | 48 | 19.75 |

The parishes that sent **no return** are marked with nil.
""",
    ),
    "notice": (
        {"header": "港务公报", "page_number": 36},
        """\
# 关于调整渡口票价的通知

请各渡口**注意以下事项：**自六月一日起，成人票价由三角改为四角，学生凭证半价。行李超过二十斤者，另收**搬运费**一角。

| 渡口 | 班次 | 乘客人数 | 收入（元） |
| --- | --- | --- | --- |
| 东门 | 24 | 1,862 | 744.80 |
| 北滩 | 18 | 1,175 | 470.00 |
| **石桥** | 12 | 938 | 375.20 |

夜间班次暂停至七月底，修理码头的木桩。旅客如有意见，可向值班员提出，或写信给公报编辑部。
""",
    ),
    "label": (
        {},
        """\
Herbarium of the Fellside Museum

Saxifraga granulata, collected by E. Thorncastle on wet limestone above Gillbeck, 340 m, 19 May 1903. No. 2287
""",
    ),
}


@lru_cache(maxsize=1)
def cheated_pages() -> tuple[CheatedPage, ...]:
    """The pages with their tests, which include math tests if the engine that renders formulas is installed."""
    rarity = Rarity()
    for _, reference in _PAGES.values():
        rarity.add(reference)
    pages = []
    for name, (furniture, reference) in _PAGES.items():
        records = make_page_tests(f"{name}.pdf", 1, reference, rarity, furniture=furniture).records
        tests = tuple(parse_test(record, name) for record in records)
        pages.append(CheatedPage(name, reference, furniture, tests))
    return tuple(pages)
