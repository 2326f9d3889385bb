"""A headless Chromium over its debugging pipe: no port, no driver, no package besides Python."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["BROWSERS", "ENTER", "ESCAPE", "TAB", "Chromium", "Tab", "find_browser", "wait"]

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP ward3 127.0.0.1",
    "--remote-debugging-pipe",
)
SECONDS = 30.0
ENTER, ESCAPE, TAB = ("Enter", 13), ("Escape", 27), ("Tab", 9)


def find_browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Chromium:
    """A browser process; it reads commands from file descriptor 3 and answers on 4."""

    def __init__(self, path: str, profile: Path) -> None:
        their_in, self._out = _high_pipe()
        self._in, their_out = _high_pipe()
        log = os.open(profile.with_suffix(".log"), os.O_WRONLY | os.O_CREAT, 0o600)
        self._pid = os.posix_spawn(
            path,
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, log, 1),  # first: the log may be 3 or 4 itself
                (os.POSIX_SPAWN_DUP2, log, 2),
                (os.POSIX_SPAWN_DUP2, their_in, 3),
                (os.POSIX_SPAWN_DUP2, their_out, 4),
            ],
            setpgroup=0,
        )
        for one in (their_in, their_out, log):
            os.close(one)
        self._rest = b""
        self._number = 0
        self.events: list[dict[str, Any]] = []

    def send(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; events that come meanwhile are kept."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            for found in self.read(0.5):
                if found.get("id") != self._number:
                    continue
                if "error" in found:
                    raise RuntimeError(f"{method}: {found['error']}")
                return dict(found["result"])
        raise TimeoutError(f"{method} was not answered")

    def read(self, seconds: float) -> list[dict[str, Any]]:
        """Answers that come within a time; events go to their list."""
        if not select.select([self._in], [], [], seconds)[0]:
            return []
        data = os.read(self._in, 1 << 20)
        if not data:
            raise RuntimeError("the browser ended")
        *whole, self._rest = (self._rest + data).split(b"\0")
        found = [json.loads(one) for one in whole]
        self.events += [one for one in found if "method" in one]
        return [one for one in found if "id" in one]

    def close(self) -> None:
        """End the browser and all its processes."""
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            self.send("Browser.close")
        deadline = time.monotonic() + 10
        while os.waitpid(self._pid, os.WNOHANG) == (0, 0):
            if time.monotonic() > deadline:
                os.killpg(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)
                break
            time.sleep(0.05)
        os.close(self._in)
        os.close(self._out)


class Tab:
    """A page in a browser context of its own: no cookies, storage or cache of others."""

    def __init__(self, browser: Chromium) -> None:
        self.browser = browser
        self._begin = len(browser.events)
        self._context = browser.send("Target.createBrowserContext")["browserContextId"]
        target = browser.send(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        attached = browser.send("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        return self.browser.send(method, self._session, **params)

    def shape(self, width: int, height: int, *, dark: bool = False, still: bool = True) -> None:
        """Set the size, the colours that the person prefers, and whether things may move."""
        phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.send("Emulation.setDeviceMetricsOverride", **size, mobile=phone)
        wishes = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce" if still else "no-preference",
        }
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.send("Emulation.setEmulatedMedia", features=features)

    def open(self, address: str) -> None:
        self.send("Page.navigate", url=address)
        self.until("location.href !== 'about:blank' && document.readyState === 'complete'")

    def run(self, script: str) -> Any:
        """The value of an expression; a promise is waited for."""
        found = self.send(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        if "exceptionDetails" in found:
            raise AssertionError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str, seconds: float = SECONDS) -> None:
        """Wait until an expression is true."""
        wait(lambda: bool(self.run(script)), script, seconds)

    def click(self, selector: str) -> None:
        """Click in the middle of an element, as a mouse does; what lies above it gets the click."""
        x, y = self.run(
            f"(() => {{ const one = document.querySelector({json.dumps(selector)});"
            "one.scrollIntoView({block: 'center'}); const box = one.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            where = {"x": x, "y": y, "button": "left", "clickCount": 1}
            self.send("Input.dispatchMouseEvent", type=kind, **where)

    def type(self, text: str) -> None:
        self.send("Input.insertText", text=text)

    def press(self, key: tuple[str, int], *, shift: bool = False) -> None:
        name, code = key
        common = {"key": name, "code": name, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        text = {"text": "\r"} if key == ENTER else {}
        self.send("Input.dispatchKeyEvent", type="keyDown", **common, **text)
        self.send("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        found = self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(found["data"]))

    def choose_file(self, selector: str, path: Path) -> None:
        root = self.send("DOM.getDocument")["root"]["nodeId"]
        node = self.send("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.send("DOM.setFileInputFiles", files=[str(path)], nodeId=node)

    def accessible(self) -> list[tuple[str, str]]:
        """Role and name of each node that assistive technology meets."""
        nodes = self.send("Accessibility.getFullAXTree")["nodes"]
        return [
            (one["role"]["value"], one.get("name", {}).get("value", ""))
            for one in nodes
            if not one.get("ignored") and "role" in one
        ]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and breaches of the content policy."""
        found = []
        for name, params in self._events():
            if name == "Runtime.exceptionThrown":
                found.append(json.dumps(params["exceptionDetails"]))
            elif name == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning"):
                found.append(json.dumps(params["args"]))
            elif name == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
                found.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return found

    def requests(self) -> list[str]:
        """Addresses that were asked for."""
        return [
            str(params["request"]["url"])
            for name, params in self._events()
            if name == "Network.requestWillBeSent"
        ]

    def close(self) -> None:
        self.browser.send("Target.disposeBrowserContext", browserContextId=self._context)

    def _events(self) -> list[tuple[str, dict[str, Any]]]:
        mine = self.browser.events[self._begin :]
        return [(e["method"], e["params"]) for e in mine if e.get("sessionId") == self._session]


def wait(check: Callable[[], bool], what: str, seconds: float = SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not check():
        if time.monotonic() > deadline:
            raise AssertionError(f"in {seconds:g} s this did not become so: {what}")
        time.sleep(0.02)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends have numbers above those that the browser is given."""
    ends = os.pipe()
    high = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends]
    for end in ends:
        os.close(end)
    return high[0], high[1]
