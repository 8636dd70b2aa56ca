"""Solving what an environment asks of conda: which packages of its channels. `rattler`, pixi's library, does it."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timezone
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeVar

from tilth.environments import background
from tilth.environments.conda_packages import python_of, subdir_of
from tilth.environments.uv import without_credentials
from tilth.errors import DefinitionError, IndexUnavailable, SetupError, TilthError, Unresolvable
from tilth.records import SystemPackage

if TYPE_CHECKING:
    from collections.abc import Coroutine, Mapping, Sequence
    from pathlib import Path

    from rattler import Channel, Gateway, MatchSpec, RepoDataRecord

    from tilth.environments.interpreters import Interpreter
    from tilth.home import Home

R = TypeVar("R")
_DEFAULTS = ("https://repo.anaconda.com/pkgs/main", "https://repo.anaconda.com/pkgs/r")
_ABSENT = re.compile(r"No candidates were found for ([\w.-]+)( [^*\s][^\n]*)?")
_SHOWN = 6  # versions in an error
_TOLD = 15  # lines of the solver's reason


def solve(
    environment: Mapping[str, Any],
    *,
    root: Path,
    interpreter: Interpreter,
    home: Home,
    offline: bool = False,
    kept: Sequence[SystemPackage] = (),
) -> tuple[SystemPackage, ...]:
    """What conda installs for a declaration, sorted by name.

    Args:
        environment: Expanded, with `system`.
        interpreter: Of this machine.
        kept: Packages of an earlier solution that are taken again where they still answer.
    Raises:
        Unresolvable: With the solver's own reason.
        IndexUnavailable: A channel does not answer.
        DefinitionError: A spec cannot be read, or there is no such channel.
    """
    rattler = load()
    name = environment["name"]
    subdir = subdir_of(interpreter, name)
    specs = [_spec(each, name) for each in environment["system"]["specs"]]
    channels = _channels(environment["system"]["channels"], specs, root)
    cutoff = environment.get("exclude_newer")
    platforms = [rattler.Subdir(subdir), rattler.Subdir("noarch")]

    async def ask() -> list[RepoDataRecord]:
        gateway = _gateway(home, offline)
        try:
            found: list[RepoDataRecord] = await rattler.solve(
                channels,
                specs,
                gateway=gateway,
                platforms=platforms,
                locked_packages=[to_record(each) for each in kept],
                virtual_packages=rattler.VirtualPackage.detect(rattler.VirtualPackageOverrides.from_env()),
                # What conda itself does: a channel that comes later still gives what no earlier one can.
                channel_priority=rattler.ChannelPriority.Flexible,
                exclude_newer=_moment(cutoff) if cutoff else None,
            )
            return found
        except rattler.exceptions.SolverError as error:
            raise await _unsolved(str(error), name, gateway, channels, platforms) from error
        except rattler.exceptions.GatewayError as error:
            raise _unanswered(str(error), name, channels, offline) from error
        except rattler.exceptions.DetectVirtualPackageError as error:
            raise SetupError(
                "what this machine offers to conda's packages is unclear", why=str(error)
            ) from error

    packages = tuple(sorted(map(_of_record, run(ask())), key=lambda each: each.name))
    python_of(packages, name)
    return packages


def load() -> Any:
    """The module `rattler`.

    Raises:
        SetupError: It is not installed.
    """
    try:
        import rattler
        import rattler.exceptions
    except ImportError as error:
        raise SetupError(
            "conda's packages are installed by `py-rattler`, which is not here",
            why=str(error),
            mend="install it: `pip install 'tilth[conda]'`",
        ) from error
    return rattler


def run(work: Coroutine[Any, Any, R]) -> R:
    """Wait for what rattler does, whether or not this thread has an event loop."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    return background.in_thread(lambda: asyncio.run(work)).result()


def to_record(package: SystemPackage) -> RepoDataRecord:
    """A package of a lock in rattler's form."""
    rattler = load()
    kind, _, digest = package.digest.partition(":")
    record = rattler.PackageRecord(
        name=package.name,
        version=package.version,
        build=rattler.package.BuildString(package.build),
        build_number=package.number,
        subdir=package.subdir,
        noarch=package.noarch or None,
        depends=list(package.depends),
        size=package.size or None,
        python_site_packages_path=package.library or None,
        **({kind: bytes.fromhex(digest)} if kind in ("sha256", "md5") else {}),
    )
    channel, _, file = package.url.rpartition("/")
    return rattler.RepoDataRecord(record, file, package.url, channel.rpartition("/")[0])  # type: ignore[no-any-return]


