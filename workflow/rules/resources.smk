# What jobs ask of the machine.


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
