"""`hallo models`: lists, shows, fetches, checks and converts weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import typer

from hallo_cli.bundles import hub
from hallo_cli.bundles.bundle import Bundle, find_bundle, list_bundles, models_dir, named_folder, read_bundle
from hallo_cli.bundles.hub import PullPlan
from hallo_cli.bundles.trees import TREES, licences
from hallo_cli.cli.console import answer, say
from hallo_cli.cli.dtypes import Dtype, torch_dtype
from hallo_cli.cli.options import AS_JSON, Application, argument, option
from hallo_cli.errors import WeightsError
from hallo_cli.store.cache import at_home

SCHEMA = 1
app = Application(
    help="""List, show, fetch, check and convert weights.

Example:
    hallo models pull
    hallo render portrait.jpg speech.wav --bundle official
"""
)

BUNDLE = argument(..., "A bundle's name, or its folder.", metavar="BUNDLE")


@app.command("list")
def list_command(as_json: bool = AS_JSON) -> None:
    """List the installed bundles of weights.

    Example:
        hallo models list
    """
    rows = []
    for name, path in list_bundles():
        try:
            bundle = read_bundle(path)
            rows.append({"name": name, "is_usable": True, **_summary(bundle)})
        except WeightsError as error:
            rows.append({"name": name, "is_usable": False, "path": str(path), "problem": str(error)})
    if as_json:
        _print_json({"models_dir": str(models_dir()), "bundles": rows})
        return
    for row in rows:
        if row["is_usable"]:
            size = _size(row["n_bytes"])
            answer(f"{row['name']}  {row['version']}  {size}  {row['image_size']} px  {row['path']}")
        else:
            answer(f"{row['name']}  unusable: {row['problem']}")
    if "official" not in [row["name"] for row in rows]:
        say("The published weights are not installed. Fetch them: hallo models pull")


@app.command()
def show(bundle: str = BUNDLE, as_json: bool = AS_JSON) -> None:
    """Show the networks, defaults, files and licence of a bundle.

    Example:
        hallo models show official
    """
    import dataclasses

    found = find_bundle(bundle)
    manifest = found.manifest
    details = {
        **_summary(found),
        "description": manifest.description,
        "made_with": manifest.made_with,
        "needs_identity": manifest.needs_identity,
        "speech": manifest.speech.kind,
        "sampling": dataclasses.asdict(manifest.sampling),
        "geometry": dataclasses.asdict(manifest.geometry),
        "networks": manifest.networks.to_dict(),
        "files": {role: dataclasses.asdict(listed) for role, listed in manifest.files.items()},
    }
    if as_json:
        _print_json(details)
        return
    for name, value in details.items():
        if isinstance(value, dict):
            answer(f"{name}:")
            for key, item in value.items():
                answer(f"  {key}: {_plain(item)}")
        else:
            answer(f"{name}: {_plain(value)}")


@app.command()
def verify(bundle: str = BUNDLE, as_json: bool = AS_JSON) -> None:
    """Check every file of a bundle.

    Example:
        hallo models verify official

    Every file must be complete and unchanged and fit the networks. Exit status: 5 if one does not.
    """
    from hallo_cli.bundles.networks import check_bundle_fits

    found = find_bundle(bundle)
    checks = {role: _problem(found.verified, role) for role in found.manifest.files}
    checks["fit"] = _problem(check_bundle_fits, found)
    problems = [problem for problem in checks.values() if problem]
    if as_json:
        _print_json({**_summary(found), "checks": checks, "is_whole": not problems})
    else:
        for role, problem in checks.items():
            answer(f"{role}: {problem or 'good'}")
        if any(listed.sha256 is None for listed in found.manifest.files.values()):
            say("This folder lists no digests; `hallo models pull` compares it with the hub.")
    if problems:
        raise typer.Exit(WeightsError.exit_status)


@app.command()
def pull(
    weights: Literal["official", "hallo2", "joyhallo"] = argument("official", "The weights."),
    revision: str = option("main", "Branch, tag or commit on the hub."),
    to: Path | None = option(
        None, "The folder to fetch into.  [default: its name in the models folder]", metavar="DIR"
    ),
    offline: bool = option(False, "Use only files that are here or in the hub's cache."),
    extra: Literal["training"] | None = option(
        None,
        "training: also Stable Diffusion 1.5's UNet and AnimateDiff's motion module (5.3 GB), "
        "from which the published training starts.",
        "--with",
    ),
    as_json: bool = AS_JSON,
) -> None:
    """Fetch published weights, about 5.9 GB.

    Example:
        hallo models pull
        hallo models pull hallo2

    The same command resumes an interrupted fetch. HF_ENDPOINT names a mirror, HALLO_MODELS the models folder.
    Only what rendering needs is fetched.
    """
    tree, with_training = TREES[weights], extra is not None
    directory = at_home(to) if to else named_folder(tree.name)
    for licence in licences(file.path for file in hub.tree_files(tree, with_training=with_training)):
        mark = "" if licence.is_commercial_use_allowed else "NOT FOR COMMERCIAL USE: "
        say(f"{mark}{licence.part}: {licence.terms}")
    if offline or hub.is_offline():
        bundle = hub.adopt(tree, directory, with_training=with_training)
    else:
        plan = hub.plan_pull(tree, revision, with_training=with_training)
        say(f"{_size(plan.n_bytes)} at {plan.commit[:12]} from {plan.endpoint} to {directory}")
        bundle = _pull(plan, directory)
    if as_json:
        _print_json(_summary(bundle))
    else:
        answer(f"{bundle.path}")


@app.command()
def convert(
    source: str = BUNDLE,
    target: str = argument(..., "The new bundle's name, or its folder.", metavar="NEW"),
    dtype: Dtype = option("float16", "Number format of the networks' weights."),
    as_json: bool = AS_JSON,
) -> None:
    """Convert a bundle to slim safetensors files.

    Example:
        hallo models convert official slim

    The published folder can be converted, too. Unused weights are left out, and every file gets a digest.
    """
    from hallo_cli.bundles.networks import convert_bundle

    directory = at_home(Path(target)) if "/" in target else named_folder(target)
    bundle = convert_bundle(find_bundle(source), directory, name=directory.name, dtype=torch_dtype(dtype))
    if as_json:
        _print_json(_summary(bundle))
    else:
        answer(f"{bundle.path}  {_size(_summary(bundle)['n_bytes'])}")


def _pull(plan: PullPlan, directory: Path) -> Bundle:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        "{task.description}",
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("fetching", total=plan.n_bytes)

        def report(path: str, count: int) -> None:
            progress.update(task, advance=count, description=path)

        return hub.pull(plan, directory, report)


def _summary(bundle: Bundle) -> dict[str, Any]:
    manifest = bundle.manifest
    paths = [bundle.path / listed.path for listed in manifest.files.values()]
    return {
        "name": manifest.name,
        "version": manifest.version,
        "path": str(bundle.path),
        "licence": manifest.licence,
        "image_size": manifest.networks.image_size,
        "n_bytes": sum(path.stat().st_size for path in paths if path.is_file()),
    }


def _problem(check: Any, *arguments: Any) -> str | None:
    try:
        check(*arguments)
    except WeightsError as error:
        return str(error)
    return None


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items() if item is not None)
    return value


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e9:.2f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.1f} MB"


def _print_json(content: dict[str, Any]) -> None:
    answer(json.dumps({"schema": SCHEMA, **content}))
