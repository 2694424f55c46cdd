"""What does this machine need for Crossdock, is it there, and how does one get it?"""

from __future__ import annotations

import shutil
from dataclasses import asdict

from local.cli.options import NotOk, with_screen
from local.cli.rendering import Screen
from local.engine import toolchain
from local.engine.state import free_port
from local.engine.toolchain import Finding

_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@with_screen
def command(screen: Screen) -> None:
    """What is needed, found or not, and how to get it; exit code 1 when something needed is missing."""
    needed = [*toolchain.examine(toolchain.project_root()), _ports()]
    optional = [_uv(), _browser()]
    rows = [{**asdict(finding), "needed": finding in needed} for finding in (*needed, *optional)]

    def draw() -> None:
        screen.table(
            "",
            ["what", "needed", "ok", "found", "how to get it"],
            [(row["name"], row["needed"], row["ok"], row["found"], "" if row["ok"] else row["remedy"]) for row in rows],
        )

    screen.show({"ok": all(finding.ok for finding in needed), "findings": rows}, draw)
    if not all(finding.ok for finding in needed):
        raise NotOk("something that is needed is missing")


def _ports() -> Finding:
    try:
        return Finding("ports", ok=True, found=f"127.0.0.1 gives ports, such as {free_port()}")
    except OSError as error:
        return Finding("ports", ok=False, found=str(error), remedy="let programs listen on 127.0.0.1: engine and simulators do")


def _uv() -> Finding:
    found = shutil.which("uv")
    return Finding("uv", bool(found), found or "not on PATH", "only for changing dependencies and building the AWS layer: `make setup` brings its own")


def _browser() -> Finding:
    found = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    return Finding("chromium", bool(found), found or "not found", "only for looking at pages by program: install the package chromium")
