"""`tilth build`, and `tilth builds`: list, show, verify."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tilth.cli.run import checked_target, given_parameters
from tilth.cli.usage import Misuse, group, json_option

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tilth.client.images import BuildOptions
    from tilth.images.referrers import Attached
    from tilth.records import Build
    from tilth.store import Store


@click.command()
@click.argument("target", metavar="FILE[:PIPELINE]", required=False)
@click.option("--supervisor", is_flag=True, help="Build the image of the stack's supervisor instead.")
@click.option("--server", is_flag=True, help="Build the image of a server instead.")
@click.option("--param", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the pipeline; may be repeated.")  # fmt: skip  # noqa: E501
@click.option(
    "--only", "names", multiple=True, metavar="NAME", help="Only this environment; may be repeated."
)
@click.option(
    "--registry", metavar="URI", help="Where to push to, as `HOST[/PREFIX]`; by default the stack's."
)
@click.option("--output", metavar="PATH", help="Write an OCI layout: a folder, or a `.tar` file.")
@click.option("--load", "engine", type=click.Choice(["docker", "podman", "containerd"]), help="Load into a container engine.")  # fmt: skip  # noqa: E501
@click.option("--builder", metavar="NAME", help="The image builder; by default the stack's.")
@click.option(
    "--platform",
    metavar="PLATFORM",
    help="As `linux/arm64`; by default the environment's, else this machine's.",
)
@click.option(
    "--sign", metavar="KEY", help="Sign what is in the registry: a private key's path, or `secret:NAME`."
)
@click.option("--stack", metavar="NAME", help="The stack; by default the active one.")
@click.option("--python", metavar="PATH", help="The project's interpreter.")
@click.option(
    "--plan", "only_plan", is_flag=True, help="Tell what would be built, and why, and build nothing."
)
@click.option(
    "--refresh",
    is_flag=True,
    help="Build anew what is below the Python packages: newer system packages, a moved `FROM`.",
)
@click.option(
    "--show-dockerfile", is_flag=True, help="Show what an image builder is given, and build nothing."
)
@click.option("--offline", is_flag=True, help="Ask no package index.")
@json_option
@click.option("--traceback", is_flag=True, expose_value=False, help="Show where an error comes from.")
def build(
    *,
    target: str | None,
    supervisor: bool,
    server: bool,
    parameters: Sequence[str],
    names: Sequence[str],
    only_plan: bool,
    show_dockerfile: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Build the images of a pipeline's environments, without running it.

    One image for each distinct environment. What is there already is reused; what is missing is made from the
    lock without a container engine, and pushed to the stack's container registry, or where `--registry` says.
    Each image is printed by its digest.
    """
    asked = [
        name
        for name, told in (("a pipeline", target), ("`--supervisor`", supervisor), ("`--server`", server))
        if told
    ]
    if len(asked) != 1:
        raise Misuse(
            f"{' and '.join(reversed(asked))} exclude each other" if asked else "what to build is missing",
            mend="name the file of a pipeline: `tilth build FILE`",
        )
    given = given_parameters(parameters)
    for other, name in (("output", "`--output`"), ("engine", "`--load`")):
        if options["registry"] and options[other]:
            raise Misuse(f"`--registry` and {name} exclude each other", mend="build once for each")
    if options["sign"] and (options["output"] or options["engine"]):
        raise Misuse("`--sign` is for images in a registry", mend="leave `--output` and `--load` out")
    if show_dockerfile and target is None:
        raise Misuse("`--show-dockerfile` is for pipelines", mend="name the file of one")
    if only_plan and target is None:
        raise Misuse("`--plan` is for pipelines", mend="name the file of one")
    compiling = None
    if target is not None and not show_dockerfile:
        # Begun before the rest is imported, which takes about as long.
        from tilth.client.compilation import begin_compiling
        from tilth.home import Home
        from tilth.settings import home_folder, setting

        python = options["python"] or setting("python") or None
        compiling = begin_compiling(checked_target(target), given, home=Home(home_folder()), python=python)
    from tilth.client.images import BuildOptions, build_images, build_server, build_supervisor, plan_builds

    wanted = BuildOptions(names=tuple(names), **options)
    if target is not None and show_dockerfile:
        dockerfiles(checked_target(target), given, wanted, as_json=as_json)
        return
    if compiling is not None and only_plan:
        planned = plan_builds(compiling, wanted)
        if as_json:
            from tilth.cli.tables import to_json

            click.echo(to_json(planned))
        else:
            _show_plan(planned)
        return

    def tell(text: str) -> None:
        click.echo(text, err=True)

    if compiling is not None:
        built = build_images(compiling, wanted, tell=tell)
    elif server:
        from tilth.server.settings import ServerSettings

        built = build_server(ServerSettings.from_environment().packages.split(), wanted, tell=tell)
    else:
        built = build_supervisor(wanted, tell=tell)
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(built))
        return
    for each in built:
        for warning in each.warnings:
            click.echo(f"warning: {warning}", err=True)
        click.echo(f"{each.name}  {' '.join(each.references) or each.image}")


def dockerfiles(target: str, parameters: Mapping[str, str], options: BuildOptions, *, as_json: bool) -> None:
    """Print what an image builder is given for each environment that needs one."""
    from tilth.client.images import show_dockerfiles

    shown = show_dockerfiles(target, parameters, options)
    if as_json:
        from tilth.cli.tables import to_json

        click.echo(to_json(shown))
        return
    if not shown:
        click.echo(
            "no environment asks for system packages or a Dockerfile: no builder is given one", err=True
        )
    click.echo("\n".join(f"# environment `{name}`\n{text}" for name, text in shown.items()), nl=False)


