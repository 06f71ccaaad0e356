"""The page in a real browser: during a run, and as a report from disk."""

import os
import subprocess
import sys
import threading

import pytest
from pictures import take_picture

from openai_parallel_toolkit import Gpt35Turbo, ParallelToolkit, request_openai_api
from openai_parallel_toolkit.simulator import Fault, SimKey
from openai_parallel_toolkit.view.server import ViewServer
from openai_parallel_toolkit.view.source import Source, StatePlace

STATE = ".openai_parallel_toolkit"
FILES = 120


class Asks(ParallelToolkit):
    """Of its files every third fails, for one of three causes."""

    may_go_on = threading.Event()

    def process_input(self, file):
        return int(file.read().split()[-1])

    def process_data(self, number):
        if number > FILES / 2:
            self.may_go_on.wait()
        if number % 9 == 0:
            raise ValueError("a segment is empty")
        words = {3: "[[content_filter]] ", 6: "x" * 40_000}.get(number % 9, "")
        return request_openai_api(
            Gpt35Turbo(content=f"{words}What is the height of peak {number}?")
        )

    def process_output(self, data, output_file_without_ext):
        with open(f"{output_file_without_ext}.txt", "w") as out:
            out.write(data)


@pytest.fixture
def live_run(fixture):
    """A run on a good, a cooling and a dropped key, held in its midst, and its page."""
    limit = Fault("429", key="busy", retry_after=300, times=1)
    keys = [SimKey("good"), SimKey("busy"), SimKey("empty", quota="none")]
    sim = fixture.simulate(*keys, context_tokens=2_000, faults=[limit], latency=0.02)
    fixture.configure(sim).inputs(FILES)
    Asks.may_go_on.clear()
    run = threading.Thread(target=fixture.run, args=(Asks,), kwargs={"max_cost": "0.25"})
    server = ViewServer(Source(StatePlace("out", str(fixture.output / STATE))), port=0)
    server.start()
    run.start()
    yield server.url
    Asks.may_go_on.set()
    run.join()
    server.close()


def wait_for_rows(tab, place, count):
    from playwright.sync_api import expect

    expect(tab.locator(f"{place} tbody tr")).to_have_count(count, timeout=60_000)


def number(tab, name):
    value = tab.locator("#figures div", has_text=name).locator("dd").first.inner_text()
    return int(value.split()[0].split("/")[0].replace(",", "").replace("$", "").split(".")[0])


@pytest.mark.browser
def test_a_run_is_seen_while_it_goes_on_and_its_calls_are_found(live_run, tab):
    tab.goto(live_run)
    tab.wait_for_selector("#state.running")
    tab.wait_for_selector("#keys .state:text('dropped')")
    tab.wait_for_selector("#keys .state:text('cooling')")
    for chart in ("rate", "cost", "tokens"):
        assert tab.locator(f"#chart-{chart} canvas").evaluate("(c) => c.width > 100") is True
    assert tab.inner_text("#title") == "out"
    half = number(tab, "Files")
    take_picture(tab, "view-run")
    Asks.may_go_on.set()
    tab.wait_for_selector("#state.finished")
    assert number(tab, "Files") == FILES > half
    wait_for_rows(tab, "#causes", 3)
    causes = tab.locator("#causes tbody td:first-child").all_inner_texts()
    assert sorted(map(int, causes)) == [13, 13, 14]
    tab.keyboard.press("/")
    tab.fill("#calls-form input", "height of PEAK 50?")
    tab.keyboard.press("Enter")
    wait_for_rows(tab, "#calls-list", 1)
    tab.locator("#calls-list tbody tr").click()
    tab.wait_for_selector("#detail[open]")
    assert "What is the height of peak 50?" in tab.inner_text("#detail-body")
    tab.keyboard.press("Escape")
    tab.click("[data-name=files]")
    tab.select_option("#files-form [name=state]", "failed")
    wait_for_rows(tab, "#files-list", 40)
    with tab.expect_download() as download:
        tab.click("[data-name=calls]")
        tab.click("#download")
    assert "peak 50?" in download.value.path().read_text()


@pytest.mark.browser
def test_a_report_opens_from_disk_on_a_telephone_in_the_dark(browser, fixture, tab):
    Asks.may_go_on.set()
    fixture.configure(fixture.simulate(context_tokens=2_000)).inputs(20).run(Asks)
    report = fixture.root / "report.html"
    words = [sys.executable, "-m", "openai_parallel_toolkit", "report"]
    given = [str(fixture.output), str(report), "--calls", "100"]
    subprocess.run([*words, *given], check=True, capture_output=True)
    tab.set_viewport_size({"width": 390, "height": 800})
    tab.emulate_media(color_scheme="dark")
    tab.goto(f"file://{report}")
    tab.wait_for_selector("#chart-rate canvas")
    width = tab.evaluate("document.documentElement.scrollWidth")
    assert width <= 390
    take_picture(tab, "report-telephone")
    tab.set_viewport_size({"width": 1200, "height": 900})
    tab.emulate_media(color_scheme="light")
    take_picture(tab, "report")
    tab.click("[data-name=calls]")
    tab.fill("#calls-form input", "peak 7?")
    tab.press("#calls-form input", "Enter")
    wait_for_rows(tab, "#calls-list", 1)
    assert oct(os.stat(report).st_mode)[-3:] == "600"
