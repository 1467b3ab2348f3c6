"""A headless Chromium for tests, driven over the DevTools protocol: what a page asks for, says and shows."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

CHROMIUM = shutil.which("chromium")
WAIT_S = 120.0


class Browser:
    """A page in headless Chromium.

    Attributes
    ----------
    requests
        The addresses that the page asked for.
    complaints
        What it wrote to its console as an error, and exceptions that nobody caught.
    """

    def __init__(self, folder: Path, *, width: int = 1280, height: int = 1000) -> None:
        from websockets.sync.client import connect

        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._number = 0
        self._process = subprocess.Popen(
            [
                str(CHROMIUM),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-background-networking",
                "--no-first-run",
                "--hide-scrollbars",
                "--autoplay-policy=no-user-gesture-required",
                "--use-fake-device-for-media-stream",
                f"--window-size={width},{height}",
                f"--user-data-dir={folder}",
                "--remote-debugging-port=0",
                "about:blank",
            ],
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        told = folder / "DevToolsActivePort"
        deadline = time.monotonic() + WAIT_S
        while not (told.is_file() and "\n" in told.read_text()):
            if time.monotonic() > deadline:
                self._process.kill()
                raise TimeoutError("chromium did not start")
            time.sleep(0.2)
        port, path = told.read_text().split("\n")[:2]
        self._socket = connect(f"ws://127.0.0.1:{port}{path}", max_size=None, open_timeout=WAIT_S)
        self._session: str | None = None
        target = self._do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            self._do(f"{domain}.enable")
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(Exception):
            self._session = None
            self._do("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
            return
        self._process.kill()
        self._process.wait()

    def open(self, address: str) -> None:
        """Go to an address."""
        self._do("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """What an expression of JavaScript is in the page; the last one of a promise."""
        found = self._do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise AssertionError(f"{expression}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def wait(self, expression: str, seconds: float = WAIT_S) -> None:
        """Wait until an expression is true of the page."""
        deadline = time.monotonic() + seconds
        while not self.evaluate(f"!!({expression})"):
            if time.monotonic() > deadline:
                shown = self.evaluate("document.body?.innerText.slice(0, 2000)")
                raise AssertionError(f"{expression} did not become true in {seconds:g} s; the page says:\n{shown}")
            time.sleep(0.2)

    def sees(self, text: str, seconds: float = WAIT_S) -> None:
        """Wait until a text is in the page."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})", seconds)

    def click(self, finder: str) -> None:
        """Click, as a mouse does, the middle of the element that an expression of JavaScript finds."""
        self.wait(finder)
        box = self.evaluate(
            f"(() => {{ const e = ({finder}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            count = 0 if kind == "mouseMoved" else 1
            self._do("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=count)

    def press(self, key: str) -> None:
        """Press a key."""
        codes = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}
        code, text = codes.get(key, (ord(key[0].upper()), key))
        named = key if key in codes else f"Key{key.upper()}"
        down = "keyDown" if text else "rawKeyDown"
        for kind in (down, "keyUp"):
            more = {"text": text} if kind == "keyDown" else {}
            self._do("Input.dispatchKeyEvent", type=kind, key=key, code=named, windowsVirtualKeyCode=code, **more)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self._do("Input.insertText", text=text)

    def give_file(self, selector: str, file: Path) -> None:
        """Give a file to an input for files."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        root = self._do("DOM.getDocument")["root"]["nodeId"]
        node = self._do("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self._do("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def picture(self, file: Path) -> None:
        """Keep what is seen as a PNG."""
        file.write_bytes(base64.b64decode(self._do("Page.captureScreenshot", format="png")["data"]))

    def resize(self, width: int, height: int) -> None:
        """Give the page another size."""
        self._do("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def prefer_dark(self) -> None:
        """Let the page know that dark colors are preferred."""
        self._do("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])

    def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            answer = json.loads(self._socket.recv(timeout=WAIT_S))
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise AssertionError(f"{method}: {answer['error']}")
                found: dict[str, Any] = answer["result"]
                return found
            self._hear(answer)

    def _hear(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        heard: dict[str, Callable[[], None]] = {
            "Network.requestWillBeSent": lambda: self.requests.append(said["request"]["url"]),
            "Network.webSocketCreated": lambda: self.requests.append(said["url"]),
            "Runtime.exceptionThrown": lambda: self.complaints.append(str(said["exceptionDetails"])),
        }
        if event["method"] == "Runtime.consoleAPICalled" and said["type"] == "error":
            self.complaints.append(" ".join(str(each.get("value", each.get("description"))) for each in said["args"]))
        elif event["method"] == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.complaints.append(f"{said['entry']['text']} {said['entry'].get('url', '')}")
        elif event["method"] in heard:
            heard[event["method"]]()
