"""The page in a real browser: by keyboard, on a phone, in the dark, and held to axe's rules."""

import dataclasses
import json
import shutil
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pipeline.config import Gate
from pipeline.console.app import Console
from pipeline.console.desk import Desk
from pipeline.console.judged import Judged, Lost
from pipeline.console.records import Records
from pipeline.drift import Drift, FeatureDrift
from pipeline.layout import serving_folder
from pipeline.outcome import Ending, GateDecision
from pipeline.versions import read_versions
from serving.client import Client
from serving.version_labels import STABLE, write_labels
from tests.console.browser import DESK, PHONE, chromium, executable, keep_picture
from tests.console.conftest import TOKEN
from tests.console.shop import BOUGHT, HOSTILE, NEW, OLD, TITLES, vector, write_root

pytestmark = pytest.mark.skipif(
    executable() is None, reason="no Chromium here (Debian package chromium-headless-shell)"
)
GROUND = {"light": "rgb(246, 247, 249)", "dark": "rgb(16, 19, 22)"}
VIEWS = {
    "products": "#/products",
    "new": "#/new/red%20garden%20teapot",
    "product": "#/product/00001",
    "customers": "#/customers",
    "customer": "#/customer/12347",
    "compare": "#/compare",
    "health": "#/health",
}
RECALL = Gate(metric="recall_at_20", slice="new", direction="higher", bound=0.2, tolerance=0.05)
ERROR = Gate(metric="squared_error", slice="overall", direction="lower", bound=0.2, tolerance=0.01)
JUDGED = Judged(
    "2026-11-27T19:43:42",
    Ending(
        decisions=(GateDecision(RECALL, 0.15, 0.26), GateDecision(ERROR, 0.125, 0.12)),
        blessed=False,
        infra_blessed=True,
        version=None,
        is_repeat=False,
    ),
    Drift((FeatureDrift("price", "all", 0.05, 0.2),), 0.12, "2026-11-26T19:43:42"),
    "",
)


class MadeUpRecords(Records):
    """The versions of a root, and a run that the root has no traces of."""

    run = JUDGED

    def read(self):
        return read_versions(self._root), self.run


@pytest.fixture(scope="module")
def showing(place, listening):
    """The address of a console whose newest judged run is given."""

    def show(run):
        records = MadeUpRecords(place.root)
        records.run = run
        desk = Desk(place.root, Client(place.target))
        return listening(Console(desk, lambda: records, reports=place.root / "report"))

    return show


@pytest.fixture(scope="module")
def address(showing):
    return showing(JUDGED)


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


@pytest.fixture
def opened(browser):
    """Opens pages; in the end none has asked for anything elsewhere, and none has complained."""
    contexts, elsewhere, complaints = [], [], []

    def complaint(text):
        return [] if "status of 4" in text else [text]  # a refusal is told by the page

    def open_(address, view="", device=DESK):
        context = browser.new_context(**device)
        context.set_default_timeout(30_000)
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((address, "data:"))
                else elsewhere.append(request.url)
            ),
        )
        page.on("console", lambda message: complaints.extend(complaint(message.text)))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{address}/{view}")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert elsewhere == [] and complaints == []


def settled(page):
    """Waits until what was asked for is there."""
    expect(page.locator("main > *").first).to_be_attached()
    expect(page.locator("[aria-busy=true]")).to_have_count(0)
    page.wait_for_load_state("networkidle")


def names(page, heading):
    return page.locator("section", has_text=heading).locator("ol .name").all_inner_texts()


def test_a_typed_title_has_neighbours_and_an_audience_at_once(opened, address):
    page = opened(address, "#/products")
    page.get_by_label("Title of a new product").press_sequentially("retro mug", delay=5)
    expect(page.get_by_role("heading", name="retro mug", level=2)).to_be_visible()
    expect(page.get_by_text("Not on the shelf")).to_be_visible()
    assert names(page, "Products like it")[:2] == [TITLES["00003"], TITLES["00001"]]
    assert names(page, "Who will like it")[0] == "12347"
    page.get_by_role("link", name=TITLES["00001"]).last.click()
    expect(page.get_by_role("heading", name=TITLES["00001"], level=2)).to_be_visible()
    page.go_back()
    expect(page.get_by_label("Title of a new product")).to_have_value("retro mug")
    expect(page.get_by_role("heading", name="retro mug", level=2)).to_be_visible()


