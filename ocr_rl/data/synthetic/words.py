"""Invented text: common words, made-up words, numbers, and strings that no language model can guess.

Nothing is quoted. Random strings are there on purpose: a policy that can guess the next character from language alone
never learns to look at the page.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

COMMON = """
the of and to in is that it was for on are with as at be this have from or had by not but what all were when
we there can an your which their said if do will each about how up out them then she many some so these would
other into has more her two like him see time could no make than first been its who now people my made over did
down only way find use may water long little very after words called just where most know get through back much
before go good new write our used me man too any day same right look think also around another came come work
three word must because does part even place well such here take why things help put years different away again
off went old number great tell men say small every found still between name should home big give air line set own
under read last never us left end along while might next sound below saw something thought both few those always
looked show large often together asked house world going want school important until form food keep children feet
land side without boy once animal life enough took sometimes four head above kind began almost live page got earth
need far hand high year mother light country father let night picture being study second book carry science eat
room friend idea mountain stop hear cause north south east west report letter minister committee government office
department conference general president secretary meeting council state public service law question matter
concerning regarding received copy dated subject enclosed herewith number paragraph annex total amount balance
invoice account payment date due received net gross price unit quantity tax street city telephone

de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont avec son aux mais comme
ou si leur nous elle était même deux tout fait été sans être aussi entre ces peut cette temps très où après sous
année premier dernière lettre rue ville vie monde jour homme femme maison heure chez vers trois depuis toujours
bibliothèque catalogue enregistrements musique théâtre siècle œuvre musée français française Paris monsieur madame

der die und den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus er hat dass sie
nach wird bei einer um am sind noch wie einem über einen so zum war haben nur oder aber vor zur bis mehr durch man
sein wurde sei hatte kann gegen vom können schon wenn Jahr Straße Stadt Regierung Brief Haus Zeit größe für früh

a je na se že v do pro jako byl jsou také nebo podle která město rok dopis úřad ministerstvo Praha června července
señor niño año país también está más según aquí España città perché così più università però però dell
""".split()

ONSETS = "b c d f g h j k l m n p qu r s t v w x y z br ch cl cr dr fl gr pl pr sch sh sp st th tr tw wh".split()
VOWELS = "a e i o u y ai ea ee ie io oo ou é è ê à â ä ö ü í ó ú ø å ě ů".split()
CODAS = ["", "", "", "n", "r", "s", "t", "l", "m", "ck", "nd", "ng", "nt", "rs", "st", "ß", "ll", "tt", "x"]
WRAPS = ("()", "[]", '""', "''", "«»", "“”", "„“")
MARKS = ",,,,....;:!?-–—…"

Draw = Callable[[str], bool]


def made_up_word(rng: Random) -> str:
    return "".join(rng.choice(ONSETS) + rng.choice(VOWELS) + rng.choice(CODAS) for _ in range(rng.randint(1, 3)))


def number(rng: Random) -> str:
    """A count, a decimal, a price, a date or a reference, as ledgers and letters have them."""
    n = rng.randint(0, 10 ** rng.randint(1, 6))
    form = rng.randrange(7)
    if form == 0:
        return f"{n:,}"
    if form == 1:
        return f"{n / 100:.2f}"
    if form == 2:
        return f"{rng.choice('$£€')}{n}"
    if form == 3:
        return f"{rng.randint(1, 31)}.{rng.randint(1, 12)}.{rng.randint(1700, 2030)}"
    if form == 4:
        return f"{n}{rng.choice(['%', '°', '/', ')', '-'])}{rng.randint(0, 99)}"
    return str(n)


def random_string(rng: Random, alphabet: str, length: int) -> str:
    """Characters of the alphabet; in six of ten strings only its ASCII letters and digits."""
    plain = [c for c in alphabet if c.isascii() and c.isalnum()]
    pool = plain if rng.random() < 0.6 else alphabet.replace(" ", "")
    return "".join(rng.choice(pool) for _ in range(length))


def word(rng: Random, alphabet: str, random_strings: float) -> str:
    """One token of invented text without spaces, of characters of `alphabet`.

    `random_strings` is the share of random strings, in [0, 1].
    """
    while True:
        kind = rng.random()
        if kind < random_strings:
            token = random_string(rng, alphabet, rng.randint(1, 9))
        elif kind < random_strings + 0.12:
            token = number(rng)
        elif kind < random_strings + 0.35:
            token = made_up_word(rng)
        else:
            token = rng.choice(COMMON)
        case = rng.random()
        if case < 0.15:
            token = token[:1].upper() + token[1:]
        elif case < 0.22:
            token = token.upper()
        trim = rng.random()
        if trim < 0.12:
            token += rng.choice(MARKS)
        elif trim < 0.16:
            pair = rng.choice(WRAPS)
            token = pair[0] + token + pair[1]
        if set(token) <= set(alphabet):
            return token


def line(rng: Random, alphabet: str, shortest: int, longest: int, random_strings: float = 0.3) -> str:
    """A line of `shortest` to `longest` characters of invented text, with no space at either end."""
    target = rng.randint(shortest, longest)
    text = word(rng, alphabet, random_strings)
    while len(text) < target:
        text += " " + word(rng, alphabet, random_strings)
    if len(text) > longest:
        text = text[:target].rstrip()
    if len(text) < shortest:  # a cut at a space removed one character too many
        text += random_string(rng, "abcdefghijklmnopqrstuvwxyz", shortest - len(text))
    return text
