"""A real SLURM on this machine: daemons in a temporary folder, no system file touched, a GPU that is only a name."""

import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

CLIENTS = ("srun", "sbatch", "squeue", "scancel", "scontrol", "sinfo", "sacct", "sacctmgr", "sshare")
DAEMONS = ("slurmctld", "slurmd")
# What a job may ask for is not limited by what this machine has: sizes are claims (config_overrides).
CPUS, MEGABYTES = 16, 64000
CONFIGURATION = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmdParameters=config_overrides
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,sched_min_interval=100000
ReturnToService=2
MinJobAge=3600
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={megabytes} Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=long Nodes=ALL MaxTime=INFINITE State=UP
"""


def why_not():
    """Why SLURM cannot be started here, or None."""
    missing = [
        name for name in (*DAEMONS, *CLIENTS) if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None
    ]
    if missing:
        return f"no {missing[0]} here: apt-get install --no-install-recommends slurm-wlm"
    return None if os.geteuid() == 0 else "slurmd has to be started by root"


@dataclass(frozen=True)
class Slurm:
    """A running cluster of one node; `folder/bin` holds clients that talk to it."""

    folder: Path

    def call(self, name, *words):
        return subprocess.run([self.folder / "bin" / name, *words], capture_output=True, text=True, check=True).stdout

    def list_jobs(self, state="all"):
        """Identifier and comment of each job in a state; Snakemake's comment names rule and wildcards."""
        lines = self.call("squeue", "--noheader", f"--states={state}", "--format=%i|%k").splitlines()
        return dict(line.split("|", 1) for line in lines)

    def start_now(self, job):
        """Spare a requeued job the two minutes that SLURM lets it wait."""
        for _ in range(240):
            if job in self.list_jobs("PENDING"):
                return self.call("scontrol", "update", f"JobId={job}", "StartTime=now")
            time.sleep(0.5)
        raise AssertionError(f"job {job} was not queued again")

    def describe(self, rule):
        """What SLURM knows of every job, ended ones too, whose comment names `rule`: the fields of scontrol."""
        jobs = self.call("scontrol", "--oneliner", "show", "job").splitlines()
        fields = [dict(part.split("=", 1) for part in job.split() if "=" in part) for job in jobs]
        return [each for each in fields if rule in each.get("Comment", "")]


def start_slurm(folder):
    """Start the daemons in `folder` and wait until the node is idle."""
    for name in ("state", "spool", "bin"):
        (folder / name).mkdir()
    host, ports = socket.gethostname().split(".")[0], get_free_ports(2)
    text = CONFIGURATION.format(folder=folder, host=host, ports=ports, cpus=CPUS, megabytes=MEGABYTES)
    (folder / "slurm.conf").write_text(text)
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\n")
    # The executor plug-in clears SLURM_* inside jobs, so each client brings the address along.
    for name in CLIENTS:
        client = folder / "bin" / name
        client.write_text(f'#!/bin/sh\nexec env SLURM_CONF={folder}/slurm.conf {shutil.which(name)} "$@"\n')
        client.chmod(0o755)
    environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    slurm = Slurm(folder)
    for name in DAEMONS:
        subprocess.run([name], env=environment, check=True, capture_output=True)
    for _ in range(120):
        if "idle" in slurm.call("sinfo", "--noheader", "--format=%t"):
            return slurm
        time.sleep(0.5)
    stop_slurm(slurm)
    raise AssertionError((folder / "slurmctld.log").read_text() + (folder / "slurmd.log").read_text())


def stop_slurm(slurm):
    """End what is left of the jobs, then the daemons, by their process files."""
    for job in slurm.list_jobs("PENDING,RUNNING"):
        slurm.call("scancel", job)
    for name in reversed(DAEMONS):
        path = slurm.folder / f"{name}.pid"
        if path.exists():
            os.kill(int(path.read_text()), signal.SIGTERM)


def get_free_ports(count):
    """Ports that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()
