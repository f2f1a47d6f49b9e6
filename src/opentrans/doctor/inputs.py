"""What has to be there before the first job: the downloads and the teacher's weights."""

import importlib.util
import os
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from opentrans.config import Config, TeacherConfig
from opentrans.data.downloads import find_missing_entries
from opentrans.doctor.checks import Check, fault, fine, warn
from opentrans.doctor.external import PROGRAM_SECONDS, ask_python
from opentrans.runs.selection import list_sets

READERS = ("numpy", "PIL", "tqdm", "scipy")  # what `data check` needs beyond the configuration
MORE = "`opentrans data check` says more, docs/data.md where each comes from"
HUB_FILE = "open_clip_model.safetensors"

WEIGHTS_PROBE = """
import json, sys, open_clip
print(json.dumps(open_clip.get_pretrained_cfg(sys.argv[1], sys.argv[2]) or {}, default=str))
"""


@dataclass(frozen=True)
class DataState:
    """One needed split: `state` as ``data check`` calls it, `problem` and `remedy` empty where all is well."""

    name: str
    state: str
    problem: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class TeacherWeights:
    """Where CLIP's weights come from (`unasked`: open_clip, which knows, is missing or cannot be loaded).

    `cached`: whether a download is there already; `reachable`: whether its site answers, None where that was not tried.
    """

    source: Literal["imported", "trained", "random", "file", "download", "unknown", "unasked"]
    name: str = ""
    cached: bool = False
    reachable: bool | None = None


def find_data(config: Config, prepared: Path, world: str) -> list[DataState]:
    """The state of every needed download: as ``data check`` says, or by its folders where its libraries are missing."""
    if config.data.raw_root == world and not Path(world).is_dir():
        return [DataState("mini world", "not there yet: the workflow generates it")]
    if not Path(config.data.raw_root).is_dir():
        waiting = [name for name, split in list_sets(config) if not (prepared / name / split).is_dir()]
        if not waiting:
            return [DataState("all", "prepared; the downloads are gone, and not needed")]
        remedy = f"set data.raw_root to the folder of the downloads; {MORE}"
        return [
            DataState(", ".join(dict.fromkeys(waiting)), "MISSING", f"{config.data.raw_root}: no such folder", remedy)
        ]
    if all(importlib.util.find_spec(name) for name in READERS):
        from opentrans.data.check import check_downloads

        findings = check_downloads(config)
        return [DataState(f"{each.dataset} {each.split}", each.state, each.problem, each.remedy) for each in findings]
    return [_look_at_folders(config, dataset, split) for dataset, split in list_sets(config)]


def _look_at_folders(config: Config, dataset: str, split: str) -> DataState:
    missing = find_missing_entries(dataset, split, config.data)
    if missing:
        return DataState(f"{dataset} {split}", "INCOMPLETE", f"missing: {', '.join(missing)}", MORE)
    return DataState(f"{dataset} {split}", "its folders are there (not looked into: numpy and others are missing)")


def check_data(states: Sequence[DataState]) -> Iterable[Check]:
    """One line on all that is well, one for each split that is not."""
    whole = [state for state in states if not state.problem]
    if whole:
        kinds = ", ".join(dict.fromkeys(state.state for state in whole))
        yield fine("data", f"{len(whole)} of {len(states)}: {kinds}")
    for state in states:
        if state.problem:
            yield fault("data", f"{state.name}: {state.state} ({state.problem})", state.remedy)


def find_teacher(settings: TeacherConfig, artefact: Path, network: bool) -> TeacherWeights:
    """Where the weights come from, and whether they are there; a site is asked only with `network`."""
    if artefact.is_file():
        return TeacherWeights("imported", str(artefact))
    if settings.pretrained is None:
        return TeacherWeights("trained")
    if settings.pretrained == "random":
        return TeacherWeights("random")
    if Path(settings.pretrained).is_file():
        return TeacherWeights("file", settings.pretrained)

    # What is left is a tag of open_clip's, if its models have names.
    name = f"{settings.architecture} {settings.pretrained}" if isinstance(settings.architecture, str) else ""
    if not name:
        return TeacherWeights("unknown", settings.pretrained)
    entry = ask_python(WEIGHTS_PROBE, *name.split())
    if entry is None:
        return TeacherWeights("unasked", name)
    if not entry:
        return TeacherWeights("unknown", name)

    hub, url = str(entry.get("hf_hub") or ""), str(entry.get("url") or "")
    cached = is_cached(hub, url, Path.home(), os.environ)
    return TeacherWeights("download", name, cached, is_reachable(hub, url) if network and not cached else None)


def is_cached(hub: str, url: str, home: Path, variables: "os._Environ[str] | dict[str, str]") -> bool:
    """Whether open_clip's download lies in the hub's cache or in its own."""
    base = Path(variables.get("HF_HOME", home / ".cache/huggingface"))
    folder = Path(variables.get("HF_HUB_CACHE", base / "hub")) / f"models--{hub.strip('/').replace('/', '--')}"
    in_hub = bool(hub) and any(folder.glob("snapshots/*/open_clip_*"))
    return in_hub or (bool(url) and (home / ".cache/clip" / url.rpartition("/")[2]).is_file())


def is_reachable(hub: str, url: str) -> bool:
    """Whether the site of the download answers within seconds."""
    if hub:
        site = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
        url = f"{site}/{hub.strip('/')}/resolve/main/{HUB_FILE}"
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=PROGRAM_SECONDS):
            return True
    except (OSError, ValueError):
        return False


def check_teacher(weights: TeacherWeights, artefact: str) -> Check:
    """Whether CLIP's weights are there, or can be got; `artefact` is the file that they become."""
    simple = {
        "imported": f"{weights.name} is there",
        "trained": "trained by the workflow",
        "random": "random weights, made on the spot",
        "file": f"{weights.name} is there",
    }
    if weights.source in simple:
        return fine("teacher", simple[weights.source])

    if weights.source == "unknown":
        remedy = "give a tag that open_clip knows for teacher.architecture, or a file that is there"
        return fault("teacher", f"{weights.name}: no such file, nor a tag of this model", remedy)
    if weights.source == "unasked":
        remedy = "look again in the environment that the jobs run in"
        return warn("teacher", f"{weights.name}: open_clip, which knows where it lies, is not here", remedy)
    if weights.cached:
        return fine("teacher", f"{weights.name} is in open_clip's cache")

    # To be downloaded.
    text = f"{weights.name} is not in open_clip's cache"
    if weights.reachable is None:
        remedy = "whether its site answers was not tried (`--network` does); "
    elif weights.reachable:
        return fine("teacher", f"{text}; its site answers")
    else:
        text, remedy = f"{text}, and its site does not answer", ""
    remedy += (
        "where jobs have no network, give a file as teacher.pretrained, or first run, where there is one,"
        f" `snakemake --cores 1 {artefact}` with your configuration"
    )
    level = warn if weights.reachable is None else fault
    return level("teacher", text, remedy)
