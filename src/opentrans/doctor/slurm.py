"""SLURM's partitions and nodes, against what the profile's jobs ask for."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opentrans.config import Config
from opentrans.costs.workload import Work
from opentrans.doctor.checks import Check, fault, fine, warn
from opentrans.doctor.external import ask_program
from opentrans.doctor.plan import TRAINING_JOBS

PROFILE = "workflow/profiles/slurm/config.yaml"
# Partition, its time limit, and of each kind of node in it: cores, memory (MB), generic resources; availability.
SINFO = ["sinfo", "--noheader", "--format=%P|%l|%c|%m|%G|%a"]
# Minutes that each kind of job asks for where the profile says nothing else; a test compares them with the rules.
MINUTES = {"embed_regions": 720, "find_subnetwork": 2880, "warm_up": 1440, "train": 4320, "evaluate_run": 720}
MINUTES_A_DAY, MINUTES_AN_HOUR = 1440, 60
MEGABYTES_A_GIGABYTE = 1000


@dataclass(frozen=True)
class NodeKind:
    """Equal nodes of a partition; `minutes` is the partition's time limit, None if it has none."""

    partition: str
    default: bool
    minutes: int | None
    cores: int
    memory_mb: int
    gpus: int


@dataclass(frozen=True)
class Request:
    """What one kind of job asks of a node; `partition` is empty where the profile names none."""

    job: str
    partition: str
    minutes: int
    gpus: int
    cores: int
    memory_mb: int


def find_nodes() -> list[NodeKind] | None:
    """The partitions that are up, as ``sinfo`` lists them; None if it does not answer."""
    answer = ask_program(SINFO)
    return None if answer is None else parse_nodes(answer)


def parse_nodes(text: str) -> list[NodeKind]:
    """The lines of ``sinfo``; partitions that are down are left out."""
    nodes = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 6 or cells[5] != "up":
            continue

        name, limit, cores, memory, generic, _ = cells
        nodes.append(
            NodeKind(
                partition=name.rstrip("*"),
                default=name.endswith("*"),
                minutes=parse_minutes(limit),
                cores=_read_number(cores),
                memory_mb=_read_number(memory),
                gpus=count_generic_gpus(generic),
            )
        )
    return nodes


def parse_minutes(limit: str) -> int | None:
    """Minutes of SLURM's ``days-hours:minutes:seconds``; None for ``infinite``."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", limit)
    if match is None:
        return None
    days, hours, minutes, _ = (int(part or 0) for part in match.groups())
    return days * MINUTES_A_DAY + hours * MINUTES_AN_HOUR + minutes


def count_generic_gpus(generic: str) -> int:
    """GPUs of a node in SLURM's list of generic resources: ``gpu:a100:4(S:0-1)``."""
    numbers = re.findall(r"(?:^|,)gpu(?::[A-Za-z][^:,(]*)?:(\d+)", generic)
    return sum(int(number) for number in numbers)


def _read_number(text: str) -> int:
    """``48`` and ``48+`` (at least so many)."""
    digits = text.rstrip("+")
    return int(digits) if digits.isdecimal() else 0


def read_submission_profile(path: Path) -> dict[str, Any]:
    """Snakemake's profile; empty where there is none."""
    content = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
    return content if isinstance(content, dict) else {}


def list_requests(config: Config, work: Sequence[Work], profile: Mapping[str, Any]) -> list[Request]:
    """What the profile's jobs ask of a node: the largest job of each kind."""
    default, own = profile.get("default-resources") or {}, profile.get("set-resources") or {}
    memory = {"find_subnetwork": config.memory_mb.subnetwork, "embed_regions": config.memory_mb.teacher}
    threads = {"find_subnetwork": config.threads.subnetwork}

    gpus: dict[str, int] = {}
    for each in work:
        kind = each.name.split()[0]
        gpus[kind] = max(gpus.get(kind, 0), each.gpus if config.device != "cpu" else 0)

    requests = []
    for kind, number in gpus.items():
        changed = own.get(kind) or {}
        limited = min(MINUTES[kind], config.time_limit or MINUTES[kind])
        loading = number * (config.workers + 1) if kind in TRAINING_JOBS else 1
        requests.append(
            Request(
                job=kind,
                partition=str(changed.get("slurm_partition", default.get("slurm_partition", ""))),
                minutes=read_runtime(changed.get("runtime", limited)),
                gpus=number,
                cores=max(threads.get(kind, config.threads.run), loading),
                memory_mb=memory.get(kind, config.memory_mb.run),
            )
        )
    return requests


