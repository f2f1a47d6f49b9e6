# What jobs are given, and what they ask of the machine.

from opentrans.config import SEARCHING


def get_gpus(kind, target=None):
    """GPUs of a job of this kind: how many processes it runs in, where the machine has as many."""
    if CONFIG.device == "cpu":
        return 0
    return CONFIG.gpus.targets.get(target, getattr(CONFIG.gpus, kind))


def get_run_gpus(wildcards):
    """GPUs of a target's training."""
    return get_gpus("run", wildcards.target)


def get_memory(kind):
    """Main memory of a job of this kind in megabytes; twice as much from the second attempt on."""
    return lambda wildcards, attempt: getattr(CONFIG.memory_mb, kind) * min(attempt, 2)


def limit_time(minutes):
    """The minutes that a job asks for: never more than the configuration's limit."""
    return min(minutes, CONFIG.time_limit or minutes)


def get_cores(threads, gpus):
    """Cores of a job that trains: its threads, or for each GPU one process and the workers that load its images."""
    return max(threads, gpus * (CONFIG.workers + 1))


def get_run_cores(wildcards):
    """Cores of a target's training."""
    return get_cores(CONFIG.threads.run, get_run_gpus(wildcards))


def get_seed_option(wildcards):
    """The seed of a world or a teacher, where every seed of the profile draws its own."""
    return ["--seed", wildcards.seed] if CONFIG.has_worlds else []


def get_download_option(wildcards):
    """Where a seed's own world lies, from which its data sets are prepared."""
    return (
        ["--raw-root", str(FILES.get_data(wildcards).world)]
        if CONFIG.has_worlds
        else []
    )


def name_benchmarks(wildcards):
    """NAME=FOLDER pairs of all prepared benchmarks."""
    data = FILES.get_data(wildcards)
    return [f"{name}={data.prepared(name, 'val')}" for name in CONFIG.benchmarks]


def get_search_gpus(wildcards):
    """GPUs of a recipe's job."""
    return get_gpus("subnetwork") if needs_gpu(wildcards) else 0


def get_search_cores(wildcards):
    """Cores of a recipe's job."""
    if not needs_gpu(wildcards):
        return 1
    return get_cores(CONFIG.threads.subnetwork, get_search_gpus(wildcards))


def needs_gpu(wildcards):
    """Whether a recipe trains; dense and random subnetworks are made in seconds on a core."""
    return CONFIG.subnetworks[wildcards.subnetwork].method in SEARCHING
