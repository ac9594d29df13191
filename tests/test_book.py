"""The website builds without a warning, and every link in it leads somewhere."""

import hashlib
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from browser import browser

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.xdist_group("book"), pytest.mark.whole]  # one process builds it


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the website."""
    for module in ("sphinx", "myst_nb", "furo", "ziamath"):
        pytest.importorskip(module, reason=f"{module} is not installed; it is of the book extra")
    folder = tmp_path_factory.mktemp("book") / "site"
    options = ["-q", "-W", "--keep-going", "-c", "book"]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, ".", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return folder


class Page(HTMLParser):
    """The links and anchors of a page, and its pictures: (source, text, link around it)."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links, self.anchors, self.pictures, self.around = [], set(), [], None
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        if values.get("id"):
            self.anchors.add(values["id"])
        if tag == "img":
            self.pictures.append((values["src"], values.get("alt", ""), self.around))
        if tag == "a":
            self.around = values.get("href")
        if tag == "meta" and values.get("http-equiv") == "refresh":
            self.links.append(values["content"].partition("url=")[2])

    def handle_endtag(self, tag):
        if tag == "a":
            self.around = None


def test_every_link_leads_somewhere(site):
    pages = {path.resolve(): Page(path) for path in site.rglob("*.html")}
    assert len(pages) > 12
    lost, scripts = [], []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                scripts += [link] * link.endswith((".js", ".css"))
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            known = target in pages and (
                not parts.fragment or parts.fragment in pages[target].anchors
            )
            if not (known or (target not in pages and target.is_file())):
                lost.append(f"{path.relative_to(site.resolve())}: {link}")
    assert not lost
    assert not scripts  # it works offline


def test_the_front_page_is_the_gallery(site):
    """All figures of the paper, each with a text, and a link to the notebook that makes it."""
    front, gallery = site / "book" / "index.html", ROOT / "figures" / "paper-vgg19-mini"
    shown = {}
    for source, text, link in Page(front).pictures:
        shown[hashlib.sha256((front.parent / source).read_bytes()).hexdigest()] = link
        assert text and link.startswith("../notebooks/0")
    records = [json.loads(path.read_text(encoding="utf-8")) for path in gallery.glob("*.json")]
    assert set(shown) == {each["sha256"] for each in records if each["figure"] != "features"}


def test_every_notebook_is_a_page_with_its_formulas(site):
    for path in (ROOT / "notebooks").rglob("[0-9]*.ipynb"):
        assert (site / path.relative_to(ROOT).with_suffix(".html")).is_file()
    text = (site / "notebooks" / "02_content_reconstructions.html").read_text(encoding="utf-8")
    assert 'class="formula"><div><svg' in text and r"$\mathcal" not in text


def test_notebooks_are_found_by_their_words(site):
    text = (site / "searchindex.js").read_text(encoding="utf-8")
    index = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))
    found = set()
    for terms in (index["terms"], index["titleterms"]):
        places = terms.get("gram", [])  # one place stands by itself
        found |= {places} if isinstance(places, int) else set(places)
    assert "notebooks/03_style_reconstructions" in {index["docnames"][place] for place in found}


def test_search_and_the_lecture_page_work(site):
    with browser() as running:
        page = running.new_page()
        page.goto((site / "search.html").resolve().as_uri() + "?q=gram")
        page.locator("#search-results li a", has_text="Style reconstructions").first.wait_for()
        page.goto((site / "book" / "lecture.html").resolve().as_uri())
        picture = page.locator(".stylelab-scrubber .pictures img:visible")
        before = picture.get_attribute("src")
        page.locator(".stylelab-scrubber input[type=range]").press("ArrowRight")
        assert picture.get_attribute("src") != before