def read_runtime(value: object) -> int:
    """Minutes of Snakemake's ``runtime``: a number, or text such as ``12h``; 0 (fits everywhere) for anything else."""
    match = re.fullmatch(r"(\d+) *([mhd]?)", str(value))
    if match is None:
        return 0
    return int(match[1]) * {"h": MINUTES_AN_HOUR, "d": MINUTES_A_DAY}.get(match[2], 1)


def check_slurm(
    nodes: Sequence[NodeKind] | None, requests: Sequence[Request], profile: str = PROFILE
) -> Iterable[Check]:
    """Whether every job fits a node of its partition and the partition's time limit.

    Args:
        nodes: what ``sinfo`` says; None if it did not answer.
        requests: what the jobs ask for.
        profile: the file that the remedies name.
    """
    if nodes is None:
        yield warn("SLURM", "`sinfo` did not answer", "ask it by hand for the partitions, their limits and nodes")
        return
    names = list(dict.fromkeys(node.partition for node in nodes))
    if not names:
        yield fault("SLURM", "no partition is up", "ask your site")
        return
    yield fine("SLURM", f"partitions: {', '.join(names)}")

    complaints: list[Check] = []
    for partition in dict.fromkeys(request.partition for request in requests):
        mine = [request for request in requests if request.partition == partition]
        usable = [node for node in nodes if (node.partition == partition if partition else node.default)]
        if usable:
            complaints += [*_check_time(mine, usable, profile), *_check_fit(mine, usable, nodes, profile)]
        else:
            complaints.append(_report_partition(partition, names, profile))
    yield from complaints
    if not complaints:
        yield fine("SLURM", f"every job fits: up to {max(request.gpus for request in requests)} GPUs on a node")


def _report_partition(partition: str, names: Sequence[str], profile: str) -> Check:
    remedy = f"write one of {', '.join(names)} into {profile} (default-resources: slurm_partition)"
    if partition:
        return fault("SLURM", f"the profile names the partition {partition}, which is not there", remedy)
    return fault("SLURM", "the profile names no partition, and there is no default one", remedy)


def _check_time(requests: Sequence[Request], nodes: Sequence[NodeKind], profile: str) -> Iterable[Check]:
    """A job that asks for more time than its partition gives stays in the queue for ever, without a word."""
    limits = [node.minutes for node in nodes if node.minutes is not None]
    if len(limits) < len(nodes):
        return

    longest = max(limits)
    long = [request for request in requests if request.minutes > longest]
    if long:
        asked = ", ".join(f"{request.job} {request.minutes / MINUTES_AN_HOUR:.0f} h" for request in long)
        changes = ", ".join(f"{request.job}: {{runtime: {longest}}}" for request in long)
        text = f"{nodes[0].partition} gives {longest / MINUTES_AN_HOUR:.0f} h, asked for are {asked}"
        remedy = (
            f"they would wait for ever. In {profile} write set-resources: {changes}; a training that is cut off goes on"
            " from its checkpoint (raise `retries` with it)"
        )
        yield fault("SLURM", text, remedy)


def _check_fit(
    requests: Sequence[Request], nodes: Sequence[NodeKind], others: Sequence[NodeKind], profile: str
) -> Iterable[Check]:
    """A job that no single node can hold is refused, or waits for ever."""
    unfit = [request for request in requests if not any(_fits(request, node) for node in nodes)]
    if not unfit:
        return

    asked = ", ".join(f"{each.job} {_describe_node(each)}" for each in unfit)
    best = max(nodes, key=lambda node: (node.gpus, node.cores, node.memory_mb))

    better = [node.partition for node in others if all(_fits(each, node) for each in unfit)]
    if better:
        remedy = f"nodes of {', '.join(dict.fromkeys(better))} hold them: write it into {profile} (slurm_partition)"
    else:
        remedy = (
            f"name another partition in {profile}, or give fewer `gpus`, `workers` or `memory_mb`, of which no result"
            " depends"
        )
    text = f"too large for every node of {best.partition} (at most {_describe_node(best)}): {asked}"
    yield fault("SLURM", text, remedy)


def _fits(request: Request, node: NodeKind) -> bool:
    return node.gpus >= request.gpus and node.cores >= request.cores and node.memory_mb >= request.memory_mb


def _describe_node(needs: Request | NodeKind) -> str:
    return f"{needs.gpus} GPUs / {needs.cores} cores / {needs.memory_mb / MEGABYTES_A_GIGABYTE:.0f} GB"
