"""How soon the console shows something and answers, in Chromium on the loopback interface."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.load import Latencies
from benchmarks.root_option import root_option
from benchmarks.serving import embedded_server
from models.errors import BadInput
from pipeline.commands.terminal import new_table, open_console, print_table
from pipeline.console.server import create_console, listen
from pipeline.console.shelf import read_shelf
from pipeline.layout import serving_folder
from pipeline.newest import newest_version
from serving.client import Client

_BROWSERS: Final = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
_PAINT: Final = "performance.getEntriesByName('first-contentful-paint')[0].startTime"


@click.command()
@root_option
@click.option("--times", default=20, show_default=True, metavar="NUMBER", help="Of each.")
def console(root: Path, times: int) -> None:
    """Milliseconds to the first paint of the console, and to its answers."""
    browser = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if browser is None:
        raise BadInput("There is no Chromium on the PATH (Debian package chromium).")
    serving = serving_folder(root)
    version = newest_version(serving)
    shelf = read_shelf(version)
    with embedded_server(serving, version=int(version.name)) as server:
        application = create_console(root, Client(f"127.0.0.1:{server.grpc_port}"))
        application.warm()
        http = listen(application, host="127.0.0.1", port=0)
        threading.Thread(target=http.run, daemon=True).start()
        measured = _measure(
            browser,
            f"http://127.0.0.1:{http.effective_port}",
            {
                "list of a customer with its reasons": f"#/customer/{shelf.user_id[0]}",
                "product, neighbours and audience": f"#/product/{shelf.item_id[0]}",
                "typed title, neighbours and audience": "#/new/red%20retrospot%20teapot",
            },
            times,
        )
        http.close()
    table = new_table("from opening the page", "median ms", "largest ms")
    for name, latencies in measured.items():
        table.add_row(name, f"{latencies.median:.0f}", f"{max(latencies.milliseconds):.0f}")
    print_table(open_console(), f"{times} times, each in a browser without a cache", table)


def _measure(
    executable: str, address: str, views: Mapping[str, str], times: int
) -> dict[str, Latencies]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])

        def fresh(ask: Callable[[Any], float]) -> Latencies:
            found = []
            for _ in range(times):
                context = browser.new_context()  # with a cache of its own
                found.append(ask(context.new_page()))
                context.close()
            return Latencies(tuple(found))

        def paint(page: Any) -> float:
            page.goto(address)
            page.wait_for_function(f"Boolean({_PAINT.removesuffix('.startTime')})")
            return float(page.evaluate(_PAINT))

        def answer(page: Any, view: str) -> float:
            started = time.perf_counter()
            page.goto(f"{address}/{view}")
            page.locator(".ranks > li").first.wait_for()
            return 1000 * (time.perf_counter() - started)

        measured = {"first paint": fresh(paint)}
        for name, view in views.items():
            measured[name] = fresh(lambda page, view=view: answer(page, view))  # type: ignore[misc]
        browser.close()
    return measured
