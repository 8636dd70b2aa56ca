"""Builds on a runner of the tilth server that this machine is logged in at: it is asked for one through the server."""

from __future__ import annotations

import atexit
import contextlib
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import msgspec

from tilth.errors import EngineUnavailable, SetupError, TilthError, nearest
from tilth.image_builders.relay import BESIDE, ENDED, INPUT, BuildKey, Sender, received
from tilth.image_builders.remote import RemoteBuilder, findings
from tilth.image_builders.sessions import Place, ended_early
from tilth.records.launching import BuildOrder, LaunchState
from tilth.stack.flavors import Finding, Flavor
from tilth.store.http import Api, in_project
from tilth.store.logins import active_server
from tilth.store.opening import current_project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tilth.image_builders.relay import Seal
    from tilth.stack.flavors import Context

_ALONE_S = 10.0  # that a runner which builds is waited for
_TOLD_EVERY_S = 60.0  # that one is waited for which is busy
_LOOK_S = 0.3
_PATIENCE_S = 45.0  # with a server that does not answer; a runner that hears nothing waits a little longer
_WAIT_S = 10.0  # of one request for what comes
_LEAVE_S = 3.0


class RunnerBuilderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the image builder `runner`.

    Attributes:
        runner: Name of the one to build on; by default any that builds images for the project.
        engine: What runs commands there.
        program: The engine's command line there; by default the one that is on `PATH`.
        network: That commands of a build see: `host`, `none`; by default the engine's.
        isolation: Of Podman and Buildah there: `chroot` where no container can be started.
    """

    runner: str = ""
    engine: Literal["docker", "podman"] = "docker"
    program: str = ""
    network: str = ""
    isolation: Literal["", "oci", "rootless", "chroot"] = ""


class RunnerBuilder(RemoteBuilder[RunnerBuilderSettings]):
    """Builds on a runner."""

    name = "runner"

    def __init__(self, settings: RunnerBuilderSettings, url: str, token: str, project: str) -> None:
        super().__init__(settings, Place())
        self._url, self._token, self._project = url, token, project

    @property
    def place(self) -> str:
        """Where it builds, for people."""
        name = self.settings.runner
        return f"runner `{name}` of {self._url}" if name else f"a runner of {self._url}"

    def connect(self, tell: Callable[[str], None]) -> RunnerConnection:
        """Order a build, and wait until a runner has begun with it."""
        api = Api(self._url, self._token, patience_s=_PATIENCE_S)
        return RunnerConnection(api, self._project, self.settings.runner, tell)


class RunnerConnection:
    """A `Connection`: through the server.

    Args:
        runner: Name; empty for any.
        tell: Is told what is waited for.
    """

    flavor = "runner"

    def __init__(self, api: Api, project: str, runner: str, tell: Callable[[str], None]) -> None:
        self._api = api
        self._path = f"/projects/{quote(project, safe='')}/build-orders"
        self._said: deque[str] = deque([""], maxlen=200)  # beside the frames, in lines; the last may go on
        self._code: int | None = None
        self._left = b""
        self._closed = False
        self._failure: TilthError | None = None  # to send
        key = BuildKey()
        asked = msgspec.json.encode({"key": key.public, "runner": runner})
        answer = in_project(api, project, lambda: api.request("POST", self._path, asked))
        self._path += f"/{quote(msgspec.json.decode(answer, type=BuildOrder).id)}"
        # The threads of a process that was interrupted get no word of it.
        atexit.register(self.close, done=False)
        try:
            order = self._begun(runner, tell)
        except BaseException:
            self.close(done=False)
            raise
        self.place = order.runner_name
        there, back = key.agree(order.runner_key, order.id)
        self._sender = Sender(there, self._put)
        self._parts = self._received(back)

    def write(self, content: bytes) -> None:
        """Send something."""
        self._sender.write(INPUT, content)

    def read(self, size: int, /) -> bytes:
        """What comes."""
        found, amount = [self._left], len(self._left)
        while amount < size and (part := next(self._parts, b"")):
            found.append(part)
            amount += len(part)
        whole = b"".join(found)
        self._left = whole[size:]
        return whole[:size]

    def lost(self, *, landed: bool) -> TilthError:  # noqa: ARG002 - a runner has begun
        """Why nothing more comes."""
        said = [line for line in self._said if line]
        if self._code is not None:
            return ended_early(self.place, self._code, said)
        order, _ = self._look()
        why = order.failure.message if order.failure else "it was ended"
        return EngineUnavailable(
            f"the build on runner `{self.place}` broke off, where the image builder `runner` builds",
            why="\n".join([why, *said[-8:]]),
            mend="start again: what was made there is kept",
        )

    def close(self, *, done: bool) -> None:
        """Wait for nothing more: what is not done there ends."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self.close)
        if hasattr(self, "_sender"):
            self._sender.stop()
        with contextlib.suppress(TilthError):  # the runner hears nothing any more, and ends it
            told = msgspec.json.encode({"done": done})
            self._api.request("POST", f"{self._path}/close", told, patience_s=_LEAVE_S)
        self._api.close()

    def _begun(self, runner: str, tell: Callable[[str], None]) -> BuildOrder:
        """The order, once a runner has begun with it.

        Raises:
            EngineUnavailable: None is there that could.
        """
        there_at = time.monotonic()  # one was, or might still have come
        tell_at = there_at + _ALONE_S
        while True:
            order, takers = self._look()
            if order.state is LaunchState.STARTED:
                return order
            if order.state.is_final:
                raise EngineUnavailable(
                    "no runner has begun with the build",
                    why=order.failure.message if order.failure else order.state.value,
                    mend="start again",
                )
            moment = time.monotonic()
            if runner in takers if runner else takers:
                there_at = moment
            if moment - there_at > _ALONE_S:
                raise _no_taker(self._api.url, runner, takers)
            if moment > tell_at and there_at == moment:
                names = ", ".join(f"`{each}`" for each in ([runner] if runner else takers))
                tell(f"waits for a runner that has room for a build: {names}")
                tell_at = moment + _TOLD_EVERY_S
            time.sleep(_LOOK_S)

    def _look(self) -> tuple[BuildOrder, list[str]]:
        told = msgspec.json.decode(self._api.request("GET", self._path), type=dict[str, Any])
        return msgspec.convert(told["order"], BuildOrder), told["takers"]

    def _put(self, offset: int, content: bytes) -> int:
        headers = {"Content-Type": "application/octet-stream"}
        try:
            answer = self._api.request("PUT", f"{self._path}/in?offset={offset}", content, headers=headers)
        except TilthError as error:
            self._failure = error  # whoever reads is told, unless the build is over
            raise
        have: int = msgspec.json.decode(answer)["have"]
        return have

    def _get(self, offset: int) -> bytes | None:
        answer = self._api.send("GET", f"{self._path}/out?offset={offset}&wait_s={_WAIT_S}")
        if answer.status_code == 204:
            return None
        if self._failure is not None and not answer.content:
            raise self._failure
        return answer.content

    def _received(self, seal: Seal) -> Iterator[bytes]:
        for kind, content in received(seal, self._get):
            if kind == ENDED:
                self._code = int(content)
                return
            if kind == BESIDE:
                *lines, rest = (self._said.pop() + content.decode(errors="replace")).split("\n")
                self._said.extend([*lines, rest[-1000:]])
            else:
                yield content


