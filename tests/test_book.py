"""The website builds without a warning, and every link in it leads somewhere."""

import hashlib
import importlib.util
import json
import re
import subprocess
import sys
import tempfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import torch
from browser import browser

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.whole


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The folder of the website."""
    for module in ("sphinx", "myst_nb", "furo", "sphinx_copybutton", "ziamath"):
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


def test_the_gallery_has_every_figure(site):
    """Figures of the paper and of later chapters, with a text, and a link to their notebook."""
    page, figures = site / "docs" / "gallery.html", ROOT / "figures"
    shown = {}
    for source, text, link in Page(page).pictures:
        shown[hashlib.sha256((page.parent / source).read_bytes()).hexdigest()] = link
        assert text and re.match(r"\.\./notebooks/\d\d_", link)
    records = {
        folder: [json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")]
        for folder in (figures / "paper-vgg19-mini", figures / "quick-vgg19-mini")
    }
    paper, quick = ({each["sha256"] for each in made} for made in records.values())
    features = {r["sha256"] for made in records.values() for r in made if r["figure"] == "features"}
    assert paper - features <= set(shown) <= paper | quick


def test_the_front_page_leads_to_every_notebook(site):
    links = Page(site / "book" / "index.html").links
    for path in (ROOT / "notebooks").glob("[0-9]*.ipynb"):
        assert links.count(f"../notebooks/{path.stem}.html") > 1  # in the list at the side too


def test_pictures_have_texts_that_are_not_names_of_files(site):
    for path in site.rglob("*.html"):
        for source, text, link in Page(path).pictures:
            assert link or (text and not re.search(r"[.](png|jpe?g|gif)$", text)), (path, source)


def test_pictures_attached_to_a_notebook_are_on_its_page(site):
    for path in (ROOT / "notebooks").rglob("[0-9]*.ipynb"):
        text = (site / path.relative_to(ROOT).with_suffix(".html")).read_text(encoding="utf-8")
        assert 'src="attachment:' not in text
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            for kinds in cell.get("attachments", {}).values():
                assert next(iter(kinds.values())) in text


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


def test_search_works(site):
    with browser() as running:
        page = running.new_page()
        page.goto((site / "search.html").resolve().as_uri() + "?q=gram")
        page.locator("#search-results li a", has_text="Style reconstructions").first.wait_for()


@pytest.mark.parametrize("width", [1280, 400])
def test_pages_have_things_to_touch(site, width):
    """The sliders move and the pictures open, by keyboard; pages are no wider than the screen."""
    names = ["02_content", "03_style", "04_algorithm", "06_content", "08_initialisation"]
    files = [next(site.glob(f"notebooks/{name}*.html")) for name in names]
    files += [site / "book" / "index.html", site / "book" / "lecture.html"]
    with browser() as running:
        page = running.new_page(viewport={"width": width, "height": 800})
        troubles = []
        page.on("pageerror", lambda error: troubles.append(error))
        for file in files:
            page.goto(file.resolve().as_uri())
            chooser = page.locator(".stylelab-scrubber").first
            picture = chooser.locator(".pictures img:visible")
            slider = chooser.locator("input[type=range]")
            seen = set()
            slider.press("Home")
            for _ in range(1 + int(slider.get_attribute("max"))):
                seen.add(picture.get_attribute("src"))
                assert picture.evaluate("image => image.naturalWidth") > 200
                assert chooser.locator("output").inner_text() == picture.get_attribute("alt")
                slider.press("ArrowRight")
            assert len(seen) == 1 + int(slider.get_attribute("max"))
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.goto(files[0].resolve().as_uri())
        small = page.locator("article .cell_output img").first
        page.locator("article button.enlarge, article a.image-reference").first.press("Enter")
        large = page.locator("dialog.enlarged img")
        large.wait_for()
        assert large.bounding_box()["width"] > small.bounding_box()["width"]
        large.click()
        assert large.is_visible()
        page.keyboard.press("Escape")
        large.wait_for(state="hidden", timeout=5000)
        assert not troubles


def test_the_figures_are_cut_into_their_pictures():
    """As drawn: pictures of known colours, with labels, headings and a footer."""
    panels_of, draw = _part("cut").panels, pytest.importorskip("stylelab.figures").panel_grid
    from stylelab.figures import Panel, save_picture

    greys = [torch.full((1, 3, 60, 90), 0.1 * i) for i in range(1, 6)]
    labels = {"rows": ["first\nrow", "second"], "headings": ["a", "b", "c"], "footer": "made here"}
    for options in ({}, labels):
        figure = draw([Panel(grey, "a label") for grey in greys], columns=3, **options)
        with tempfile.TemporaryDirectory() as folder:
            file = save_picture(figure, "greys", folder)
            cut = panels_of(file, 5)
            with pytest.raises(ValueError, match="expected 6 pictures of one size"):
                panels_of(file, 6)
        assert len({each.shape for each in cut}) == 1 and cut[0].shape[3] > 250
        for grey, each in zip(greys, cut, strict=True):
            assert each.sub(grey.mean()).abs().max() < 0.01


def _part(name):
    """A module of book/parts."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "book" / "parts" / f"{name}.py")
    part = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(part)
    return part
