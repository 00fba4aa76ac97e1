"""HTML for tests to look at."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "wbr"}


class Tree(HTMLParser):
    """Tags with their attributes, the text of each and its words, and a complaint for one that is not closed."""

    def __init__(self, html):
        super().__init__()
        self.open, self.found = [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "words": [], **dict(attrs)}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data
            element["words"] += data.split()

    def all(self, tag, **attributes):
        return [e for e in self.found if e["tag"] == tag and all(e.get(k) == v for k, v in attributes.items())]
