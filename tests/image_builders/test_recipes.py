"""What decides whether a base is built again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tilth import Environment
from tilth.errors import DefinitionError
from tilth.home import Home
from tilth.image_builders.recipes import recipe_of
from tilth.images.bases import Base
from tilth.images.options import container_options

if TYPE_CHECKING:
    from pathlib import Path

    from tests.image_builders.conftest import Site


def base(digest: str = "1", **config: Any) -> Base:
    return Base(
        reference="python:3.12-slim", source="registry:docker.io/library/python", digest=f"sha256:{digest * 64}",
        identity=f"sha256:{digest * 64}",
        os="linux", architecture="amd64", layers=(), config=config, python="", version="", libc="",
    )  # fmt: skip


def test_an_environment_of_python_packages_alone_needs_nothing_built(tmp_path: Path) -> None:
    options = container_options(Environment("x", requirements=["a"], base_image="python:3.12").to_json())
    assert recipe_of("x", options, root=tmp_path, base=base(), home=Home(tmp_path)) is None


def test_python_packages_and_order_do_not_matter_to_the_key(site: Site) -> None:
    one = site.recipe(base(), system_packages=["git", "curl"], requirements=["a"])
    other = site.recipe(base(), system_packages=["curl", "git", "git"], variables={"A": "1"}, user="1000")
    assert one.key == other.key
    assert one.tag == f"tilth-base-{one.key[:20]}"


def test_everything_that_changes_the_result_changes_the_key(site: Site) -> None:
    (site.root / "a").write_text("1")
    recipes = [
        site.recipe(base(), system_packages=["git"]),
        site.recipe(base("2"), system_packages=["git"]),
        site.recipe(base(), system_packages=["git", "curl"]),
        site.recipe(base(User="app"), system_packages=["git"]),
        site.dockerfile("FROM a\n"),
        site.dockerfile("FROM a\n", build_args={"A": "1"}),
        site.dockerfile("FROM a AS x\n", build_target="x"),
        site.dockerfile("FROM a\n", build_secrets=["token"]),
        site.dockerfile("FROM a\n", platform="linux/arm64"),
        site.dockerfile("FROM a\n", system_packages=["git"]),
        site.dockerfile("FROM b\n"),
        site.dockerfile("FROM a\nCOPY a /a\n"),
    ]
    (site.root / "a").write_text("2")
    recipes.append(site.dockerfile("FROM a\nCOPY a /a\n"))
    assert len({each.key for each in recipes}) == len(recipes)


def test_the_name_of_a_secret_and_of_the_environment_do_not_matter(site: Site) -> None:
    one = site.dockerfile("FROM a\n", build_secrets={"id": "one"})
    other = site.dockerfile("FROM a\n", build_secrets={"id": "other"})
    assert one.key == other.key


def test_what_is_built_can_be_looked_at(site: Site) -> None:
    told = site.recipe(base(User="app"), system_packages=["libgomp1", "git=1:2.*"]).shown()
    assert told.startswith("FROM python:3.12-slim\nUSER 0\nRUN ")
    assert "apt-get install --yes --no-install-recommends 'git=1:2.*' libgomp1;" in told
    assert told.endswith("USER app\n")
    both = site.dockerfile("FROM a", system_packages=["git"]).shown()
    assert both.startswith("FROM a\n")
    assert "apt-get" in both


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dockerfile": "nowhere/Dockerfile"}, "cannot be read"),
        ({"dockerfile": "Dockerfile", "build_context": "nowhere"}, "is no folder"),
        ({"dockerfile": "bytes"}, "not UTF-8"),
        ({"dockerfile": "empty"}, "is empty"),
    ],
)
def test_a_dockerfile_or_context_that_is_not_there_is_named(
    site: Site, options: dict[str, str], told: str
) -> None:
    (site.root / "Dockerfile").write_text("FROM a\n")
    (site.root / "empty").write_text("\n")
    (site.root / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DefinitionError) as caught:
        site.recipe(**options)
    assert told in str(caught.value)


def test_the_digest_behind_a_from_is_in_the_key_and_built_on(site: Site) -> None:
    (site.root / "Dockerfile").write_text("FROM a:1\nRUN true\n")
    options = container_options(Environment("x", dockerfile="Dockerfile").to_json())

    def recipe(now: str) -> Any:
        found = recipe_of("x", options, root=site.root, base=None, home=site.home, resolve=lambda _: now)
        assert found is not None
        return found

    one, other = (recipe(f"docker.io/library/a@sha256:{digit * 64}") for digit in "12")
    assert one.key != other.key
    assert one.asked == other.asked
    assert one.pinned == f"FROM docker.io/library/a@sha256:{'1' * 64}\nRUN true\n"
    assert one.dockerfile == "FROM a:1\nRUN true\n"
    # From another registry it is the same image; one of an engine is named as it was.
    assert recipe(f"mirror.example/a@sha256:{'1' * 64}").key == one.key
    assert recipe(f"sha256:{'3' * 64}").pinned == one.dockerfile
