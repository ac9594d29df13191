"""A JupyterLab for tests, with the notebook that a browser opens in it."""

import json
import os
import secrets
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import toys

ROOT = Path(__file__).parents[1]
NOTEBOOK = "playground.ipynb"  # in the folder that is served
PATIENCE = 120  # seconds: machines have other work to do


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The address of `NOTEBOOK` in a JupyterLab of its own, which serves `folder`."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token, log = secrets.token_hex(16), folder / ".lab.log"
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        # As the playground says: without it, larger uploads end silently.
        '--ServerApp.tornado_settings={"websocket_max_message_size": 104857600}',
    ]
    command += [f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    quiet = folder / ".settings/@jupyterlab/apputils-extension/notification.jupyterlab-settings"
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    kernel = folder / ".data" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": argv, "display_name": "3", "language": "python"}))
    folders = {f"JUPYTER_{kind}_DIR": f"{folder}/.{kind}" for kind in ("CONFIG", "RUNTIME")}
    folders |= {"JUPYTERLAB_SETTINGS_DIR": f"{folder}/.settings", "PYTHONPATH": str(ROOT)}
    folders |= {"JUPYTER_PATH": f"{folder}/.data", "OMP_NUM_THREADS": "1"}  # others run beside
    address = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        environment = os.environ | folders
        server = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
        try:
            _wait_for(server, f"{address}/api?token={token}", log)
            yield f"{address}/lab/tree/{NOTEBOOK}?token={token}"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait_for(server: subprocess.Popen, address: str, log: Path) -> None:
    for _ in range(480):
        assert server.poll() is None, log.read_text()
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(address, timeout=5).close()
            return
        time.sleep(0.25)


def opened(browser, address: str):
    """A page of Playwright's `browser` that opens the notebook, and is patient."""
    page = browser.new_page(viewport={"width": 1280, "height": 720})
    page.set_default_timeout(1000 * PATIENCE)
    page.goto(address)
    return page


def run_all_cells(page) -> None:
    """Run all cells of the notebook in `page`."""
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_text("Run All Cells", exact=True).click()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition that no selector can tell."""
    toys.until(condition, PATIENCE, what)