def _show_plan(planned: Sequence[Any]) -> None:
    from tilth.cli.tables import table
    from tilth.client.wording import short_digest

    if not planned:
        click.echo("there is nothing to build: its environments are ready images", err=True)
        return
    rows = [
        {
            "environments": ", ".join(each["environments"]),
            "plan": each["plan"],
            "why": each["why"],
            "base": each["base"],
            "image": short_digest(each["image"]) if each["image"] else "",
        }
        for each in planned
    ]
    click.echo(table(["environments", "plan", "why", "base", "image"], rows))


@group("builds")
def builds() -> None:
    """Look at images that were built."""


@builds.command("list")
@click.option("--environment", "name", metavar="NAME", help="Only of environments of this name.")
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="How many at most.")
@json_option
def list_builds(*, name: str | None, limit: int, as_json: bool) -> None:
    """List builds, the newest first."""
    from tilth.cli.home import records
    from tilth.cli.tables import table, to_json
    from tilth.client.wording import moment, short_digest
    from tilth.records import Build, State

    with records() as store:
        page = store.find(Build, limit=limit, **({"name": name} if name else {}))
    if as_json:
        click.echo(to_json(page.items))
        return
    if not page.items:
        click.echo("no builds; `tilth build FILE` makes one", err=True)
        return
    rows = [
        {
            "build": each.id[-12:],
            "environment": each.name,
            "state": "found"
            if each.found
            else "built"
            if each.state is State.COMPLETED
            else each.state.value,
            "image": short_digest(each.image) if each.image else "",
            "layers": str(len(each.layers) or ""),
            "made": _size(each.bytes_made),
            "sent": _size(each.bytes_sent),
            "took": _took(each),
            "at": moment(each.created_at),
        }
        for each in page.items
    ]
    click.echo(
        table(["build", "environment", "state", "image", "layers", "made", "sent", "took", "at"], rows)
    )


@builds.command("verify")
@click.argument("reference", metavar="REFERENCE")
@click.option("--key", required=True, metavar="KEY", help="A public key: its path, or `secret:NAME`.")
@click.option("--stack", metavar="NAME", help="The stack whose login is used; by default the active one.")
def verify(*, reference: str, key: str, stack: str | None) -> None:
    """Check that an image in a registry is signed by a key, as `cosign verify --key` does.

    REFERENCE is what `tilth build` prints. Fails where the image has no signature, or none of that key.
    """
    from tilth.cli.component import code_root
    from tilth.cli.home import records
    from tilth.client.images import project_registries
    from tilth.client.signatures import verify as verify_image
    from tilth.home import Home
    from tilth.settings import home_folder

    home = Home(home_folder())
    with records() as store:
        registries = project_registries(code_root(), home, store, stack)
        digest, name = verify_image(reference, key, registries, home)
    click.echo(f"{digest}  signed as {name}")


@builds.command("show")
@click.argument("name", metavar="BUILD")
@click.option("--attached", "with_attached", is_flag=True, help="Ask its registry for SBOM, lock and record.")
@json_option
def show(*, name: str, with_attached: bool, as_json: bool) -> None:
    """Show one build: its image, layers, and where time and bytes went.

    BUILD is what `tilth builds list` calls it, a digest of the image or its beginning, or the name of an
    environment, for the newest.
    """
    from tilth.cli.home import records
    from tilth.cli.tables import pairs, table, to_json
    from tilth.client.images import find_build, users_of
    from tilth.client.wording import short_digest

    with records() as store:
        found = find_build(name, store)
        users = users_of(found, store)
        attached = _attached(found, store) if with_attached else []
    if as_json:
        click.echo(to_json(found))
        return
    facts = {
        "id": found.id,
        "state": "found in the registry, where somebody else had pushed it"
        if found.found
        else found.state.value,
        "image": found.image,
        "references": "\n".join(found.references),
        "environment": f"{found.name} {short_digest(found.environment)}",
        "base": f"{found.base} {short_digest(found.base_digest)}",
        "platform": found.platform,
        "builder": found.builder or "this machine, without an engine",
        "made": _size(found.bytes_made),
        "sent": _size(found.bytes_sent),
        "reused": _size(found.bytes_reused),
        "seconds": ", ".join(f"{phase} {amount:g}" for phase, amount in found.seconds.items()),
        "used by": ", ".join(users),
        "log": found.log,
        "warnings": "\n".join(found.warnings),
        "failure": "\n".join(filter(None, (found.failure.message, found.failure.mend)))
        if found.failure
        else "",
    }
    click.echo(f"build {found.id[-12:]}")
    click.echo(pairs({name: value for name, value in facts.items() if value}))
    if found.layers:
        rows = [
            {
                "layer": each.title,
                "size": _size(each.size),
                "digest": short_digest(each.digest),
                "": "made" if each.made else "",
            }
            for each in found.layers
        ]
        click.echo("")
        click.echo(table(["layer", "size", "digest", ""], rows, indent=2))

    if with_attached:
        click.echo("")
        if not attached:
            click.echo("nothing is attached to it in a registry", err=True)
            return
        documents = [
            {
                "document": each.name,
                "type": each.artifact_type,
                "size": _size(each.size),
                "digest": each.digest,
            }
            for each in attached
        ]
        click.echo(table(["document", "type", "size", "digest"], documents, indent=2))


def _attached(found: Build, store: Store) -> list[Attached]:
    from tilth.cli.component import code_root
    from tilth.client.images import attached_to, project_registries
    from tilth.home import Home
    from tilth.settings import home_folder

    registries = project_registries(code_root(), Home(home_folder()), store, None)
    return attached_to(found, registries)


def _size(amount: int) -> str:
    from tilth.client.wording import size

    return size(amount) if amount else ""


def _took(each: Build) -> str:
    from tilth.client.wording import duration

    return duration(sum(each.seconds.values())) if each.seconds else ""
