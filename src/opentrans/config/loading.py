"""From files to a validated profile: how they are laid over each other, ``extends`` and ``like``.

The workflow and the command line both end in `parse_config`. Snakemake merges the files it is given before the workflow
sees them, so `load_config` merges its files first, too, and the last ``extends`` among them counts.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from opentrans.config.profile import Config
from opentrans.config.scaling import scale_schedules
from opentrans.errors import UserError

REPOSITORY = Path(__file__).parents[3]
README = "config/README.md"
RECIPES = ("subnetworks", "freezing", "targets")


def load_config(paths: Sequence[Path]) -> Config:
    """Read one or more YAML files, later ones laid over earlier ones, and validate the result.

    Raises:
        UserError: a file cannot be read, or what they come to is no valid configuration.
    """
    return parse_config(_merge_files(paths), paths[-1])


def list_config_files(paths: Sequence[Path]) -> list[Path]:
    """All files that `load_config` reads for `paths`: these and what they extend."""
    return [*paths, *(path for path, _ in _read_extended(_merge_files(paths), paths[-1]))]


def _merge_files(paths: Sequence[Path]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for path in paths:
        content = merge(content, read_config_file(path))
    return content


def parse_config(content: dict[str, Any], where: object) -> Config:
    """Complete `content` with what it extends and is like, validate the whole, and scale its schedules.

    Raises:
        UserError: naming `where` and the first wrong field, on one line.
    """
    complete = fill_likes(lay_over_extended(content, where), where)
    try:
        return scale_schedules(Config.model_validate(complete))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "(whole file)"
        extra = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
        remedy = f"{README} describes every key"
        if first["type"] == "missing" and not content.get("extends"):
            remedy = f"write it, or name a file that has it, for example `extends: config/mini.yaml` ({README})"
        raise UserError(f"{where}: {field}", f"{first['msg']}{extra}", remedy) from None


def merge(base: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """Lay `overlay` over `base` as Snakemake's ``--configfile`` does: dictionaries merge, everything else replaces."""
    merged = dict(base)
    for key, value in overlay.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def lay_over_extended(content: dict[str, Any], where: object) -> dict[str, Any]:
    """`content` laid over the file that its ``extends`` names, which may extend another; no ``extends`` is left.

    Raises:
        UserError: such a file is missing or unreadable, or they extend each other in a circle.
    """
    merged: dict[str, Any] = {}
    for _, layer in reversed(_read_extended(content, where)):
        merged = merge(merged, layer)
    merged = merge(merged, content)
    merged.pop("extends", None)
    return merged


def _read_extended(content: dict[str, Any], where: object) -> list[tuple[Path, dict[str, Any]]]:
    """The files below `content` and what they hold, from the top down."""
    layers, names = list[tuple[Path, dict[str, Any]]](), list[str]()
    while (name := content.get("extends")) is not None:
        if not isinstance(name, str):
            raise UserError(f"{where}: extends", f"{name!r} is no file", "name one, for example config/mini.yaml")
        if name in names:
            problem = f"{' and '.join(names)} extend each other"
            raise UserError(f"{where}: extends", problem, "remove `extends` from one of them")

        # Named as `experiments` and `claims` are: by their place in the project.
        path = Path(name) if Path(name).exists() else REPOSITORY / name
        if not path.exists():
            raise UserError(f"{where}: extends", f"no such file: {name}", "name one, for example config/mini.yaml")

        content = read_config_file(path)
        names.append(name)
        layers.append((path, content))
    return layers


def fill_likes(content: dict[str, Any], where: object) -> dict[str, Any]:
    """Fill in what recipes and targets, and trainings inside targets, take from those that they are ``like``.

    Comes after all files are merged, so that a recipe follows another one wherever that one is changed.

    Raises:
        UserError: a ``like`` names nothing, or leads back to where it stands.
    """
    filled = dict(content)
    for section in RECIPES:
        if isinstance(filled.get(section), dict):
            filled[section] = _fill_each(filled[section], f"{where}: {section}.{{}}")
    if isinstance(filled.get("targets"), dict):
        filled["targets"] = _fill_trainings(filled["targets"], where)
    return filled


def _fill_trainings(targets: dict[str, Any], where: object) -> dict[str, Any]:
    """`targets` whose trainings are filled in; ``like`` in a training names the target that trains so."""
    trainings = {
        name: target["training"]
        for name, target in targets.items()
        if isinstance(target, dict) and isinstance(target.get("training"), dict)
    }
    trainings = _fill_each(trainings, f"{where}: targets.{{}}.training")
    return targets | {name: targets[name] | {"training": training} for name, training in trainings.items()}


def _fill_each(entries: dict[str, Any], place: str) -> dict[str, Any]:
    """`entries` without ``like``; what is no dictionary is left for the validation to name."""
    return {
        name: _fill(name, entries, place, ()) if isinstance(entry, dict) else entry for name, entry in entries.items()
    }


def _fill(name: str, entries: dict[str, Any], place: str, followers: tuple[str, ...]) -> dict[str, Any]:
    """One entry laid over the one that it is like; `followers` are those that wait for it."""
    own = {key: value for key, value in entries[name].items() if key != "like"}
    if "like" not in entries[name]:
        return own

    model, where = entries[name]["like"], f"{place.format(name)}.like"
    if not isinstance(model, str) or not isinstance(entries.get(model), dict):
        raise UserError(where, f"there is no {model!r}", f"name one of {', '.join(sorted(set(entries) - {name}))}")
    if model in (*followers, name):
        problem = f"leads in a circle: {', '.join((*followers, name, model))}"
        raise UserError(where, problem, "remove one `like` of the circle")
    return merge(_fill(model, entries, place, (*followers, name)), own)


class _KeyTwice(Exception):
    """A key stands twice in one place of a file, of which YAML would take the last."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, but a key given twice is an error."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Compose a mapping; this comes before merge keys are laid in, which may repeat a key on purpose."""
        node = super().compose_mapping_node(anchor)
        seen = set[str]()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise _KeyTwice(key.value, key.start_mark.line + 1)
                seen.add(key.value)
        return node


def read_config_file(path: Path) -> dict[str, Any]:
    """The content of one YAML file, as it stands.

    Raises:
        UserError: the file is missing, no YAML, holds no keys, or gives one twice.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except FileNotFoundError:
        raise UserError(path, "no such configuration file", "give an existing file with --config") from None
    except _KeyTwice as error:
        key, line = error.args
        raise UserError(f"{path}: line {line}", f"the key {key!r} is given twice", "remove one of the two") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(path, f"not readable as YAML ({error})", "correct the file") from None

    if not isinstance(content, dict):
        raise UserError(path, "holds no keys", "start from config/mini.yaml")
    return content
