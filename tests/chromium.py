"""A headless Chromium for tests, driven over the DevTools protocol through two pipes: no driver, no port.

What a page says on its console, what it asks for and what it measures comes from the browser itself, also where the
page's own policy lets no script run. Knows nothing of the pages.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
PATIENCE_S = 120.0


@dataclass
class Tab:
    """A page in the browser, to look at and to use as a person does.

    Attributes
    ----------
    complaints
        What it wrote to its console as an error since it was opened, and exceptions that nobody caught.
    warnings
        What it wrote there as a warning.
    requests
        The addresses that it asked for since then.
    """

    to_browser: int
    from_browser: int
    process: subprocess.Popen[bytes]
    session: str = ""
    complaints: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    _sent: int = 0
    _read: bytes = b""
    _loaded: bool = False

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.to_browser, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def open(self, address: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Show a page at a width in CSS pixels, and wait until it has loaded."""
        self.complaints.clear()
        self.warnings.clear()
        self.requests.clear()
        self._loaded = False
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        self.call("Page.navigate", url=address)
        while not self._loaded:
            self._next()

    def ask(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, whatever its policy."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, (expression, found["exceptionDetails"])
        return found["result"].get("value")

    def wait(self, expression: str) -> None:
        """Wait until an expression is true of the page."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.ask(f"!!({expression})"):
            shown = "" if time.monotonic() < deadline else self.ask("document.body?.innerText.slice(0, 2000)")
            assert time.monotonic() < deadline, f"{expression} never became true; the page says:\n{shown}"
            time.sleep(0.2)

    def sees(self, text: str) -> None:
        """Wait until a text is in the page."""
        self.wait(f"document.body?.innerText.includes({json.dumps(text)})")

    def click(self, finder: str) -> None:
        """Click, as a mouse does, the middle of the element that an expression of JavaScript finds."""
        self.wait(finder)
        x, y = self.ask(
            f"(() => {{ const e = ({finder}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            count = 0 if kind == "mouseMoved" else 1
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=count)

    def press(self, key: str) -> None:
        """Press Enter or a letter."""
        code, number, text = ("Enter", 13, "\r") if key == "Enter" else (f"Key{key.upper()}", ord(key.upper()), key)
        for kind in ("keyDown", "keyUp"):
            more = {"text": text} if kind == "keyDown" else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, **more)

    def write(self, text: str) -> None:
        """Write into what has the focus."""
        self.call("Input.insertText", text=text)

    def give_file(self, selector: str, file: Path) -> None:
        """Give a file to an input for files."""
        self.wait(f"document.querySelector({json.dumps(selector)})")
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(file)])

    def picture(self, height: int) -> bytes:
        """The top of the page as a PNG."""
        clip = {"x": 0, "y": 0, "width": self.ask("innerWidth"), "height": height, "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(found["data"])

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._read:
            ready, _, _ = select.select([self.from_browser], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self.from_browser, 1 << 16) if ready else b""
            assert part, f"chromium said nothing for {PATIENCE_S:.0f} s, or ended ({self.process.poll()})"
            self._read += part
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method", ""), message.get("params", {}))
        return message

    def _note(self, event: str, said: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(said["request"]["url"])
        elif event == "Network.webSocketCreated":
            self.requests.append(said["url"])
        elif event == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif event == "Log.entryAdded":
            entry = said["entry"]
            self._complain(entry["level"], f"{entry['text']} {entry.get('url', '')}")
        elif event == "Runtime.consoleAPICalled":
            words = (str(each.get("value", each.get("description"))) for each in said["args"])
            self._complain(said["type"], " ".join(words))

    def _complain(self, level: str, text: str) -> None:
        if level in ("error", "assert"):
            self.complaints.append(text)
        elif level == "warning":
            self.warnings.append(text)


@contextmanager
def chromium(profile: Path, microphone: Path | None = None) -> Iterator[Tab]:
    """Start a browser with a fresh profile, and yield its one tab; it ends with the block.

    Parameters
    ----------
    microphone
        What its microphone hears, again and again: a WAV file. Without it there is none.
    """
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    # The browser reads commands from descriptor 3 and writes to 4, which a shell gives it.
    flags = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars")
    flags += ("--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required")
    flags += ("--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={profile}")
    if microphone is not None:
        flags += ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
        flags += (f"--use-file-for-fake-audio-capture={microphone}",)
    command = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash", CHROMIUM, *flags, "about:blank"]
    process = subprocess.Popen(command, pass_fds=(theirs_in, theirs_out), stderr=subprocess.DEVNULL)
    os.close(theirs_in)
    os.close(theirs_out)
    tab = Tab(ours_out, ours_in, process)
    try:
        target = tab.call("Target.createTarget", url="about:blank")["targetId"]
        tab.session = tab.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            tab.call(f"{domain}.enable")
        yield tab
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_S)
        os.close(ours_out)
        os.close(ours_in)
