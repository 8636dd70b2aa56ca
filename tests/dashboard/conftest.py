"""The built dashboard on a real server with real runs, in a real browser."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from tests.conftest import Ended, run_cli
from tests.server_running import RunningServer, running_server

from tilth.records.access import Member, Purpose, Role, Space, Token, User
from tilth.store import Delete
from tilth.store.sqlite import SqliteDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

expect.set_options(timeout=60_000)

_ROOT = Path(__file__).parents[2]
_AXE = _ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
COOKIE = "tilth_session"


@pytest.fixture(scope="session")
def dashboard() -> Path:
    """The folder of the built dashboard; `scripts/test` had it made."""
    built = _ROOT / "src" / "tilth" / "server" / "web"
    if not (built / "index.html").is_file():
        pytest.fail("the dashboard is not built: `make dashboard`", pytrace=False)
    return built


@dataclass(frozen=True)
class World:
    """A server, a project on a disk, and the command line of somebody who is logged in.

    Attributes:
        project: The project's folder; it holds `pipeline.py` once a test wrote it.
        name: What the project is called on the server.
    """

    server: RunningServer
    project: Path
    home: Path
    name: str = "farm"

    @property
    def url(self) -> str:
        return self.server.url

    def tilth(self, *arguments: str | Path, **more: Any) -> Ended:
        """`tilth …` in the project's folder, logged in as the admin."""
        env = {
            "TILTH_HOME": str(self.home),
            "TILTH_SERVER_URL": self.server.url,
            "TILTH_API_KEY": self.server.token,
            **more.pop("env", {}),
        }
        return run_cli(*arguments, cwd=self.project, env=env, **more)

    def run(self, text: str, *arguments: str, name: str = "pipeline.py", **more: Any) -> Ended:
        """Write a pipeline's file and run it."""
        (self.project / name).write_text(text)
        return self.tilth("run", name, *arguments, **more)

    def user(self, name: str, role: Role | None = None) -> str:
        """A user, with a role in the project; a token of theirs."""
        access = self.server.access
        (user,) = access.store.add(User(name=name))
        if role is not None:
            access.store.add(Member(project=self.name, user=user.id, role=role))
        return access.issue(user, Purpose.SESSION, lasts=timedelta(days=1))[0]

    def end_logins(self, user: str = "admin") -> None:
        """End every login of a browser, as time would."""
        access = self.server.access
        owner = access.store.find(User, name=user, limit=1).items[0]
        tokens = access.store.find(Token, user=owner.id, limit=100).items
        access.store.write([Delete(Token, each.id) for each in tokens])


@contextlib.contextmanager
def world_at(folder: Path, **settings: Any) -> Iterator[World]:
    """A world of its own in a folder."""
    project = folder / "project"
    project.mkdir()
    (project / "tilth.toml").write_text('project = "farm"\n')
    with (
        contextlib.closing(SqliteDatabase(folder / "tilth.db")) as database,
        running_server(
            database,
            **{
                "data_folder": str(folder / "data"),
                "secrets_key_file": str(folder / "key"),
                "schedules": False,
                **settings,
            },
        ) as server,
    ):
        server.access.store.add(Space(id="farm", name="farm"))
        yield World(server, project, folder / "home")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One for all tests of a module; they make what they need and leave what others need."""
    with world_at(tmp_path_factory.mktemp("world")) as made:
        yield made


class Visitor:
    """A browser's window of somebody who is logged in. What its scripts throw, what it asks of other servers and what
    the content security policy refused fails the test."""

    def __init__(self, context: BrowserContext, page: Page, url: str) -> None:
        self.context, self.page, self.url = context, page, url
        self.wrong: list[str] = []
        ours = (url, "data:", "blob:", "about:")
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda asked: None if asked.url.startswith(ours) else self.wrong.append(asked.url))
        page.on("console", self._heard)

    def _heard(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.wrong.append(message.text)

    def go(self, path: str) -> Page:
        """Open an address of the server."""
        self.page.goto(self.url + path)
        return self.page

    def check_accessibility(self, *, leave_out: tuple[str, ...] = ()) -> None:
        """Fail when axe finds what WCAG 2.1 AA forbids on the page as it is, in light and in dark."""
        self.page.evaluate(_AXE.read_text())
        for theme in ("light", "dark"):
            self.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
            # Colours that are on their way to others are measured when they are there.
            self.page.evaluate(
                "() => Promise.all(document.getAnimations().filter(each => "
                "each.effect?.getTiming().iterations !== Infinity).map(each => each.finished))"
            )
            found = self.page.evaluate(
                "leave => axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'], "
                "rules: Object.fromEntries(leave.map(each => [each, {enabled: false}]))})",
                list(leave_out),
            )
            told = [
                f"{theme}: {each['id']}: {each['help']}\n  "
                + "\n  ".join(f"{node['target']}: {node['failureSummary']}" for node in each["nodes"][:5])
                for each in found["violations"]
            ]
            assert not told, "\n".join(told)


@pytest.fixture
def visit(
    browser: Browser, dashboard: Path, world: World, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Visitor]]:
    """`visit("/p/farm/runs")`: a window at that address, of the admin or of who has `token`."""
    opened: list[Visitor] = []

    def visit(
        path: str = "", *, token: str | None = None, width: int = 1280, height: int = 800, **more: Any
    ) -> Visitor:
        context = browser.new_context(viewport={"width": width, "height": height}, **more)
        context.set_default_timeout(60_000)
        secret = world.server.token if token is None else token
        if secret:
            context.add_cookies([{"name": COOKIE, "value": secret, "url": world.url}])
        visitor = Visitor(context, context.new_page(), world.url)
        opened.append(visitor)
        if path:
            visitor.go(path)
        return visitor

    yield visit
    for each in opened:
        each.context.close()
    assert [wrong for each in opened for wrong in each.wrong] == []
