"""Use the notebooks as a person would: JupyterLab in a real browser, run, sliders moved.

Works on a copy of the clone, and leaves screenshots in results/browser, to be looked at. Names of
notebooks as arguments limit it to those.
"""

import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Error, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
SCREENSHOTS = ROOT / "results" / "browser"
NOTEBOOKS = ("Explorers", "Synthetic_tests_SMI", "MNIST-SMI", "MNIST-AEMI", "Plotting_MI_SMI")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "chrome")
WITHOUT_CHROMIUM = """\
{problem}:
{error}
Install Chromium (Debian: apt-get install chromium; Ubuntu, macOS and others: `.venv/bin/python -m
playwright install --with-deps chromium`), or name one: make browser CHROMIUM=/path/to/chromium"""
# Every explorer, whatever the notebooks call.
EXPLORERS = (
    """\
from utils import CorrelatedNormal, load_results
from utils.explorers import explore_misleading, explore_slices, explore_smi, explore_training
explore_smi()""",
    "explore_misleading()",
    """\
smi, mi = (load_results(f"mnist_{name}", directory="results/paper").results
           for name in ("smi", "aemi"))
explore_training({"MI": mi["plane"], "SMI": smi["plane"]}, history=smi["history"])""",
    "explore_slices(*CorrelatedNormal(3.0, 5, 4, rng=0).sample(3000, rng=0))",
)
EXPLORER = re.compile(r"^explore_\w+\(", re.MULTILINE)
# Seconds; an estimator's first move may have to compile it.
START_LIMIT, RUN_LIMIT, MOVE_LIMIT, STOP_LIMIT = 600.0, 3600.0, 900.0, 60.0
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    # Cells out of sight are on the page too.
    "notebook-extension/tracker": {"windowingMode": "none"},
}
PICTURES = "img.widget-image"


def main():
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    names = sys.argv[1:] or NOTEBOOKS
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = launch(playwright)
        clone = Path(folder) / "clone"
        copy_clone(clone)
        with jupyterlab(clone, Path(folder)) as (address, token):
            page = browser.new_page(viewport={"width": 1500, "height": 1000})
            page.set_default_timeout(1000 * START_LIMIT)
            for name in names:
                check_notebook(page, name, clone, address, token)
        browser.close()
    print(f"{len(names)} notebooks ran, every slider moved; look at {SCREENSHOTS}")


def launch(playwright):
    """Chromium: the one named, the system's, Playwright's, or the one it downloads now."""
    paths = [os.environ.get("CHROMIUM") or None, *map(shutil.which, CHROMIUM)]
    path = next(filter(None, paths), None)
    if path is None and not Path(playwright.chromium.executable_path).exists():
        command = [sys.executable, "-m", "playwright", "install", "chromium"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            problem = "There is no Chromium, and Playwright could not download one"
            sys.exit(WITHOUT_CHROMIUM.format(problem=problem, error=first_error(done.stderr)))
    try:
        return playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
    except Error as error:
        problem = f"{path or 'The Chromium of Playwright'} does not start"
        sys.exit(WITHOUT_CHROMIUM.format(problem=problem, error=first_error(error.message)))


def first_error(text):
    lines = text.strip().splitlines()
    return next((line for line in lines if line.startswith("Error")), lines[0])


def copy_clone(clone):
    """What git would commit, and a notebook of all explorers."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_file():
            shutil.copy2(ROOT / name, clone / name)
    cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
    notebook = {
        "cells": [{**cell, "source": source} for source in EXPLORERS],
        "metadata": {"kernelspec": {"name": "python3", "display_name": "Python 3"}},
        "nbformat": 4,
        "nbformat_minor": 4,
    }
    (clone / "Explorers.ipynb").write_text(json.dumps(notebook))


@contextmanager
def jupyterlab(clone, folder):
    """Start JupyterLab on the clone, with settings of its own; give its address and token."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(16)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}"]
    variables = {
        "JUPYTER_CONFIG_DIR": str(folder / "config"),
        "JUPYTERLAB_SETTINGS_DIR": str(folder / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / "workspaces"),
    }
    for name, settings in SETTINGS.items():
        path = folder / "settings/@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(settings))
    log = folder / "jupyterlab.log"
    with log.open("w") as stream:
        server = subprocess.Popen(
            command,
            cwd=clone,
            env=os.environ | variables,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
        try:
            address = f"http://127.0.0.1:{port}"
            wait(lambda: answers(f"{address}/api/status?token={token}"), START_LIMIT, log.read_text)
            yield address, token
        finally:
            server.terminate()
            try:
                server.wait(STOP_LIMIT)
            except subprocess.TimeoutExpired:  # it may wait for a kernel for ever
                server.kill()
                server.wait()


def answers(url):
    try:
        with urllib.request.urlopen(url) as response:
            return json.load(response)
    except urllib.error.URLError:
        return None


def wait(condition, limit, explain, *, every=0.05):
    """Wait until it holds, and return what it gives."""
    end = time.monotonic() + limit
    while not (value := condition()):
        if time.monotonic() > end:
            sys.exit(f"gave up after {limit:.0f} s\n{explain()}")
        time.sleep(every)
    return value


def check_notebook(page, name, clone, address, token):
    print(f"{name}: ", end="", flush=True)
    clear(clone / f"{name}.ipynb")
    page.goto(f"{address}/lab/tree/{name}.ipynb?reset&token={token}")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    wait(lambda: kernel_state(address, token, name) == "idle", START_LIMIT, lambda: "no kernel")
    screenshot(page, f"{name}_opened")
    start = time.monotonic()
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile("^Run$")).click()
    page.locator(".lm-Menu-itemLabel", has_text=re.compile("^Run All Cells$")).click()
    path = clone / f"{name}.ipynb"
    wait(lambda: has_run(page, path, address, token, name), RUN_LIMIT, lambda: name, every=1.0)
    print(f"ran in {time.monotonic() - start:.0f} s", flush=True)
    cells = json.loads(path.read_text())["cells"]
    for cell in cells:
        for output in cell.get("outputs", []):
            if output["output_type"] == "error":
                sys.exit(f"{name}: {output['ename']}: {output['evalue']}")
    n_explorers = sum(bool(EXPLORER.search("".join(cell["source"]))) for cell in cells)
    explorers = page.locator(".jp-OutputArea-output:has(img.widget-image)")
    shown = f"{name}: fewer than {n_explorers} explorers are shown"
    wait(lambda: explorers.count() >= n_explorers, START_LIMIT, lambda: shown)
    for at in range(explorers.count()):
        move_controls(page, explorers.nth(at), f"{name}_{at + 1}")
    page.keyboard.press("Control+Home")
    screenshot(page, f"{name}_run")