def again(browser, page):
    """Loads the address of a page anew, where nothing is remembered."""
    other = browser.new_context(**DESK).new_page()
    other.goto(page.url)
    settled(other)
    return other


def test_what_is_typed_of_a_product_stays_with_another_version_on_the_way_back_and_in_its_address(
    opened, browser, address
):
    page = opened(address, "#/products")
    typed = {
        "Title of a new product": "retro mug? 50% & more", "Category": "cups / mugs",
        "Brand": "Acme", "Description": "of tin", "Price": "2,5",
    }  # fmt: skip
    page.get_by_text("More about it").click()
    for label, text in typed.items():
        page.get_by_label(label, exact=True).fill(text)
    expect(page.get_by_role("heading", name=typed["Title of a new product"])).to_be_visible()

    def there(page):
        for label, text in typed.items():
            expect(page.get_by_label(label, exact=True)).to_have_value(text)

    with page.expect_request(lambda request: "/api/product?" in request.url) as sent:
        page.get_by_label("Version").select_option(str(OLD))
    asked = parse_qs(urlsplit(sent.value.url).query)
    assert asked["version"] == [str(OLD)] and asked["category"] == ["cups / mugs"]
    assert asked["price"] == ["2.5"] and asked["brand"] == ["Acme"]
    there(page)
    settled(page)
    page.locator(".ranks a").first.click()
    expect(page.get_by_text("Not on the shelf")).to_have_count(0)
    page.go_back()
    there(page)
    page.reload()
    there(page)
    other = again(browser, page)
    there(other)
    expect(other.get_by_label("Version")).to_have_value(str(OLD))
    other.context.close()


def test_the_address_of_a_list_and_of_a_comparison_names_all_that_was_chosen(
    opened, browser, address
):
    page = opened(address, "#/customer/12347")
    settled(page)
    page.get_by_label("New products only").check()
    page.get_by_label("Items").select_option("20")
    page.get_by_label("Version").select_option(str(OLD))
    settled(page)
    other = again(browser, page)
    expect(other.get_by_label("New products only")).to_be_checked()
    expect(other.get_by_label("Items")).to_have_value("20")
    expect(other.get_by_label("Version")).to_have_value(str(OLD))
    listed = page.locator(".ranks .name").all_inner_texts()
    assert other.locator(".ranks .name").all_inner_texts() == listed
    other.context.close()
    page.goto(f"{address}/#/compare")
    page.get_by_label("Id", exact=True).fill("00001")
    page.get_by_label("Ask for").select_option("neighbours")
    page.get_by_label("Version", exact=True).last.select_option(str(NEW))
    page.get_by_label("and version").select_option(str(OLD))
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("thead th").nth(1)).to_have_text(str(NEW))
    settled(page)
    other = again(browser, page)
    assert other.locator("table").inner_text() == page.locator("table").inner_text()
    other.context.close()


def test_a_list_of_the_newest_version_is_that_again_on_the_way_back(opened, address):
    page = opened(address, "#/customer/12347")
    settled(page)
    first = page.locator(".ranks .name").all_inner_texts()
    page.get_by_role("link", name="Customers").click()
    page.get_by_label("Version").select_option(str(OLD))
    page.go_back()
    expect(page.get_by_label("Version")).to_have_value("")
    settled(page)
    assert page.locator(".ranks .name").all_inner_texts() == first


def test_a_version_that_is_not_loaded_is_said_to_be_so(opened, address):
    page = opened(address, "#/health?version=7")
    settled(page)
    expect(page.get_by_label("Version").locator("option:checked")).to_have_text("7 · not loaded")


def test_a_comparison_with_a_version_that_is_not_loaded_is_no_other_one(opened, address):
    page = opened(address, f"#/compare?what=customer&id=12347&a=7&b={NEW}")
    expect(page.get_by_role("alert")).to_contain_text("/7 can't be read")
    first, second = page.locator("#a option:checked"), page.locator("#b option:checked")
    expect(first).to_have_text("7 · not loaded")
    expect(second).to_have_text(f"{NEW} · canary")
    page.get_by_role("link", name="Health").click()
    page.get_by_role("link", name="Compare").click()
    expect(first).to_have_text(f"{OLD} · stable")


