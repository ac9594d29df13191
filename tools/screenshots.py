"""Take a picture of a page of the book, such as docs/book.png; run `make book` first.

    python tools/screenshots.py [--size 1280x800] [--page book/index.html] [--output docs/book.png]

It needs playwright and an installed Chromium or Chrome.
"""

import argparse
import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from stylelab.errors import StylelabError
from stylelab.files.local import atomic

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]


def main() -> None:
    """Take the picture that the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--book", type=Path, default=ROOT / "build" / "book")
    parser.add_argument("--page", default="book/index.html")
    parser.add_argument("--size", default="1280x800", help="of the window (default: 1280x800)")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "book.png")
    options = parser.parse_args()
    width, _, height = options.size.partition("x")
    if not (width.isdecimal() and height.isdecimal()):
        parser.error(f"--size must look like 1280x800, got {options.size!r}")
    try:
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


if __name__ == "__main__":
    main()
