"""Writes the three texts that ship with the package (python/d_engine/texts/*.txt), always the same bytes.

They are this project's own: sentences put together from the word lists below with a seeded generator, so that the
demo has a few thousand lines of real-looking prose with a natural spread of common and rare words, free of anybody's
rights and small enough for the wheel.

    python examples/wordcount/make_texts.py
"""

import random
from pathlib import Path

TEXTS = Path(__file__).resolve().parents[2] / "python" / "d_engine" / "texts"

PEOPLE = """the keeper|the keeper's daughter|the old pilot|the cook|the harbour master|a boy from the village|the
widow|the carpenter|the clerk|the ferryman|the schoolmaster|a stranger|the doctor|the
miller|nobody|everybody|the three sisters|the captain|the mate|the net mender|the postman|the night watch|the
bell ringer|the baker|his brother"""
THINGS = """the lamp|a letter|the ledger|the rope|an anchor|the bell|a lantern|the tide table|the map|a loaf of bread|the
kettle|the green door|the key|a coat|the boat|the clock|the mast|a basket of eels|the stove|a candle|the
quiet|the weather glass|the count of ships|a copy of the list|the chair by the window|the last match|the oil|a
cup of tea|the news"""
VERBS = """kept|carried|counted|lost|found|mended|painted|forgot|remembered|sold|hid|opened|closed|wrote down|read|
copied|weighed|brought home|put away|looked for|asked after|laughed at|was tired of|believed in|waited for|set
down"""
PLACES = """on the pier|below the lighthouse|in the kitchen|behind the chapel|by the north wall|at the end of the lane|in
the rain|under the stairs|across the bay|out on the sands|over the hill|in the long room|at the mill|beside
the fire|near the well|on the third step|in the loft|between two rocks|along the shore|at the turn of the
tide|in front of the inn"""
TIMES = """in the morning|before noon|when the wind dropped|after supper|late in the year|on the first dry day|at low
water|all winter|every evening|twice that week|once|long before dawn|as it grew dark|in the spring|on market
day|when the others slept|until the oil ran out|that summer|for seven years|at the stroke of nine|now and then"""
SAYINGS = """Two of three is enough.|What is written twice is seldom lost.|One lamp out does not make a dark coast.|It was
entered in the book, and so it was so.|Nobody argued with the book.|Then they agreed, and wrote it down.|He
who was asleep read it later.|The list was the same in every house.|A late boat is still a boat.|They voted,
and it was soon over.|The first line came before the second.|Whoever came back asked what had been missed.|It
stayed as it was written."""
TITLES = {
    "lighthouse": ("The Lighthouse Book", 7),
    "village": ("The Village by the Mill", 11),
    "harbour": ("Harbour Days", 13),
}
LINES = 1800
LONGEST = 68


def words(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split("|")]


def sentence(random_: random.Random) -> str:
    def pick(text: str) -> str:
        # The lower of two draws: early words turn up more often than late ones, as words do.
        choices = words(text)
        return choices[min(random_.randrange(len(choices)), random_.randrange(len(choices)))]

    shape = random_.randrange(6)
    if shape == 0:
        return pick(SAYINGS)
    said = f"{pick(PEOPLE)} {pick(VERBS)} {pick(THINGS)}"
    if shape == 1:
        said = f"{pick(TIMES)} {said} {pick(PLACES)}"
    elif shape == 2:
        said = f"{said}, and {pick(PEOPLE)} {pick(VERBS)} {pick(THINGS)}"
    elif shape == 3:
        said = f"{pick(PLACES)} {said}, but {pick(PEOPLE)} {pick(VERBS)} it {pick(TIMES)}"
    elif shape == 4:
        said = f"{said} {pick(TIMES)}"
    else:
        said = f"{said} {pick(PLACES)}"
    return said[0].upper() + said[1:] + "."


def text(title: str, seed: int) -> str:
    random_ = random.Random(seed)
    lines = [title, ""]
    chapter = 0
    while len(lines) < LINES:
        chapter += 1
        lines += [f"Chapter {chapter}", ""]
        for _ in range(random_.randrange(6, 12)):
            line = ""
            for word in " ".join(sentence(random_) for _ in range(random_.randrange(4, 9))).split():
                if len(line) + 1 + len(word) > LONGEST:
                    lines.append(line)
                    line = word
                else:
                    line = f"{line} {word}".strip()
            lines += [line, ""]
    return "\n".join(lines[:LINES]).rstrip() + "\n"


def main() -> None:
    for name, (title, seed) in TITLES.items():
        path = TEXTS / f"{name}.txt"
        path.write_text(text(title, seed), encoding="utf-8")
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
