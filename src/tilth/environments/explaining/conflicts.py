"""Why requirements cannot be met, in two or three lines, from the proof that uv gives.

uv proves that there is no solution: each sentence draws a conclusion from what packages ask for, what is asked
for, and which versions there are. The facts alone tell who wants what. Where two of them exclude each other, or one
asks for what does not exist, that is the reason, and it is told; else there is none here, and uv's own words stand.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from tilth.environments.names import normalised

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from packaging.specifiers import SpecifierSet

    from tilth.environments.explaining.origins import Declared

_REQUIRED = re.compile(r"you require (?P<what>.+)")
_DEPENDS = re.compile(r"(?:all versions of )?(?P<who>\S+) depends? on (?P<what>.+)")
_AVAILABLE = re.compile(
    r"only (?:(?P<what>\S+) is available|the following versions of \S+ are available: (?P<all>.+))"
)
_NO_VERSION = re.compile(r"there (?:is no version|are no versions) of (?P<what>\S+)")
_NOT_FOUND = re.compile(r"(?P<what>\S+) was not found in .+")
_YANKED = re.compile(r"(?P<what>\S+) was yanked(?: \(reason: (?P<reason>\d+)\))?")
_REASON = re.compile(r"\(reason: (.*?)\)(?= and |, |$)")  # what the index says: any words at all
_SENTENCE = re.compile(r"(?:^|And b|B)ecause (.+?),? we can conclude that")
_PARTS = re.compile(r",? and |, ")
_LONGEST = 6  # of the chain from a declared requirement to the one that fails


class Story(NamedTuple):
    """Why there is no solution, and what to do."""

    why: list[str]
    mend: str


class _Want(NamedTuple):
    """Who wants what."""

    who: str  # package that asks; empty for the declaration
    name: str
    versions: SpecifierSet
    text: str  # as uv wrote it


class _Proof:
    """The facts in uv's words."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.wants: list[_Want] = []
        self.available: dict[str, list[str]] = {}  # name -> `beta<=2.0`, …
        self.absent: dict[str, str] = {}  # name -> `beta==1.5`; of a package that is nowhere, its name
        self.yanked: dict[str, tuple[str, str]] = {}  # name -> (`beta==1.0`, reason)
        self.understood = True
        self._reasons: list[str] = []
        text = _REASON.sub(self._put_aside, " ".join(line.strip() for line in lines))
        for sentence in _SENTENCE.findall(text):
            self._read(sentence)

    def _put_aside(self, match: re.Match[str]) -> str:
        self._reasons.append(match[1])
        return f"(reason: {len(self._reasons) - 1})"

    def _read(self, sentence: str) -> None:
        who: str | None = None  # wants what is listed; None where that is over
        for part in _PARTS.split(sentence):
            required, depends = _REQUIRED.fullmatch(part), _DEPENDS.fullmatch(part)
            available, yanked = _AVAILABLE.fullmatch(part), _YANKED.fullmatch(part)
            absent = _NO_VERSION.fullmatch(part) or _NOT_FOUND.fullmatch(part)
            if required:
                who = ""
                self._want(who, required["what"])
            elif depends:
                who = _name(depends["who"])
                self._want(who, depends["what"])
            elif available:
                who = None
                ranges = (available["what"] or available["all"]).split()
                self.available[_name(ranges[0])] = ranges
            elif absent:
                who = None
                self.absent[_name(absent["what"])] = absent["what"]
            elif yanked:
                who = None
                reason = self._reasons[int(yanked["reason"])] if yanked["reason"] else ""
                self.yanked[_name(yanked["what"])] = yanked["what"], reason
            elif who is not None and " " not in part:
                self._want(who, part)
            else:
                self.understood = False

    def _want(self, who: str, text: str) -> None:
        from packaging.requirements import InvalidRequirement, Requirement

        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            self.understood = False
            return
        want = _Want(who, normalised(requirement.name), requirement.specifier, text)
        if want not in self.wants:
            self.wants.append(want)


def tell(lines: Sequence[str], declared: Sequence[Declared], own: Collection[str] = ()) -> Story | None:
    """The reason in few lines; None where it cannot be had for certain.

    Args:
        lines: The proof.
        own: Names of projects that the declaration is written in: what they ask for is declared.
    """
    proof = _Proof(lines)
    if not proof.understood:
        return None
    limits = {(each.name, each.versions) for each in declared if each.limits}
    # A constraint is told as if a package that needs the one it limits had asked for it.
    wants = (
        each._replace(who="") if each.who in own or (each.name, each.versions) in limits else each
        for each in proof.wants
    )
    proof.wants = list(dict.fromkeys(each for each in wants if each.name not in own))
    for judge in (_yanked, _absent, _not_there, _excluding):
        story = judge(proof, declared)
        if story is not None:
            return story
    return None


def _yanked(proof: _Proof, declared: Sequence[Declared]) -> Story | None:
    for name, (version, reason) in proof.yanked.items():
        want = _only(name, proof)
        if want is not None:
            number = version.partition("==")[2]
            why = [
                f"`{name}` {number} was yanked" + (f": {reason}" if reason else ""),
                f"no other version answers `{want.text}`",
                _sentence(want, proof, declared),
            ]
            return Story(why, f"ask for another version; `{name}=={number}` takes it all the same")
    return None


