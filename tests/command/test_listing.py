"""The annotated source."""

from html.parser import HTMLParser
from pathlib import Path

from strangers import CRASHES, write


class Structure(HTMLParser):
    """Fails on tags that don't match, and collects tags and text."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def test_listing(crashes, run, tmp_path):
    path = write(tmp_path, CRASHES + 'int tail = 3 < 4 && "a\\"</td>"; /* over\n two lines */\n', "<b>&.cu")
    launch = ["--kernel", "beyond", "--grid", 1, "--block", 1, "--args", "x.npy", "i32:9"]
    code, out, _ = run("check", path, *launch, "--html", "x.html")
    page = Structure()
    page.feed(Path("x.html").read_text())
    assert code == 1 and "wrote x.html" in out
    assert not page.open and ("b", {}) in page.tags  # the finding's kind, no tag from the name
    assert sum(tag == "b" for tag, _ in page.tags) == 2
    assert "<b>&.cu" in page.text and 'int tail = 3 < 4 && "a\\"</td>";' in page.text and "1 finding" in page.text
    rows = [attributes for tag, attributes in page.tags if tag == "tr" and "id" in attributes]
    assert [row["id"] for row in rows if "bad" in row.get("class", "")] == ["f0-3"]
    assert not [tag for tag, attributes in page.tags if "src" in attributes or "http" in attributes.get("href", "")]
