# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium by its DevTools protocol over two pipes: no driver, no socket, no library."""

import base64
import itertools
import json
import os
import select
import shutil
import subprocess
import tempfile
import time

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ANSWER_BYTES_MAX = 64 << 20


class BrowserError(Exception):
    """The browser is missing, died, or refused a command."""


def find_browser():
    """Path of the first browser of this machine, or None."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Page:
    """One tab. What it logs, throws and asks the network for is collected from the beginning."""

    def __init__(self, program):
        self.folder = tempfile.TemporaryDirectory(prefix="kernelites_web_")
        command_read, self.command = os.pipe()
        self.answers, answer_write = os.pipe()
        options = ["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--disable-dev-shm-usage",
                   "--no-first-run", "--disable-extensions", "--disable-background-networking", "--disable-sync",
                   "--disable-component-update", "--force-color-profile=srgb", "--hide-scrollbars",
                   f"--user-data-dir={self.folder.name}", "about:blank"]
        if os.geteuid() == 0:
            options.insert(0, "--no-sandbox")
        # The protocol's descriptors are 3 and 4.
        self.process = subprocess.Popen(
            ["sh", "-c", f'exec "$@" 3<&{command_read} 4>&{answer_write}', "sh", program, *options],
            pass_fds=(command_read, answer_write), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(command_read)
        os.close(answer_write)
        self.numbers, self.buffer, self.session = itertools.count(1), b"", None
        self.problems, self.requests, self.events = [], [], []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        """Ends the browser and removes its profile."""
        os.close(self.command)
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, 9)
            self.process.wait()
        os.close(self.answers)
        self.folder.cleanup()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _message(self, deadline):
        while b"\0" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                raise BrowserError("the browser does not answer")
            more = os.read(self.answers, 1 << 20)
            if not more or len(self.buffer) > ANSWER_BYTES_MAX:
                raise BrowserError("the browser is gone")
            self.buffer += more
        text, _, self.buffer = self.buffer.partition(b"\0")
        return json.loads(text)

    def _note(self, message):
        method, values = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning", "assert"):
            self.problems.append(" ".join(str(argument.get("value", "")) for argument in values["args"]))
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.problems.append(values["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(values["request"]["url"])
        elif method:
            self.events.append(method)

    def call(self, method, timeout=30, **values):
        """The answer to one command; what comes in between is noted."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": values}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.command, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + timeout
        while True:
            answer = self._message(deadline)
            if answer.get("id") != number:
                self._note(answer)
            elif "error" in answer:
                raise BrowserError(f"{method}: {answer['error'].get('message')}")
            else:
                return answer["result"]

    def evaluate(self, expression):
        """The value of an expression in the page; promises are waited for."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise BrowserError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    def wait_for(self, expression, seconds=20):
        """Until the expression is true; its last value."""
        deadline = time.monotonic() + seconds
        while True:
            value = self.evaluate(expression)
            if value or time.monotonic() > deadline:
                return value
            time.sleep(0.05)

    def size(self, width, height):
        """The viewport in CSS pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1,
                  mobile=width < 600)

    def scheme(self, name, media=""):
        """prefers-color-scheme, and the medium ("print")."""
        self.call("Emulation.setEmulatedMedia", media=media,
                  features=[{"name": "prefers-color-scheme", "value": name}])

    def go(self, url):
        """Opens the address; seconds until it has drawn itself."""
        self.problems.clear()
        self.requests.clear()
        begin = time.monotonic()
        self.call("Page.navigate", url=url)
        if not self.wait_for("document.readyState === 'complete' && document.documentElement.dataset.drawn === 'yes'"):
            raise BrowserError(f"{url} has not drawn itself: {self.problems}")
        return time.monotonic() - begin

    def press(self, key, code=0):
        """One key, as from a keyboard."""
        text = {"Enter": "\r", " ": " "}.get(key)
        values = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.call("Input.dispatchKeyEvent", type="keyDown", **values, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def screenshot(self, file, is_whole=False):
        """A picture of the viewport, or of the whole page."""
        picture = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=is_whole)
        file.write_bytes(base64.b64decode(picture["data"]))