def _absent(proof: _Proof, declared: Sequence[Declared]) -> Story | None:
    for name, what in proof.absent.items():
        want = _only(name, proof)
        if want is not None:
            if what == name:
                return Story([f"no index has a package `{name}`", _sentence(want, proof, declared)], "")
            mend = f"ask for another version of `{name}`, or name the index that has it"
            return Story([f"there is no `{what}`", _sentence(want, proof, declared)], mend)
    return None


def _not_there(proof: _Proof, declared: Sequence[Declared]) -> Story | None:
    if len(proof.available) != 1:
        return None
    ((name, there),) = proof.available.items()
    want = _only(name, proof)
    if want is None or not all(_disjoint(want.versions, _versions(each)) for each in there):
        return None
    listed = ", ".join(f"`{each}`" for each in there)
    why = [
        f"no version of `{name}` answers `{want.text}`: there is only {listed}",
        _sentence(want, proof, declared),
    ]
    return Story(why, f"ask for another version of `{name}`, or name the index that has it")


def _only(name: str, proof: _Proof) -> _Want | None:
    """The one that wants a package; None when there are several."""
    wants = [each for each in proof.wants if each.name == name]
    return wants[0] if len(wants) == 1 else None


def _excluding(proof: _Proof, declared: Sequence[Declared]) -> Story | None:
    if proof.available or proof.yanked or proof.absent:
        return None
    pairs = [
        (one, other)
        for i, one in enumerate(proof.wants)
        for other in proof.wants[i + 1 :]
        if one.name == other.name and _disjoint(one.versions, other.versions)
    ]
    if len(pairs) != 1:
        return None
    one, other = pairs[0]
    first, second = _sentence(one, proof, declared), _sentence(other, proof, declared)
    return Story([first, second, f"no version of `{one.name}` is both"], _loosen(one, other, declared))


def _loosen(one: _Want, other: _Want, declared: Sequence[Declared]) -> str:
    own = [each for each in (one, other) if not each.who and _origin(each, declared) is not None]
    if len(own) == 2:
        return "remove or loosen one of the two"
    if own:
        whose = one.who or other.who
        return f"loosen `{own[0].text}`, or ask for another version of `{whose}`"
    return f"ask for another version of `{one.who}` or of `{other.who}`"


def _sentence(want: _Want, proof: _Proof, declared: Sequence[Declared]) -> str:
    """``alpha==2.0` (`requirements.txt`, line 1) asks for `beta>=2`": from the declaration to the want."""
    chain = [want]
    while chain[0].who and len(chain) <= _LONGEST:
        seen = {each.name for each in chain}
        above = [each for each in proof.wants if each.name == chain[0].who and each.who not in seen]
        # What is declared tells more than another way to it.
        above.sort(key=lambda each: bool(each.who))
        if not above:
            break
        chain.insert(0, above[0])
    texts = [f"`{each.text}`" for each in chain]
    origin = None if chain[0].who else _origin(chain[0], declared)
    if chain[0].who:
        texts.insert(0, f"`{chain[0].who}`")
    elif origin is not None and len(chain) == 1:
        return f"`{origin.text}` is declared in {origin.where}"
    elif origin is not None:
        texts[0] = f"`{origin.text}` ({origin.where})"
    if len(texts) == 1:
        return f"{texts[0]} is declared"
    return f"{texts[0]} asks for " + ", which asks for ".join(texts[1:])


def _origin(want: _Want, declared: Sequence[Declared]) -> Declared | None:
    named = [each for each in declared if each.name == want.name]
    same = [each for each in named if each.versions == want.versions]
    if same:
        return same[0]
    return named[0] if len(named) == 1 else None


def _name(text: str) -> str:
    match = re.match(r"[A-Za-z0-9][A-Za-z0-9._-]*?(?=[\[=<>!~@;,]|$)", text)
    return normalised(match[0]) if match else ""


def _versions(text: str) -> SpecifierSet:
    from packaging.requirements import Requirement

    return Requirement(text).specifier


def _disjoint(one: SpecifierSet, other: SpecifierSet) -> bool:
    """Whether no version is in both. Certain where it says so: looks at each bound, and just beside it."""
    from packaging.specifiers import SpecifierSet

    both = SpecifierSet(",".join(str(each) for each in (*one, *other)))
    if not list(one) or not list(other) or any(each.operator in ("===", "!=") for each in both):
        return False
    return not any(both.contains(each, prereleases=True) for each in _around(both))


def _around(versions: SpecifierSet) -> Iterator[str]:
    from packaging.version import Version

    for each in versions:
        text = each.version.removesuffix(".*")
        bound = Version(text)
        release = ".".join(map(str, bound.release))
        yield from (text, f"{bound.public}.post0" if not bound.is_devrelease else text, f"{release}.dev0")
        yield from (f"{release}a0", f"{release}.0.1", f"{release}.1", f"{release}.post1")
        head, last = bound.release[:-1], bound.release[-1]
        yield ".".join(map(str, (*head, last + 1)))
        if last:
            yield ".".join(map(str, (*head, last - 1, 999999)))
    yield from ("0.dev0", "999999")
