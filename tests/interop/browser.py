"""A browser, driven: Debian's Chromium without a screen, and the chat's page in it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from tests.interop.clients import wait_for

if TYPE_CHECKING:
    from tests.interop.clients import ClientCase

__all__ = ["Browser"]

_OPTIONS = (
    "--headless=new",
    # Its sandbox wants what root has not, and containers have not.
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--lang=en",
)


class Browser:
    """
    One browser with a profile of its own.

    :param case: the test, with which it ends.
    :param origin: where the page is, ``http://127.0.0.1:8097``.
    :param width: of its window, in pixels.
    """

    def __init__(self, case: ClientCase, origin: str, width: int = 1280) -> None:
        from selenium import webdriver  # type: ignore[import-not-found, unused-ignore]

        options = webdriver.ChromeOptions()
        for option in (*_OPTIONS, f"--window-size={width},800"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        options.binary_location = str(shutil.which("chromium"))
        service = webdriver.ChromeService(str(shutil.which("chromedriver")))
        self.driver: Any = webdriver.Chrome(options=options, service=service)
        case.addCleanup(self.driver.quit)
        self.origin = origin
        self._requests: list[str] = []
        self._complaints: list[str] = []
        self.driver.get(f"{origin}/")

    def find(self, name: str) -> Any:
        """An element, by its id."""
        return self.driver.find_element("id", name)

    def text(self, name: str) -> str:
        """What an element shows; nothing if it is hidden."""
        return str(self.find(name).text)

    def run(self, script: str) -> Any:
        """Run a script in the page, as an ``async`` function's body."""
        whole = (
            "const done = arguments[0];"
            f"(async () => {{ {script} }})().then(done, (error) => done(`failed: ${{error}}`));"
        )
        return self.driver.execute_async_script(whole)

    def enter(self, nick: str, channels: str, password: str = "", button: str = "connect") -> None:
        """Fill the form in, and press a button."""
        for name, value in (("nick", nick), ("password", password), ("channels", channels)):
            self.find(name).clear()
            self.find(name).send_keys(value)
        self.find(button).click()

    def type(self, words: str) -> None:
        """Type a line, and send it."""
        field = self.find("input")
        field.send_keys(words)
        field.send_keys("\ue007")

    def wait_to_see(self, words: str, name: str = "log") -> None:
        """Wait until an element shows words."""
        wait_for(f"{words!r} in #{name}", lambda: words in self.text(name), self.detail)

    def go_to(self, channel: str) -> None:
        """Click a channel's name."""
        self.driver.find_element("css selector", f'#buffers [data-key="{channel}"]').click()
        self.wait_to_see(channel, "title")

    def detail(self) -> str:
        """What there is to know of it when a test fails."""
        shown = self.driver.find_element("css selector", "body").text
        return f"{shown}\n{self.complaints}"

    def _read_logs(self) -> None:
        for entry in self.driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            params = event["params"]
            if event["method"] == "Network.requestWillBeSent":
                self._requests.append(params["request"]["url"])
            elif event["method"] == "Network.webSocketCreated":
                self._requests.append(params["url"])
        self._complaints += [entry["message"] for entry in self.driver.get_log("browser")]

    @property
    def requests(self) -> list[str]:
        """The addresses of all that it has asked for."""
        self._read_logs()
        return self._requests

    @property
    def complaints(self) -> list[str]:
        """What stands on its console: errors, and what its policy has kept it from."""
        self._read_logs()
        return self._complaints
