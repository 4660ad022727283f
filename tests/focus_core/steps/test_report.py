import base64
import hashlib
import shutil
from pathlib import Path

import pytest

from focus_core.config import AggregateSettings, ReportSettings
from focus_core.cubes.schema import CUBE, EXPLANATION
from focus_core.cubes.store import quantised
from focus_core.errors import MissingInputError, StoreError, TargetError
from focus_core.steps.aggregate import aggregate
from focus_core.steps.report import report
from tests.focus_core.aggregation.small_field import (
    cube,
    explanation,
    losing_windows,
    plot_ids,
    publish_store,
    write_flight,
)
from tests.page import Page

STORES = ("reference", "evaluation")
SETTINGS = ReportSettings(bootstrap_draws=100)
HOSTILE = ["<script>alert(1)</script>", "</script><b>P02", '"><img src=x onerror=alert(2)>', "P&04"]


def write(folder, flights=1, **options):
    target = str(folder / "importance.zarr")
    for number in range(1, flights + 1):
        date = f"2026-0{number}-01"
        flight = write_flight(folder, f"flight_{number}", seed=number, date=date, stores=STORES, **options)
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, target, settings=AggregateSettings())
    return flight, target


def run(flight, importance, path):
    uris = [flight.uri(name) for name in ("cube.zarr", "reference.zarr")]
    return report(flight.file, *uris, importance, flight.uri("evaluation"), str(path), settings=SETTINGS)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    folder = tmp_path_factory.mktemp("one")
    metrics = run(*write(folder), folder / "report.html")
    return metrics, Page((folder / "report.html").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    flight, importance = write(folder, flights=2, ids=HOSTILE, sensor="<script>alert(3)</script>")
    run(flight, importance, folder / "report.html")
    return folder / "report.html"


def test_the_page_says_whose_it_is_what_was_found_and_from_what(one):
    metrics, page = one
    assert metrics["plots"] == 12
    assert "Damaged" not in page.text
    for words in (
        "flight_1",
        "2026-01-01",
        "sensor SIM-200",
        "Simulated data",
        "12 of 12 known plots are explained",
        "right in 92 % of cases",
        "(95 % interval 81–98 %); a guess would be in 33 %.",
        "shows most at swir, 1450–1800 nm",
        "2 of 35 bands are bad",
        "1380.0–1420.0 nm",
        "models:/focus@champion",
        "0" * 64,
    ):
        assert words in page.text
    assert "What changed" not in page.text
    assert "nothing is compared" in page.text
    assert "Warning" not in page.text


def test_a_flight_that_drifted_is_said_so_at_the_top_and_in_a_table(tmp_path):
    sizes = {"spectrum": 0.62, "spectrum_p": 1e-7, "classes": 0.05, "classes_p": 0.7, "sink": 0.51, "sink_p": 0.4}
    run(*write(tmp_path, drift={f"drift.{name}": value for name, value in sizes.items()}), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Warning: this flight differs from what the model was trained on ( light of the plots )" in page.text
    assert page.text.count("Warning:") == 1
    for words in ("0.62", "1e-07", "differs", "as in training", "raises one in 1 % of cases"):
        assert words in page.text


def test_windows_that_could_not_be_explained_are_told(tmp_path):
    flight, target = write_flight(tmp_path, stores=STORES), str(tmp_path / "importance.zarr")
    publish_store(tmp_path / "broken.zarr", losing_windows(explanation())[0], EXPLANATION)
    uris = (flight.uri("cube.zarr"), str(tmp_path / "broken.zarr"), target)
    aggregate(flight.file, *uris, settings=AggregateSettings())
    assert run(flight, target, tmp_path / "report.html")["plots"] == 11
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "11 of 12 known plots are explained by this flight; not explained: P07." in text
    assert "5 windows of this flight could not be explained and count nowhere." in text


def test_damaged_cubes_that_were_left_out_are_told_with_their_reason(tmp_path):
    flight, target = write(tmp_path)
    left_out = [{"file": "<b>strip-2.raw", "reason": "strip-2.raw: cut off <img src=x onerror=alert(4)>"}]
    cube_without = cube().assign_attrs(left_out=left_out)
    shutil.rmtree(flight.uri("cube.zarr"))
    publish_store(flight.uri("cube.zarr"), cube_without, CUBE, {"reflectance": quantised()})
    run(flight, target, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Damaged and left out: 1 of 1 cubes." in page.text
    assert "<b>strip-2.raw: strip-2.raw: cut off <img src=x onerror=alert(4)>" in page.text
    assert not [attrs for _, attrs in page.elements if "onerror" in attrs]


def test_the_table_holds_every_plot_and_every_figure_has_its_data(one):
    _, page = one
    rows = [attrs for tag, attrs in page.elements if tag == "tr" and "data-index" in attrs]
    assert [row["tabindex"] for row in rows] == ["0"] + ["-1"] * 11
    assert all(plot in page.text for plot in plot_ids())
    assert len(page.data("outlines")) == 12
    assert len(page.data("spec-curves")["data"]) == 6
    assert page.data("spec-map")["data"]
    assert len(page.data("spec-plots")["data"][0]["z"]) == 12
    assert len(page.data("spec-sink")["data"][0]["z"]) == 3
    pictures = [attrs["alt"] for tag, attrs in page.elements if tag == "img"]
    assert [text.partition(": ")[2] for text in pictures] == [
        "True colour",
        "False colour: near infrared, red and green",
    ]
    assert "the attention has collapsed" not in page.text
    assert "so there is no collapse" in page.text
    cells = sum(tag == "td" and "data-value" in attrs for tag, attrs in page.elements)
    assert cells == 12 * (4 + 1)  # bands 40 nm apart allow one index only
    assert "Vegetation indices of the plot's mean reflectance (PRI) say" in page.text


def test_nothing_is_fetched_and_only_the_pages_own_scripts_may_run(one):
    _, page = one
    addresses = [attrs[key] for _, attrs in page.elements for key in ("src", "href") if key in attrs]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    policy = next(attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs)
    assert policy.startswith("default-src 'none'")
    running = [text for attrs, text in page.scripts if "type" not in attrs]
    assert len(running) == 2
    for text in running:
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_every_control_has_a_name_and_every_figure_a_text(one):
    _, page = one
    ids = {attrs["id"] for _, attrs in page.elements if "id" in attrs}
    skips = [attrs["href"][1:] for _, attrs in page.elements if attrs.get("class") == "skip"]
    assert skips == ["content", "plots"]
    assert set(skips) <= ids
    assert all(attrs.get("alt") for tag, attrs in page.elements if tag == "img")
    assert all(attrs.get("aria-label") for _, attrs in page.elements if attrs.get("role") == "img")
    assert next(attrs for tag, attrs in page.elements if tag == "html")["lang"] == "en"


def test_a_second_flight_brings_the_change_between_them(tmp_path):
    flight, importance = write(tmp_path, flights=2)
    assert run(flight, importance, tmp_path / "report.html")["campaigns"] == 2
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "What changed since flight_1 (2026-01-01)" in page.text
    assert len(page.data("spec-change")["data"]) == 6 + 2  # the control plots beside each stress
    assert "Missing: plots that the earlier flight explains and this one does not none" in page.text


def test_a_missing_and_a_new_plot_are_named(tmp_path):
    target = str(tmp_path / "importance.zarr")
    for number, ids in ((1, plot_ids(12)), (2, plot_ids(13)[1:])):
        flight = write_flight(tmp_path, f"flight_{number}", ids=ids, date=f"2026-0{number}-01", stores=STORES)
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, target, settings=AggregateSettings())
    run(flight, target, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "12 of 13 known plots are explained by this flight; not explained: P01" in page.text
    assert "this one does not P01 New: plots that this flight explains and the earlier one does not P13" in page.text


def test_of_many_missing_plots_some_are_named_and_the_rest_are_counted(tmp_path):
    target = str(tmp_path / "importance.zarr")
    for number, ids in ((1, plot_ids(12)), (2, plot_ids(12)[:2])):
        flight = write_flight(tmp_path, f"flight_{number}", ids=ids, date=f"2026-0{number}-01", stores=STORES)
        uris = [flight.uri(name) for name in ("cube.zarr", "explanation.zarr")]
        aggregate(flight.file, *uris, target, settings=AggregateSettings())
    run(flight, target, tmp_path / "report.html")
    text = Page((tmp_path / "report.html").read_text(encoding="utf-8")).text
    assert "2 of 12 known plots are explained by this flight; not explained: P03, P04" in text
    assert "P09, P10 and 2 more. A plot is left out if this flight does not have it" in text


def test_a_field_without_a_crs_is_drawn_in_pixels_with_rows_downwards(tmp_path):
    run(*write(tmp_path, crs=None), tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "Area (pixels)" in page.text
    layout = page.data("spec-map")["layout"]
    assert layout["yaxis"]["autorange"] == "reversed"
    assert layout["yaxis"]["title"]["text"] == "Row (pixels)"


def test_texts_from_files_stay_texts(hostile):
    page = Page(hostile.read_text(encoding="utf-8"))
    assert "sensor <script>alert(3)</script>" in page.text
    assert all(plot in page.text for plot in HOSTILE)
    assert not [attrs for _, attrs in page.elements if "onerror" in attrs]
    assert len([attrs for attrs, _ in page.scripts if "type" not in attrs]) == 2
    hover = [text for trace in page.data("spec-map")["data"] for text in trace.get("hovertext", [])]
    assert any("&lt;script&gt;alert(1)" in text for text in hover)
    hover += [row[0] for row in page.data("spec-plots")["data"][0]["text"]]
    assert not any("<script" in text or "<img" in text for text in hover)


def test_stores_of_another_campaign_are_refused_and_the_page_is_not_touched(tmp_path):
    flight, importance = write(tmp_path)
    (tmp_path / "report.html").write_text("before")
    other = write_flight(tmp_path, "flight_2", stores=STORES)
    with pytest.raises(StoreError, match=r"flight_2\.cube\.zarr' belongs to the campaign 'flight_2'"):
        report(
            flight.file, other.uri("cube.zarr"), flight.uri("reference.zarr"), importance, flight.uri("evaluation"),
            str(tmp_path / "report.html"), settings=SETTINGS,
        )  # fmt: skip
    with pytest.raises(StoreError, match="run aggregate for it first"):
        run(other, importance, tmp_path / "report.html")
    with pytest.raises(MissingInputError, match="importance"):
        run(flight, str(tmp_path / "nothing.zarr"), tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "before"


def test_a_page_that_cannot_be_written_leaves_nothing_half_written(tmp_path):
    flight, importance = write(tmp_path)
    (tmp_path / "taken.html").mkdir()
    before = sorted(tmp_path.iterdir())
    with pytest.raises(TargetError, match=r"taken\.html' cannot be written"):
        run(flight, importance, tmp_path / "taken.html")
    assert sorted(tmp_path.iterdir()) == before


@pytest.fixture
def browser(tmp_path):
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("needs the commands chromium and chromedriver (Debian: chromium, chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
        "disable-component-update", "disable-sync", "disable-dev-shm-usage", "window-size=1280,1000",
        f"user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    window = webdriver.Chrome(options=options, service=Service(driver))
    yield window
    window.quit()


def wait(browser, condition):
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 30).until(lambda _: condition())


def show(browser, path):
    browser.get(Path(path).as_uri())
    wait(browser, lambda: browser.find_elements("css selector", "#figure-change .scatterlayer"))


@pytest.mark.services
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium leaves its own pipes to the collector
def test_a_browser_shows_the_figures_and_sorts_filters_and_outlines_without_an_error(browser, hostile):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    def find(css):
        return browser.find_elements("css selector", css)

    def plots():
        return [
            row.find_element("css selector", "th").text for row in find("#plot-table tbody tr") if row.is_displayed()
        ]

    show(browser, hostile)
    assert len(find("#figure-map .scatterlayer .trace")) >= 4
    assert len(find("#figure-curves .subplot.xy")) == 1
    assert len(find("#figure-curves .shapelayer path")) >= 2
    assert browser.execute_script("return [...document.images].every((one) => one.naturalWidth > 0)")
    assert not find('[data-title="Share chart..."]')

    ActionChains(browser).move_to_element(find("#figure-map .points path")[0]).perform()
    wait(browser, lambda: "predicted:" in find("#figure-map .hoverlayer")[0].text)

    find("#plot-table thead th:nth-child(3) button")[0].click()
    shown = [float(cell.get_attribute("data-value")) for cell in find("#plot-table tbody td:nth-child(3)")]
    assert shown == sorted(shown)
    assert find("#plot-table thead th")[2].get_attribute("aria-sort") == "ascending"

    find("#filter-text")[0].send_keys("<script>alert")
    assert plots() == [HOSTILE[0]]
    assert find("#filter-count")[0].text == "1 of 4 plots"
    assert len(find("#figure-map .points path")) == 1
    find("#filter-text")[0].send_keys(Keys.CONTROL, "a", Keys.DELETE)
    assert len(plots()) == 4
    assert len(find("#figure-map .points path")) >= 4

    rows = find("#plot-table tbody tr")
    rows[0].send_keys(Keys.ARROW_DOWN)
    assert browser.switch_to.active_element == rows[1]
    rows[1].send_keys(Keys.ENTER)
    assert rows[1].get_attribute("aria-selected") == "true"
    assert browser.execute_script("return document.getElementById('figure-map').data.at(-1).x.length") >= 5

    assert browser.get_log("browser") == []


@pytest.mark.services
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium leaves its own pipes to the collector
def test_the_first_tab_stop_skips_to_the_content(browser, hostile):
    from selenium.webdriver.common.keys import Keys

    show(browser, hostile)
    browser.find_element("tag name", "body").send_keys(Keys.TAB)
    first = browser.switch_to.active_element
    assert first.text == "Skip to the content"
    first.send_keys(Keys.ENTER)
    assert browser.execute_script("return document.activeElement.id") == "content"


@pytest.mark.services
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium leaves its own pipes to the collector
def test_on_paper_nothing_is_wider_or_higher_than_a_page_and_the_screen_is_as_it_was_afterwards(browser, hostile):
    page_px = {"width": 702, "height": 1031}  # A4 less its margins of 12 mm, at 96 pixels per inch

    def sizes(css):
        script = (
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.getBoundingClientRect().toJSON())"
        )
        return browser.execute_script(script, css)

    show(browser, hostile)
    before = sizes(".plot .main-svg")
    assert max(figure["right"] for figure in before) > page_px["width"]
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    metrics = {**page_px, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= page_px["width"]
    for found in sizes(".plot .main-svg, table, img"):
        assert found["right"] <= page_px["width"] + 1
    assert max(figure["height"] for figure in sizes(".plot .main-svg")) < page_px["height"]
    assert not [one for one in browser.find_elements("css selector", "nav, .controls, .modebar") if one.is_displayed()]
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    wait(browser, lambda: [one["width"] for one in sizes(".plot .main-svg")] == [one["width"] for one in before])
    assert [one["height"] for one in sizes(".plot .main-svg")] == [one["height"] for one in before]
