"""What would be run: the jobs that train or evaluate, and their hours."""

from collections.abc import Sequence

from opentrans.costs.workload import Work
from opentrans.doctor.checks import Check, fine

SECONDS_A_STEP = 1.0
TRAINING_JOBS = ("find_subnetwork", "warm_up", "train")


def check_plan(work: Sequence[Work], tables: Sequence[int], uses_gpu: bool) -> Check:
    """How many jobs, and how many hours at one second a step, which nobody has measured."""
    jobs = sum(each.jobs for each in work)
    trainings = sum(each.jobs for each in work if each.name.split()[0] in TRAINING_JOBS)
    shown = ", ".join(map(str, tables))
    text = f"tables {shown}: {jobs} jobs of networks, {trainings} of them searches and trainings"
    if not uses_gpu:
        return fine("plan", f"{text}, on the CPU")
    hours = sum(each.get_gpu_hours(SECONDS_A_STEP) for each in work)
    longest = max(work, key=lambda each: each.steps)
    text += f"; {hours:,.0f} GPU-hours at one second a step (not measured), the longest job {longest.name}"
    return fine("plan", f"{text} {longest.steps * SECONDS_A_STEP / 3600:,.0f} h; `opentrans plan-cluster` lists them")