def test_a_search_that_failed_opens_nothing_later(opened, address):
    page = opened(address, "#/products")
    settled(page)
    page.route("**/api/items*", lambda route: route.fulfill(json={}))
    find = page.get_by_label("Or search the catalogue")
    find.fill("benc")
    find.press("Enter")
    expect(page.locator(".hits a")).to_have_count(0)
    settled(page)
    page.unroute("**/api/items*")
    find.fill("bench")
    expect(page.locator(".hits a")).to_have_count(1)
    assert "#/products" in page.url


def test_an_address_that_was_typed_by_hand_is_taken_as_it_stands(opened, address):
    page = opened(address, "#/customer/50%")
    expect(page.get_by_role("heading", name="Customer 50%")).to_be_visible()


@pytest.mark.parametrize("view", ["#/constructor", "#/nothing/there", "#/compare?what=toString"])
def test_an_address_that_names_no_view_or_list_shows_the_usual_one(opened, address, view):
    page = opened(address, view)
    settled(page)
    expect(
        page.get_by_label("Ask for" if "compare" in view else "search the catalogue")
    ).to_be_visible()


@pytest.mark.parametrize(
    ("view", "said"),
    [
        ("#/product/", "that nobody has bought yet"),
        ("#/new/%20", "that nobody has bought yet"),
        ("#/customer/", "What is a customer shown"),
        ("#/customer/%20", "What is a customer shown"),
    ],
)
def test_an_address_without_a_subject_shows_how_to_begin(opened, address, view, said):
    page = opened(address, view)
    settled(page)
    expect(page.locator(".welcome")).to_contain_text(said)
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.locator(".subject")).to_have_count(0)


def test_a_product_that_nothing_is_like_has_nothing_and_nobody(opened, address):
    page = opened(address)
    page.route("**/api/product*", lambda route: route.fulfill(json={
        "version": NEW, "item": None, "neighbours": [], "audience": []
    }))  # fmt: skip
    page.goto(f"{address}/#/new/zzz")
    expect(page.locator("section", has_text="Products like it")).to_contain_text("Nothing.")
    expect(page.locator("section", has_text="Who will like it")).to_contain_text("Nobody.")


def test_a_title_that_is_markup_stays_a_text(opened, address):
    page = opened(address, "#/product/00007")
    expect(page.get_by_role("heading", name=HOSTILE, level=2)).to_be_visible()
    page.get_by_label("Title of a new product").fill("<script>document.title='taken'</script>")
    expect(page.get_by_role("heading", level=2)).to_contain_text("<script>")
    assert page.title() == "Debut console: products"
    assert page.locator("main img, main script").count() == 0


def test_everything_is_reached_by_keyboard(opened, address):
    page = opened(address, "#/products")
    settled(page)
    page.keyboard.press("Tab")
    expect(page.get_by_text("Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("/")
    expect(page.get_by_label("Or search the catalogue")).to_be_focused()
    page.keyboard.type("bench")
    expect(page.get_by_text("1 product.", exact=True).first).to_be_visible()
    page.keyboard.press("ArrowDown")
    expect(page.locator(".hits a")).to_be_focused()
    page.keyboard.press("ArrowUp")
    expect(page.get_by_label("Or search the catalogue")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=TITLES["00009"], level=2)).to_be_visible()
    page.get_by_role("link", name="Customers").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_label("Find a customer")).to_be_visible()
    page.keyboard.press("/")
    page.keyboard.type("12350")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Customer 12350")).to_be_visible()
    expect(page.locator("main")).to_be_focused()
    page.get_by_label("New products only").focus()
    page.keyboard.press("Space")
    expect(page.locator(".ranks > li")).to_have_count(2)
    settled(page)
    expect(page.get_by_label("New products only")).to_be_focused()
    page.get_by_label("Items").focus()
    with page.expect_response("**/api/customer?*k=20*"):
        page.keyboard.press("ArrowDown")
    settled(page)
    expect(page.get_by_label("Items")).to_be_focused()


