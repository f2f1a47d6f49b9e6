"""All checks of a configuration on this machine, in the order in which their answers matter."""

import os
import shutil
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from opentrans.config import Config
from opentrans.config.loading import REPOSITORY
from opentrans.costs.workload import Work, plan_work
from opentrans.doctor.checks import Check, attempt, fault, fine
from opentrans.doctor.disk import FileSystem, check_disk, check_inodes, find_file_system, measure_folder
from opentrans.doctor.graphics import (
    Gpu,
    TorchBuild,
    check_cards,
    check_driver,
    check_gpu_count,
    check_gpu_memory,
    check_torch,
    estimate_gpu_memory,
    find_gpus,
    find_torch,
)
from opentrans.doctor.host import (
    check_cores,
    check_shared_memory,
    count_cores,
    estimate_shared_memory,
    find_shared_memory,
)
from opentrans.doctor.inputs import check_data, check_teacher, find_data, find_teacher
from opentrans.doctor.plan import TRAINING_JOBS, check_plan
from opentrans.doctor.sizes import DiskNeed, count_images, estimate_data, estimate_results, estimate_world
from opentrans.doctor.slurm import PROFILE, NodeKind, check_slurm, find_nodes, list_requests, read_submission_profile
from opentrans.doctor.software import (
    CondaFacts,
    Environment,
    check_conda_builds,
    check_environment,
    check_packages,
    check_python,
    find_environment,
    find_missing_packages,
    find_torch_builds,
)
from opentrans.errors import UserError
from opentrans.runs.layout import DataLayout, ResultsLayout
from opentrans.runs.table import RunId, read_experiments, runs_of


@dataclass(frozen=True)
class MachineFacts:
    """What was found on a machine; tests make up others."""

    python: tuple[int, int, int]
    environment: Environment
    missing: dict[str, list[str]] = field(default_factory=dict)
    conda: CondaFacts = field(default_factory=CondaFacts)
    torch: TorchBuild | None = None
    gpus: tuple[Gpu, ...] = ()
    visible: str | None = None
    cores: int = 1
    shared_memory: int | None = None
    slurm: bool = False
    in_job: bool = False
    nodes: tuple[NodeKind, ...] | None = None

    @property
    def submits(self) -> bool:
        """Whether jobs run on other machines than this one."""
        return self.slurm and not self.in_job


@dataclass(frozen=True)
class Plan:
    """What the configuration comes to: its runs, its jobs, the images of each (data set, split)."""

    runs: list[RunId]
    work: list[Work]
    images: dict[tuple[str, str], int]


def look_around() -> MachineFacts:
    """The facts of this machine; a few seconds, most of them torch's import."""
    slurm = shutil.which("sbatch") is not None
    nodes = find_nodes() if slurm else None

    return MachineFacts(
        python=sys.version_info[:3],
        environment=find_environment(),
        missing=find_missing_packages(slurm),
        conda=CondaFacts(shutil.which("conda") is not None, find_torch_builds()),
        torch=find_torch(),
        gpus=tuple(find_gpus()),
        visible=os.environ.get("CUDA_VISIBLE_DEVICES"),
        cores=count_cores(),
        shared_memory=find_shared_memory(),
        slurm=slurm,
        in_job="SLURM_JOB_ID" in os.environ,
        nodes=None if nodes is None else tuple(nodes),
    )


def plan_profile(config: Config) -> Plan:
    """The runs and jobs that the experiment table asks for; a wrong table is a `UserError`."""
    path = Path(config.experiments)
    experiments = read_experiments(path if path.exists() else REPOSITORY / path, config)
    images = count_images(config)
    return Plan(runs_of(experiments, config.tables, config.seeds), plan_work(config, experiments, images), images)


def diagnose(config: Config, machine: MachineFacts, network: bool = False) -> Iterator[Check]:
    """Every check, one after the other; a fault in one keeps none of the others from being made."""
    plan: Plan | None = None
    try:
        plan = plan_profile(config)
    except UserError as error:
        yield fault("plan", f"{error.where}: {error.problem}", error.remedy)

    yield from attempt("environment", lambda: check_software(config, machine))
    yield from attempt("hardware", lambda: check_hardware(config, machine))
    if plan:
        work = plan.work
        yield from attempt("SLURM", lambda: check_cluster(config, machine, work))
        yield from attempt("disk", lambda: check_space(config, plan, machine.submits))
    data = DataLayout.of_profile(config.profile)
    yield from attempt("data", lambda: check_data(find_data(config, data.all_prepared, str(data.world))))
    yield from attempt("teacher", lambda: [check_weights(config, network)])
    if plan:
        yield check_plan(plan.work, config.tables, config.device != "cpu")


