"""A browser for the tests of pages: the one that tools/screenshots.py finds."""

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from stylelab.errors import StylelabError

FILE = Path(__file__).parents[1] / "tools" / "screenshots.py"


@contextmanager
def browser() -> Iterator:
    """Playwright's `Browser`; skips the test where playwright or a browser is missing."""
    pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    spec = importlib.util.spec_from_file_location("screenshots_tool", FILE)
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    try:
        with tool.browser() as running:
            yield running
    except StylelabError as error:
        pytest.skip(str(error))