def bars(page, heading):
    section = page.locator("section", has_text=heading)
    return section.locator(".bar").evaluate_all(
        "them => them.map(it => parseFloat(getComputedStyle(it, '::after').width) / it.offsetWidth)"
    )


def test_a_bar_is_as_long_as_its_cosine_and_scores_without_a_zero_have_none(opened, address):
    page = opened(address, "#/product/00001")
    settled(page)
    of = {title: float(vector(title) @ vector(TITLES["00001"])) for title in TITLES.values()}
    cosines = [of[name] for name in names(page, "Products like it")]
    assert bars(page, "Products like it") == pytest.approx(cosines, abs=0.01)
    assert cosines[0] < 1 and cosines[-1] == 0
    assert bars(page, "Who will like it") == []


def test_bars_of_what_is_like_nothing_are_empty(opened, address):
    page = opened(address, "#/new/zzz")
    settled(page)
    assert set(bars(page, "Products like it")) == {0}


def test_a_list_shows_its_reasons(opened, address):
    page = opened(address, "#/customer/12347")
    first = page.locator(".ranks > li").first
    expect(first).to_contain_text("Because of")
    assert first.locator("dd").nth(0).locator("li").all_inner_texts() == [
        f"50 % {TITLES['00001']}", f"33 % {TITLES['00003']}", f"17 % {TITLES['00004']}"
    ]  # fmt: skip
    assert first.locator("dd").nth(1).locator("li").all_inner_texts() == [
        "50 % blue", "50 % no word adds"
    ]  # fmt: skip
    bought = page.locator("section", has_text="Bought, latest first").locator(".name")
    assert bought.all_inner_texts() == [TITLES[item] for item in BOUGHT["12347"][::-1]]


def test_an_item_without_a_title_is_said_to_have_none_wherever_it_is_named(
    opened, place, listening, tmp_path
):
    root = write_root(tmp_path / "untitled", names=TITLES | {"00001": ""})
    address = listening(place.console(root))
    page = opened(address, "#/customer/12347")
    because = page.locator(".ranks > li").first.locator("dd").nth(0).locator("li")
    expect(because.first).to_have_text("50 % (no title)")
    expect(page.locator("section", has_text="Bought, latest first")).to_contain_text("(no title)")
    page = opened(address, "#/product/00003")
    audience = page.locator("section", has_text="Who will like it").locator("li")
    expect(audience.filter(has_text="12350")).to_contain_text(
        f"lately (no title), {TITLES['00002']}"
    )


def test_two_versions_stand_side_by_side(opened, address):
    page = opened(address, "#/compare")
    page.get_by_label("Id", exact=True).fill("12347")
    page.get_by_role("button", name="Compare").click()
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(6)
    assert [th.strip() for th in page.locator("thead th").all_inner_texts()] == [
        "Place", str(OLD), str(NEW)
    ]  # fmt: skip
    first = rows.first.locator("td")
    assert TITLES["00009"] in first.nth(0).inner_text()
    assert TITLES["00002"] in first.nth(1).inner_text()
    assert first.nth(1).locator(".move").text_content() == "▲ up 5"


def test_the_version_that_is_chosen_is_asked(opened, address, place):
    page = opened(address, "#/customer/12347")
    settled(page)
    page.get_by_label("Version").select_option(str(OLD))
    expect(page.locator(".ranks .name").first).to_have_text(TITLES["00009"])


def test_an_answer_names_its_version_and_a_newer_one_is_told_at_once(opened, address, place):
    page = opened(address, "#/customer/12347")
    expect(page.locator(".subject")).to_contain_text(f"version {NEW}")
    version = page.get_by_label("Version")
    place.model.newest = NEW + 100
    shutil.copytree(
        serving_folder(place.root) / str(NEW), serving_folder(place.root) / str(NEW + 100)
    )
    try:
        page.get_by_label("New products only").check()
        expect(page.locator(".subject")).to_contain_text(f"version {NEW + 100}")
        expect(version.locator("option").first).to_have_text(f"newest: {NEW + 100}")
        expect(version).to_have_value("")
        page.goto(f"{address}/#/product/00001")
        expect(page.locator(".subject")).to_contain_text(f"version {NEW + 100}")
    finally:
        place.model.newest = NEW
        shutil.rmtree(serving_folder(place.root) / str(NEW + 100))


