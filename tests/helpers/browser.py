"""Drive a page in Chromium, where Debian's packages chromium and chromium-driver are installed."""

import importlib.util
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
_FLAGS += ["--disable-component-update", "--disable-sync", "--disable-quic", "--window-size=1300,1000"]


def browser_is_there() -> bool:
    found = all(shutil.which(name) for name in ("chromium", "chromedriver"))
    return found and importlib.util.find_spec("selenium") is not None


def start_chromium() -> Any:
    """Selenium's driver of a Chromium without a window, which keeps what pages complain of."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


class Page:
    """A page that is open; `seconds` is how long it took until it was drawn."""

    def __init__(self, path: Path) -> None:
        self.driver = start_chromium()
        begun = time.perf_counter()
        self.driver.get(path.resolve().as_uri())
        while not self.run("return document.documentElement.dataset.ready"):
            assert time.perf_counter() - begun < 30, self.driver.get_log("browser")
            time.sleep(0.01)
        self.seconds = time.perf_counter() - begun

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector).strip()

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def keys(self, *keys: str, into: str = "body") -> None:
        self.driver.find_element("css selector", into).send_keys(*keys)

    def requests(self) -> list[str]:
        """What the page asked for beside itself and what it holds."""
        script = "return performance.getEntriesByType('resource').map(e => e.name)"
        return [name for name in self.run(script) if not name.startswith(("data:", "blob:"))]

    def complaints(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.driver.quit()
