"""A folder that was worked on, a server of its page, and a real browser."""

import contextlib
import os
import shutil

import pytest
from toolkit_fixture import ToolkitFixture

#: Set by the gate: then a browser that is not there is a failure.
REQUIRED = "TESTS_NEED_BROWSER"
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs chromium and playwright")


@pytest.fixture
def fixture(tmp_path):
    with contextlib.ExitStack() as stack:
        yield ToolkitFixture(tmp_path, stack)


def missing(why):
    (pytest.fail if os.environ.get(REQUIRED) else pytest.skip)(why)


@pytest.fixture(scope="module")
def browser():
    """One for a module: while it is there, no other event loop runs on this thread."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed")
    chromium = shutil.which("chromium")
    if chromium is None:
        missing("there is no chromium; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def tab(browser):
    """A new tab; what goes wrong in it, and what it asks of others, fails the test at its end."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.set_default_timeout(60_000)
    wrong = []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
    page.on("request", lambda request: wrong.append(request.url) if foreign(request.url) else None)
    yield page
    page.close()
    assert wrong == []


def foreign(url):
    return not url.startswith(("http://127.0.0.1:", "file:", "data:"))