def test_gates_and_drift_are_shown(opened, address):
    page = opened(address, "#/health")
    banner = page.locator(".banner.bad")
    expect(banner.get_by_role("heading")).to_have_text("Refused: nothing was pushed")
    expect(banner).to_contain_text("recall_at_20 on slice new is 0.1500")
    expect(banner).not_to_contain_text("squared_error")
    gates = page.locator("section", has=page.get_by_role("heading", name="Gates"))
    assert gates.locator(".verdict").all_inner_texts() == ["refused", "passed"]
    expect(gates).to_contain_text("at least 0.2, baseline 0.2600, tolerance 0.05")
    drift = page.locator("section", has=page.get_by_role("heading", name="Drift"))
    expect(drift).to_contain_text("the one behind the stable version before.")
    expect(drift).to_contain_text("stability index 0.120, notice")
    expect(drift).to_contain_text("price")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)  # it only reads


def test_a_run_that_passed_its_gates_but_pushed_nothing_is_not_shown_as_good(opened, showing):
    kept = JUDGED.ending.decisions[1:]
    refused = dataclasses.replace(JUDGED.ending, decisions=kept, blessed=True, infra_blessed=False)
    page = opened(showing(JUDGED._replace(ending=refused)), "#/health")
    expect(page.locator(".banner.bad")).to_contain_text("InfraValidator refused the model")
    expect(page.locator(".banner.good")).to_have_count(0)


def test_ratings_that_were_not_compared_are_told_from_ratings_without_drift(opened, showing):
    drift = JUDGED.drift._replace(ratings=None)
    page = opened(showing(JUDGED._replace(drift=drift)), "#/health")
    shown = page.locator("section", has=page.get_by_role("heading", name="Drift"))
    expect(shown).to_contain_text("Predicted ratings are not compared")


def test_a_judged_run_whose_evaluation_is_gone_is_told_from_none(opened, showing):
    page = opened(showing(Lost("2026-11-27", "/old/root/Evaluator/7")), "#/health")
    expect(page.locator("main")).to_contain_text(
        "Run 2026-11-27 was judged; its evaluation is gone from /old/root/Evaluator/7"
    )
    expect(page.locator("main")).not_to_contain_text("has been judged yet")


def test_with_the_token_the_canary_is_promoted(opened, own_root, place, listening):
    page = opened(listening(place.console(own_root, token_file=place.token_file)), "#/health")
    page.get_by_role("button", name="Promote the canary").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"Version {NEW}, the canary,")
    keep_picture(page, "desk-dialog")
    assert serious(page) == []
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Promote the canary").click()
    expect(dialog).to_have_count(0)
    newest = page.locator(".versions > li").first
    expect(newest.locator(".badge").first).to_have_text("stable")
    expect(page.get_by_role("button", name="Promote the canary")).to_have_count(0)
    expect(page.locator("main").get_by_text(f"Done. Version {NEW} is stable.")).to_be_visible()
    expect(page.get_by_role("status")).to_have_text(f"Done. Version {NEW} is stable.")
    expect(page.locator("main")).to_be_focused()


def test_a_token_that_no_header_holds_is_not_sent(opened, own_root, place, listening):
    page = opened(listening(place.console(own_root, token_file=place.token_file)), "#/health")
    page.get_by_role("button", name="Promote the canary").click()
    dialog = page.get_by_role("dialog")
    token = dialog.get_by_label("Token")
    token.fill(f"{TOKEN}…")
    dialog.get_by_role("button", name="Promote the canary").click()
    expect(token).to_be_focused()
    assert token.evaluate("it => it.validity.patternMismatch")
    expect(dialog.get_by_role("alert")).to_have_count(0)
    token.fill(f"{TOKEN} ")  # a blank comes along when it is copied
    dialog.get_by_role("button", name="Promote the canary").click()
    expect(dialog).to_have_count(0)


