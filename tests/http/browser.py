"""A headless Chromium, driven over its DevTools protocol, that reaches nothing but 127.0.0.1."""

import asyncio
import base64
import itertools
import json
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

NAMES = "chromium", "chromium-browser", "google-chrome", "chrome"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--remote-debugging-port=0",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-extensions",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
    "--window-size=1280,800",
)
PATIENCE = 30  # seconds
CTRL = 2  # the protocol's bit for the key


def find_chromium() -> str | None:
    """Find the program, under any of its names."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def open_page(chromium: str) -> AsyncIterator["Page"]:
    """Start a browser with a profile of its own and open a page in it; stop that browser, and no other, in the end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        quiet = asyncio.subprocess.DEVNULL
        browser = await asyncio.create_subprocess_exec(chromium, *FLAGS, f"--user-data-dir={profile}", stdout=quiet, stderr=quiet)
        try:
            async with connect(await socket_address(Path(profile)), max_size=None) as socket:
                page = Page(socket)
                listening = asyncio.create_task(page.listen())
                try:
                    await page.attach()
                    yield page
                finally:
                    listening.cancel()
                    with suppress(asyncio.CancelledError):
                        await listening
        finally:
            browser.terminate()
            await browser.wait()


async def socket_address(profile: Path) -> str:
    """Wait until the browser has written down where it listens."""
    note = profile / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while not (note.exists() and note.read_text().count("\n")):  # noqa: ASYNC110 -- a file tells nobody
            await asyncio.sleep(0.02)
    port, path = note.read_text().split()
    return f"ws://127.0.0.1:{port}{path}"


class Page:
    """A page and its workers: what they ask of the network, what goes wrong in them, and hands to use the page with."""

    def __init__(self, socket: ClientConnection):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.socket = socket
        self.session: str | None = None
        self.numbers = itertools.count(1)
        self.answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.enabling: set[asyncio.Task[None]] = set()

    async def attach(self) -> None:
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        await self.call("Page.enable")
        await self.enable(self.session)

    async def enable(self, session: str) -> None:
        for domain in "Runtime", "Network", "Log":
            # A worker may lack one of them.
            with suppress(RuntimeError):
                await self.call(f"{domain}.enable", session=session)
        with suppress(RuntimeError):
            await self.call("Target.setAutoAttach", session=session, autoAttach=True, waitForDebuggerOnStart=False, flatten=True)

    async def call(self, method: str, *, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        number = next(self.numbers)
        self.answers[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        if (session or self.session) and method not in {"Target.createTarget", "Target.attachToTarget"}:
            message["sessionId"] = session or self.session
        await self.socket.send(json.dumps(message))
        async with asyncio.timeout(PATIENCE):
            return await self.answers[number]

    async def listen(self) -> None:
        async for text in self.socket:
            message = json.loads(text)
            if "id" in message:
                answer = self.answers.pop(message["id"])
                if answer.done():
                    continue
                if "error" in message:
                    answer.set_exception(RuntimeError(message["error"]["message"]))
                else:
                    answer.set_result(message["result"])
            else:
                self.note(message["method"], message["params"])

    def note(self, event: str, details: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(details["request"]["url"])
            case "Network.webSocketCreated":
                self.requests.append(details["url"])
            case "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(details["exceptionDetails"]))
            case "Log.entryAdded" if details["entry"]["level"] == "error":
                self.complaints.append(details["entry"]["text"])
            case "Runtime.consoleAPICalled" if details["type"] == "error":
                self.complaints.append(json.dumps(details["args"]))
            case "Target.attachedToTarget":
                task = asyncio.create_task(self.enable(details["sessionId"]))
                self.enabling.add(task)
                task.add_done_callback(self.enabling.discard)

    async def go(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def evaluate(self, expression: str) -> Any:
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"].get("description", expression))
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> Any:
        """Wait until the expression is truthy, and give its value."""
        last: Any = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    # While a page is being loaded there is nothing to ask.
                    with suppress(RuntimeError):
                        last = await self.evaluate(expression)
                    if last:
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            shown = await self.evaluate("document.body.innerText")
            raise AssertionError(f"{expression} stayed {last!r}; complaints: {self.complaints}; the page: {shown}") from None

    async def wait_for_text(self, selector: str, text: str) -> None:
        # An editor draws its spaces as no-break spaces.
        shown = f"document.querySelector({json.dumps(selector)})?.innerText.replaceAll('\\u00a0', ' ')"
        await self.wait_for(f"{shown}?.includes({json.dumps(text)})")

    async def click(self, selector: str) -> None:
        await self.wait_for(f"(element => element && !element.disabled)(document.querySelector({json.dumps(selector)}))")
        await self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    async def choose(self, selector: str, value: str) -> None:
        """Pick an entry of a list."""
        await self.wait_for(f"(list => list && !list.disabled)(document.querySelector({json.dumps(selector)}))")
        await self.evaluate(
            f"(list => {{ list.value = {json.dumps(value)}; list.dispatchEvent(new Event('change', {{bubbles: true}})) }})"
            f"(document.querySelector({json.dumps(selector)}))"
        )

    async def type(self, selector: str, text: str) -> None:
        """Replace what a field holds, as by hand."""
        await self.wait_for(f"document.querySelector({json.dumps(selector)}) !== null")
        await self.evaluate(f"(field => {{ field.focus(); field.select() }})(document.querySelector({json.dumps(selector)}))")
        await self.call("Input.insertText", text=text)

    async def press_ctrl_enter(self) -> None:
        for kind in "keyDown", "keyUp":
            await self.call("Input.dispatchKeyEvent", type=kind, modifiers=CTRL, key="Enter", code="Enter", windowsVirtualKeyCode=13)

    async def screenshot(self) -> bytes:
        """Give the page's picture as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])