def clear(path):
    """Forget the run that is committed, which would be taken for one that is done."""
    notebook = json.loads(path.read_text())
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell |= {"outputs": [], "execution_count": None}
    path.write_text(json.dumps(notebook))


def kernel_state(address, token, name):
    for session in answers(f"{address}/api/sessions?token={token}") or []:
        if session["path"] == f"{name}.ipynb":
            return session["kernel"]["execution_state"]
    return None


def has_run(page, path, address, token, name):
    """Whether every cell is done, as the saved notebook says."""
    if kernel_state(address, token, name) != "idle":
        return False
    page.keyboard.press("Control+S")
    time.sleep(2.0)
    try:
        saved = json.loads(path.read_text())
    except json.JSONDecodeError:  # read while it is written
        return False
    cells = [cell for cell in saved["cells"] if "outputs" in cell]
    failed = any(output["output_type"] == "error" for cell in cells for output in cell["outputs"])
    return failed or all(cell["execution_count"] for cell in cells)


def move_controls(page, explorer, name):
    """Move every control of an explorer; each time the picture must change."""
    explorer.scroll_into_view_if_needed()
    screenshot(page, f"{name}_start")
    seconds = []

    def changes(move, *arguments, **options):
        before, start = source(explorer), time.monotonic()
        move(*arguments, **options)
        text = f"{name}: no new picture after {move} {arguments} {options}"
        wait(lambda: source(explorer) != before, MOVE_LIMIT, lambda: text)
        seconds.append(time.monotonic() - start)

    for handle in explorer.locator(".noUi-handle").all():
        for _ in range(3):
            now, last = (handle.get_attribute(f"aria-value{name}") for name in ("now", "max"))
            changes(handle.press, "ArrowLeft" if now == last else "ArrowRight")
    for dropdown in explorer.locator(".widget-dropdown select").all():
        changes(dropdown.select_option, index=1)
    for multiple in explorer.locator(".widget-select-multiple select").all():
        changes(multiple.select_option, index=[0, 1])
    buttons = explorer.locator(".widget-play button")
    if buttons.count():
        play, stop = buttons.nth(0), buttons.nth(1)
        changes(stop.click)  # goes back to the start
        changes(play.click)
        for _ in range(5):
            changes(page.wait_for_timeout, 0)
        play.click()
    screenshot(page, f"{name}_moved")
    median = statistics.median(seconds)
    print(f"    explorer {name}: {len(seconds)} moves, median {median:.2f} s", flush=True)


def source(explorer):
    return explorer.locator(PICTURES).get_attribute("src")


def screenshot(page, name):
    page.wait_for_timeout(500)
    page.screenshot(path=SCREENSHOTS / f"{name}.png")


if __name__ == "__main__":
    main()