def _no_taker(url: str, runner: str, takers: Sequence[str]) -> EngineUnavailable:
    if runner and takers:
        return EngineUnavailable(
            f"runner `{runner}`, where the image builder `runner` builds, takes no builds",
            why=f"on {url} these do: {', '.join(f'`{each}`' for each in takers)}",
            mend=nearest(
                runner, takers, "name one of them with the setting `runner`, or leave it out for any"
            ),
        )
    return EngineUnavailable(
        f"runner `{runner}`, where the image builder `runner` builds, is not there"
        if runner
        else f"no runner of {url} takes builds, which the image builder `runner` needs",
        why=f"{_ALONE_S:.0f} seconds were waited for one; `tilth runner list` says which are there, and which build",
        mend="start one where images may be built: `tilth runner start --builds`",
    )


class RunnerFlavor(Flavor[RunnerBuilderSettings]):
    """The flavor `runner`."""

    type = "image_builder"
    name = "runner"
    title = "a runner of the server that this machine is logged in at: whole images, or what an engine there builds"
    settings = RunnerBuilderSettings

    def make(self, settings: RunnerBuilderSettings, context: Context) -> RunnerBuilder:
        """The builder; nothing is ordered yet."""
        server = active_server(context.home)
        if server is None:
            raise SetupError(
                "the image builder `runner` needs a server, whose runners build",
                why="this machine is logged in at none",
                mend="log in with `tilth login URL`, or name another image builder",
            )
        return RunnerBuilder(settings, server.url, server.token, current_project(context.root))

    def check(self, settings: RunnerBuilderSettings, context: Context) -> Sequence[Finding]:
        """Whether a runner takes builds, and what it can build; makes tilth's environment there."""
        builder = self.make(settings, context)
        return findings(builder, f"{builder.place} takes builds, and runs tilth")