def check_software(config: Config, machine: MachineFacts) -> Iterable[Check]:
    """Python, environment, packages, the build of torch."""
    uses_gpu = config.device != "cpu" and (bool(machine.gpus) or machine.slurm)
    yield check_python(machine.python)
    yield check_environment(machine.environment)
    yield from check_packages(machine.missing, machine.conda)
    yield check_torch(machine.torch, len(machine.gpus), config.device, machine.conda.program, machine.visible)
    yield from check_conda_builds(machine.conda.torch_builds, uses_gpu)


def check_hardware(config: Config, machine: MachineFacts) -> Iterable[Check]:
    """GPUs, cores, shared memory: of this machine, if it is one that jobs run on."""
    if machine.submits and not machine.gpus:
        command = "srun --gpus=1 python -m opentrans doctor"
        yield fine("hardware", f"a login node; jobs run on others: `{command}` with your configuration looks at one")
        return
    wanted = {"a search": config.gpus.subnetwork, "a training": config.gpus.run} | config.gpus.targets
    trainings = {name: target.training for name, target in config.targets.items()}

    yield check_gpu_count(machine.gpus, wanted, config.device)
    taken = 0
    if machine.gpus and config.device != "cpu":
        taken = min(max(wanted.values()), len(machine.gpus))
        if machine.torch is not None:
            yield check_driver(machine.gpus[0].driver, machine.torch.cuda)
            yield from check_cards(machine.gpus, machine.torch.architectures)
        sizes = {name: (each.micro_batch_size or each.batch_size, each.crop_size) for name, each in trainings.items()}
        yield from check_gpu_memory(
            machine.gpus, {name: estimate_gpu_memory(images, crop) for name, (images, crop) in sizes.items()}
        )

    yield check_cores(machine.cores, taken, config.workers, max(config.threads.run, config.threads.subnetwork))
    needed = [estimate_shared_memory(config.workers, each.batch_size, each.crop_size) for each in trainings.values()]
    yield check_shared_memory(machine.shared_memory, max(needed, default=0))


def check_cluster(config: Config, machine: MachineFacts, work: list[Work]) -> Iterable[Check]:
    """SLURM's limits, where there is SLURM."""
    if not machine.slurm:
        return [fine("SLURM", "not on this machine (no sbatch)")]
    folder = os.environ.get("WORKFLOW_PROFILE")
    path = Path(folder) / "config.yaml" if folder else Path(PROFILE)
    profile = read_submission_profile(path if path.exists() else REPOSITORY / PROFILE)
    return check_slurm(machine.nodes, list_requests(config, work, profile), str(path))


def check_space(config: Config, plan: Plan, submits: bool) -> Iterable[Check]:
    """Space and inodes on the file systems of data and results."""
    data, results = DataLayout.of_profile(config.profile), ResultsLayout.of_profile(config.profile)
    sets = estimate_data(config, plan.images)
    data_needs = [need for key, need in sets.items() if not data.prepared(*key).is_dir()]
    world = estimate_world(config)
    if world and not data.world.is_dir():
        data_needs.append(world)

    # On a cluster all trainings may run at the same time, here one after the other.
    trainings = sum(each.jobs for each in plan.work if each.name.split()[0] in TRAINING_JOBS)
    result_needs = estimate_results(config, plan.runs, plan.work, plan.images, trainings if submits else 1)
    return judge_space(
        (find_file_system(data.folder), data_needs),
        (find_file_system(results.folder), result_needs),
        measure_folder(results.folder),
    )


def judge_space(
    data: tuple[FileSystem, list[DiskNeed]], results: tuple[FileSystem, list[DiskNeed]], present: tuple[int, int]
) -> Iterable[Check]:
    """One judgement for each file system; `present` are bytes and files of the results that are there already."""
    (place, needs), (other, more) = data, results
    size, files = present
    if place.device == other.device:
        where = f"{place.path}, {other.path}"
        yield check_disk(where, other.free, [*needs, *more], size)
        yield check_inodes(where, other.inodes, [*needs, *more], files)
        return
    yield check_disk(str(place.path), place.free, needs)
    yield check_inodes(str(place.path), place.inodes, needs)
    yield check_disk(str(other.path), other.free, more, size)
    yield check_inodes(str(other.path), other.inodes, more, files)


def check_weights(config: Config, network: bool) -> Check:
    """The teacher's weights."""
    artefact = ResultsLayout.of_profile(config.profile).teacher
    return check_teacher(find_teacher(config.teacher, artefact, network), str(artefact))
