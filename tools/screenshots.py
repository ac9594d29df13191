"""Take pictures of the book, and look for what is wrong with its pages; run `make book` first.

    python tools/screenshots.py          # one page as docs/book.png
    python tools/screenshots.py --all    # every page into build/pages/, two widths, light and dark

With --all it also lists what a program can find: pages wider than the screen, pictures that are
missing or have no text, raw LaTeX, cut labels, errors of scripts, requests to other places, lessons
without a picture on the first screen. It ends with exit code 1 if there is anything. It needs
playwright and an installed Chromium or Chrome.
"""

import argparse
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from stylelab.errors import StylelabError
from stylelab.files.local import atomic

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
WIDTHS, SCHEMES, HEIGHT = (1280, 400), ("light", "dark"), 800
TALLEST = 24_000  # pixels of a picture; longer pages are cut there
LOOK = r"""() => {
  const found = [], article = document.querySelector("article") ?? document.body;
  const seen = (each) => each.getClientRects().length > 0;
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the screen");
  for (const each of article.querySelectorAll("img")) {
    const name = each.src.startsWith("data:") ? each.alt : each.src.split("/").pop();
    if (each.complete && !each.naturalWidth && seen(each)) found.push("missing picture: " + name);
    const fileName = /\.(png|jpe?g|gif|svg)$/.test(each.alt);
    if (fileName || (!each.alt && !each.closest("a")))
      found.push("picture without a text: " + name);
  }
  const words = article.cloneNode(true);
  for (const each of words.querySelectorAll("pre, code, script, style, svg")) each.remove();
  const latex = words.textContent.match(/\$\$|\\(frac|mathcal|text|alpha|beta|sum|begin)\b/);
  if (latex) found.push("raw LaTeX: " + latex[0]);
  for (const each of article.querySelectorAll("td, th, label, button, figcaption, h1, h2, h3, p")) {
    const hides = getComputedStyle(each).overflowX === "hidden";
    if (hides && seen(each) && each.scrollWidth > each.clientWidth + 1)
      found.push("cut: " + each.textContent.trim().slice(0, 40));
  }
  const first = [...article.querySelectorAll("img")].some((each) => {
    const box = each.getBoundingClientRect();
    return box.height > 60 && box.top + Math.min(box.height, 120) < innerHeight;
  });
  if (/notebooks.[0-9]/.test(location.pathname) && !first) found.push("no picture at first");
  return found;
}"""


def main() -> None:
    """Take the pictures that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--book", type=Path, default=ROOT / "build" / "book")
    parser.add_argument("--all", action="store_true", help="every page, into build/pages/")
    parser.add_argument("--only", default="", help="with --all: pages with this in their name")
    parser.add_argument("--page", default="book/index.html")
    parser.add_argument("--size", default="1280x800", help="of the window (default: 1280x800)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "book.png")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        parser.error(f"--size must look like 1280x800, got {options.size!r}")
    try:
        if options.all:
            raise SystemExit(take_all(options.book, ROOT / "build" / "pages", options.only))
        take(options.book / options.page, options.output, int(width), int(height))
    except StylelabError as error:
        parser.exit(1, f"{parser.prog}: {error}\n")
    print(f"{options.output}: {options.output.stat().st_size / 1000:.0f} kB")


@contextmanager
def browser() -> Iterator[Browser]:
    """An installed browser without a window; StylelabError if there is none."""
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise StylelabError(f"install one of {', '.join(BROWSERS)}")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        yield running
        running.close()


def take(page_file: Path, output: Path, width: int, height: int) -> None:
    """Save what a window of `width` x `height` pixels shows of a page, in 256 colours.

    Raises:
        StylelabError: if there is no such page or no browser.
    """
    if not page_file.is_file():
        raise StylelabError(f"{page_file} does not exist; run make book")
    with browser() as running:
        page = running.new_page(viewport={"width": width, "height": height})
        page.goto(page_file.resolve().as_uri())
        data = page.screenshot()
    with atomic(output) as path, Image.open(io.BytesIO(data)) as image:
        colours = image.convert("RGB")
        colours.quantize(palette=colours.quantize(256)).save(path, optimize=True)  # dithered


def take_all(book: Path, output: Path, only: str = "") -> int:
    """Save every page whose name has `only` in it, in each width and scheme; print what is wrong.

    Returns 1 if anything is wrong, else 0.
    """
    files = [path for path in sorted(book.rglob("*.html")) if only in path.as_posix()]
    files = [path for path in files if path.stem not in ("genindex", "search")]
    files = [path for path in files if path != book / "index.html" and "_static" not in path.parts]
    if not files:
        raise StylelabError(f"{book} holds no pages with {only!r} in their name; run make book")
    output.mkdir(parents=True, exist_ok=True)
    wrong, pictures = {}, []
    with browser() as running:
        for width, scheme in product(WIDTHS, SCHEMES):
            size = {"width": width, "height": HEIGHT}
            page = running.new_page(viewport=size, color_scheme=scheme)
            for file in files:
                name = "-".join(file.relative_to(book).with_suffix("").parts)
                picture = output / f"{name}-{width}-{scheme}.jpg"
                for fault in look_at(page, file, picture):
                    wrong.setdefault(f"{name}: {fault}", []).append(f"{width} {scheme}")
                pictures.append(picture.name)
            page.close()
    tags = "\n".join(f'<img src="{name}" title="{name}" height="400">' for name in sorted(pictures))
    (output / "index.html").write_text(f"<!doctype html>\n{tags}\n", encoding="utf-8")
    for fault, where in wrong.items():
        print(f"{fault}  ({', '.join(where)})")
    print(f"{len(pictures)} pictures, {len(wrong)} faults: {output / 'index.html'}")
    return int(bool(wrong))


def look_at(page: Page, file: Path, picture: Path) -> list[str]:
    """Save all of a page of the book; returns what is wrong with it."""
    wrong: list[str] = []

    def requested(request: object) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            wrong.append(f"asks for {request.url}")

    def failed(error: object) -> None:
        wrong.append(f"error of a script: {error}")

    page.on("pageerror", failed)
    page.on("request", requested)
    page.goto(file.resolve().as_uri())
    wrong += page.evaluate(LOOK)
    tall = page.evaluate("document.documentElement.scrollHeight")
    box = {"x": 0, "y": 0, "width": page.viewport_size["width"], "height": min(tall, TALLEST)}
    page.screenshot(path=picture, full_page=True, clip=box, type="jpeg", quality=70)
    page.remove_listener("pageerror", failed)
    page.remove_listener("request", requested)
    return wrong


if __name__ == "__main__":
    main()
