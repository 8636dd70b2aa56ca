"""Take the pictures of the dashboard that the docs show: `make pictures`.

Real runs on a real server, in a home folder of their own; every page in light and dark, as `docs/images/NAME-light.png`
and `-dark.png`. With `--width 390` they are those of a phone, for looking at, and go where `--to` says.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import BrowserContext, expect, sync_playwright

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PASSWORD = "only-for-pictures"
P = "/p/orchard"


def main() -> int:
    """Make the runs, open every page, keep what is seen."""
    parser = argparse.ArgumentParser(description="Take the pictures of the docs.")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--to", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--only", default="", help="pages whose name has this in it")
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        farm = Farm(Path(folder))
        try:
            farm.start()
            farm.work()
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox"]
                )
                for theme in ("light", "dark"):
                    context = browser.new_context(
                        viewport={"width": options.width, "height": 800}, color_scheme=theme
                    )
                    farm.log_in(context)
                    for name, path in farm.pages().items():
                        if options.only in name:
                            take(context, farm.url + path, options.to / f"{name}-{theme}")
                    context.close()
                browser.close()
        finally:
            farm.stop()
    return 0


class Farm:
    """A server with a project, and the command line of its admin."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "orchard"
        self.url = ""
        self.token = ""
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TILTH_")},
            "TILTH_HOME": str(folder / "home"),
            "TILTH_SERVER_ADMIN_PASSWORD": PASSWORD,
            "TILTH_SECRET_STORE": "file",
            "TILTH_SECRETS_KEY": str(folder / "secrets.key"),
        }

    def tilth(self, *arguments: str, fails: bool = False, given: str = "") -> str:
        """Run `tilth` in the project; what it printed."""
        done = subprocess.run(
            [str(Path(sys.executable).with_name("tilth")), *arguments],
            cwd=self.project,
            env=self._env,
            input=given,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode and not fails:
            raise SystemExit(f"tilth {' '.join(arguments)}\n{done.stdout}{done.stderr}")
        return done.stdout

    def start(self) -> None:
        """The server, and a login."""
        self.project.mkdir()
        (self.project / "tilth.toml").write_text('project = "orchard"\n')
        shutil.copy(HERE / "orchard.py", self.project / "orchard.py")
        told = json.loads(self.tilth("server", "start", "--port", "0", "--json"))
        self.url = told["url"]
        self.token = self.ask("POST", "/login", {"name": "admin", "password": PASSWORD})["token"]
        self.tilth("login", self.url)
        self.ask("POST", "/projects", {"name": "orchard", "description": "what the trees gave"})

    def stop(self) -> None:
        """End the server."""
        self.tilth("server", "stop", fails=True)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request to the API."""
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/api/v1{path}", content, headers, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                return json.loads(answer.read() or "null")
        except urllib.error.HTTPError as error:
            raise SystemExit(f"{method} {path}: {error.read().decode()}") from None

    def work(self) -> None:
        """Runs that succeed, fail and are reused; what starts them without anybody there; what a team has."""
        for alpha in ("0.1", "0.2", "0.3"):
            self.tilth("run", "orchard.py", "--param", f"alpha={alpha}")
        text = (self.project / "orchard.py").read_text()
        (self.project / "orchard.py").write_text(text.replace("pandas==2.3.*", "pandas==2.2.*"))
        self.tilth("run", "orchard.py", "--param", "alpha=0.3", "--param", "seed=8")
        self.tilth("run", "orchard.py", "--param", "strict=true", fails=True)
        self.tilth("snapshots", "create", "orchard.py", "--name", "nightly")
        self.ask(
            "POST",
            "/projects/orchard/schedules",
            {"name": "every-night", "snapshot": "nightly", "cron": "30 2 * * *", "timezone": "Europe/Berlin"},
        )
        self.tilth("secret", "set", "WAREHOUSE_PASSWORD", given="s3cret-of-nobody\n")
        for name in ("ada", "grace"):
            self.ask("POST", "/users", {"name": name})
            self.ask("PUT", f"/projects/orchard/members/{name}", {"role": "editor"})

    def log_in(self, context: BrowserContext) -> None:
        """The admin's login, as a browser has it."""
        context.add_cookies([{"name": "tilth_session", "value": self.token, "url": self.url}])

    def pages(self) -> dict[str, str]:
        """Name -> address of what is shown."""
        runs = self.ask("GET", "/projects/orchard/runs?order=number&limit=10")["items"]
        good, failed = runs[-2], runs[-1]
        older, newer = runs[0]["environments"]["tables"], good["environments"]["tables"]
        snapshot = self.ask("GET", "/projects/orchard/snapshots?limit=1")["items"][0]
        artifacts = self.ask("GET", "/projects/orchard/artifacts?order=created_at&limit=100")["items"]
        harvest = next(quote(each["name"], safe="") for each in artifacts if each["name"].endswith("harvest"))
        return {
            "overview": f"{P}/overview",
            "pipelines": f"{P}/pipelines",
            "pipeline": f"{P}/pipelines/orchard",
            "runs": f"{P}/runs",
            "run": f"{P}/runs/{good['name']}",
            "run-timeline": f"{P}/runs/{good['name']}?tab=timeline",
            "run-failed": f"{P}/runs/{failed['name']}?step=judge",
            "run-logs": f"{P}/runs/{good['name']}?tab=logs",
            "compare": f"{P}/compare?runs={runs[0]['name']},{good['name']}",
            "environments": f"{P}/environments",
            "environment": f"{P}/environments/{newer}",
            "environments-diff": f"{P}/environments/diff?a={older}&b={newer}",
            "builds": f"{P}/builds",
            "artifacts": f"{P}/artifacts",
            "artifact": f"{P}/artifacts/{harvest}/1",
            "snapshots": f"{P}/snapshots",
            "snapshot": f"{P}/snapshots/{snapshot['id']}",
            "schedules": f"{P}/schedules",
            "webhooks": f"{P}/webhooks",
            "stacks": f"{P}/stacks",
            "secrets": f"{P}/secrets",
            "members": f"{P}/members",
            "account": "/settings/account",
            "keys": "/settings/keys",
            "projects": "/settings/projects",
            "users": "/settings/users",
            "audit": "/settings/audit",
            "server": "/settings/server",
        }


def take(context: BrowserContext, url: str, target: Path) -> None:
    """A picture of a page once nothing is loading any more."""
    page = context.new_page()
    page.goto(url)
    page.wait_for_load_state("networkidle")
    expect(page.locator("[aria-label=loading]")).to_have_count(0, timeout=60_000)
    time.sleep(0.7)  # for what moves into its place
    page.screenshot(path=f"{target}.png")
    page.close()
    print(target.name, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