def _of_record(record: RepoDataRecord) -> SystemPackage:
    digest = ""
    if record.sha256:
        digest = f"sha256:{record.sha256.hex()}"
    elif record.md5:
        digest = f"md5:{record.md5.hex()}"
    noarch = record.noarch
    return SystemPackage(
        name=record.name.normalized,
        version=str(record.version),
        build=str(record.build),
        subdir=record.subdir,
        url=without_credentials(record.url),
        digest=digest,
        size=record.size or 0,
        number=record.build_number,
        noarch="python" if noarch.python else "generic" if noarch.generic else "",
        depends=tuple(record.depends),
        library=record.python_site_packages_path or "",
    )


def _spec(text: str, name: str) -> MatchSpec:
    rattler = load()
    written = re.sub(r"^defaults::", f"{_DEFAULTS[0]}::", text)
    try:
        return rattler.MatchSpec(written)  # type: ignore[no-any-return]
    except rattler.exceptions.InvalidMatchSpecError as error:
        raise DefinitionError(
            f"environment `{name}` asks conda for `{text}`, which cannot be read", why=str(error)
        ) from error


def _channels(declared: Sequence[str], specs: Sequence[MatchSpec], root: Path) -> list[Channel]:
    """Where packages are looked for, most important first; a spec may name one more."""
    rattler = load()
    names: list[str] = []
    for each in declared:
        if each == "defaults":
            names += _DEFAULTS
        elif each != "nodefaults":  # there are no channels but those that are named
            names.append(each)
    config = rattler.ChannelConfig(root_dir=str(root))
    found = {each.base_url: each for each in (rattler.Channel(name, config) for name in names)}
    for spec in specs:
        if spec.channel is not None:
            found.setdefault(spec.channel.base_url, spec.channel)
    return list(found.values())


def _gateway(home: Home, offline: bool) -> Gateway:
    rattler = load()
    return rattler.Gateway(  # type: ignore[no-any-return]
        cache_dir=home.cache / "conda" / "repodata",
        default_config=rattler.SourceConfig(cache_action="force-cache-only" if offline else "cache-or-fetch"),
        client=rattler.networking.Client.default_client(),
    )


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return moment.astimezone(timezone.utc) if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


async def _unsolved(
    told: str, name: str, gateway: Gateway, channels: Sequence[Channel], platforms: Sequence[Any]
) -> TilthError:
    """The error for what has no solution, with what the channels have instead."""
    reason = told.removeprefix("Cannot solve the request because of: ").strip()
    lines = reason.splitlines()
    shown = "\n".join([*lines[:_TOLD], *(["…"] if len(lines) > _TOLD else [])])
    hint = "loosen one of the specs named above"
    absent = _ABSENT.search(reason)
    rattler = load()
    if absent:
        package = absent[1]
        try:
            known = [each.normalized for each in await gateway.names(channels, platforms)]
            if package in known:
                records = await gateway.query(channels, platforms, [package], recursive=False)
                versions = sorted({each.version for part in records for each in part}, reverse=True)
                more = ", …" if len(versions) > _SHOWN else ""
                hint = f"there is {package} {', '.join(map(str, versions[:_SHOWN]))}{more}"
            else:
                close = get_close_matches(package, known, n=1, cutoff=0.5)
                there = ", ".join(f"`{each.name or each.base_url}`" for each in channels)
                hint = (
                    f"did you mean `{close[0]}`?"
                    if close
                    else f"name the channel that has it, beside {there}"
                )
        except rattler.exceptions.GatewayError:
            pass  # the solver's own reason has to do
    return Unresolvable(f"what environment `{name}` asks of conda cannot be solved", why=shown, mend=hint)


def _unanswered(told: str, name: str, channels: Sequence[Channel], offline: bool) -> TilthError:
    reason = [re.sub(r"^(Caused by: )+", "", without_credentials(line)).strip() for line in told.splitlines()]
    why = "\n".join(dict.fromkeys(line for line in (reason[0], reason[-1]) if line))
    url = next((each.base_url for each in channels if each.base_url.rstrip("/") in told), "")
    which = f"the channel `{url}`" if url else "a channel"
    if offline and not url.startswith("file:"):
        return IndexUnavailable(
            f"environment `{name}` needs the channels of conda, and tilth is offline",
            why=why,
            mend="leave out `--offline`, or unset `TILTH_OFFLINE`",
        )
    if "could not find subdir" in told or "404" in told:
        return DefinitionError(f"there is no {which.removeprefix('the ').removeprefix('a ')} of environment `{name}`",
                               why=why, mend="check its name in `channels:`")  # fmt: skip
    return IndexUnavailable(
        f"{which} of environment `{name}` does not answer",
        why=why,
        mend="try again later; what is locked and cached runs with `TILTH_OFFLINE=1`",
    )
