"""A page as a browser takes it."""

import json
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """What a browser would take from the page: elements, their attributes and texts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.scripts = [], [], []
        self._in_script = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self._in_script = dict(attrs)
            self.scripts.append((self._in_script, ""))

    def handle_endtag(self, tag):
        if tag == "script":
            self._in_script = None

    def handle_data(self, data):
        if self._in_script is not None:
            self.scripts[-1] = (self._in_script, self.scripts[-1][1] + data)
        else:
            self.texts.append(data)

    def data(self, name):
        return json.loads(next(text for attrs, text in self.scripts if attrs.get("id") == name))

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts))