def test_a_button_that_is_pressed_twice_asks_once(opened, own_root, place, listening):
    address = listening(place.console(own_root, token_file=place.token_file))
    page = opened(address, "#/health", PHONE)
    page.set_viewport_size({"width": 360, "height": 320})
    asked = []
    page.on("request", lambda request: asked.append(request.method))
    page.get_by_role("button", name=f"Roll back to {OLD}").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Reason").fill("it sold nothing")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Roll back").evaluate("it => { it.click(); it.click(); }")
    expect(dialog).to_have_count(0)
    expect(page.locator(".versions > li")).to_have_count(3)
    settled(page)
    expect(page.get_by_role("button", name=f"Roll back to {OLD}")).to_be_focused()
    # From the button on, which is far down.
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.locator("main").get_by_text("Done. Version ")).to_be_in_viewport()
    assert asked.count("POST") == 1


def test_what_another_pushed_meanwhile_is_shown_after_the_refusal(
    opened, own_root, place, listening
):
    page = opened(listening(place.console(own_root, token_file=place.token_file)), "#/health")
    page.get_by_role("button", name="Promote the canary").click()
    write_labels(serving_folder(own_root), {STABLE: NEW})
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Token").fill(TOKEN)
    dialog.get_by_role("button", name="Promote the canary").click()
    expect(dialog.get_by_role("alert")).to_contain_text("not the canary any more")
    dialog.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Promote the canary")).to_have_count(0)


def serious(page):
    """What axe finds that keeps somebody out."""
    return [
        (found["id"], [node["html"] for node in found["nodes"]])
        for found in Axe().run(page).response["violations"]
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_no_view_keeps_anybody_out_or_is_wider_than_the_screen(opened, address, device):
    page = opened(address, "", device)
    size = "phone" if device is PHONE else "desk"
    for name, view in VIEWS.items():
        page.goto(f"{address}/{view}")
        if name == "compare":
            page.get_by_label("Id", exact=True).fill("12347")
            page.get_by_role("button", name="Compare").click()
        settled(page)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert width <= device["viewport"]["width"], name
        for scheme, ground in GROUND.items():
            page.emulate_media(color_scheme=scheme)
            assert page.evaluate("getComputedStyle(document.body).backgroundColor") == ground
            assert serious(page) == [], (name, scheme)
            assert len(keep_picture(page, f"{size}-{name}-{scheme}")) > 10_000


def test_the_version_that_is_asked_is_read_whole_on_a_phone(opened, address):
    page = opened(address, "#/products?version=1700000000", PHONE)
    settled(page)
    select = page.get_by_label("Version")
    for chosen in ("", str(NEW), str(OLD)):
        select.select_option(chosen)
        needed = select.evaluate(
            """it => {
                const copy = it.cloneNode();
                copy.append(it.selectedOptions[0].cloneNode(true));
                copy.style.cssText = "position: absolute; width: max-content; max-width: none";
                it.parentElement.append(copy);
                const width = copy.offsetWidth;
                copy.remove();
                return width;
            }"""
        )
        assert select.evaluate("it => it.offsetWidth") >= needed, chosen


@pytest.mark.parametrize("device", [DESK, PHONE], ids=["desk", "phone"])
def test_a_title_of_the_greatest_length_leaves_room_for_the_rest_of_a_list(opened, address, device):
    page = opened(address, "", device)

    def lengthened(route):
        answer = json.loads(route.fetch().text().replace(TITLES["00003"], "long " * 800))
        route.fulfill(json=answer)

    page.route("**/api/**", lengthened)
    for view, place in (("product/00001", ".ranks"), ("customer/12347", ".plainly"),
                        ("customer/12347", ".reasons"), ("products", ".hits")):  # fmt: skip
        page.goto(f"{address}/#/{view}")
        settled(page)
        long = page.locator(f"{place} li", has_text="long long")
        expect(long.first).to_be_visible()
        heights = long.evaluate_all(
            "them => them.map(it => it.closest('.reasons') ?? it).map(it => it.offsetHeight)"
        )
        assert max(heights) < 300, (view, place)


def test_axe_would_find_a_fault(opened, address):
    page = opened(address, "#/products")
    settled(page)
    page.evaluate("document.getElementById('title').labels[0].remove()")
    assert [rule for rule, _ in serious(page)] == ["label"]
