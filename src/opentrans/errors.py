"""The one error a user ever sees: where it is, what is wrong, what to do; failures of the machine are one, too."""

import errno
import os
from pathlib import Path

WRITING = "write to another folder, or change its permissions"
READING = "change its permissions, or those of the folders above it"
REMEDIES = {
    errno.ENOSPC: "free some space; what was saved before is intact",
    errno.EDQUOT: "free some of your quota; what was saved before is intact",
    errno.EROFS: "write to another folder",
    errno.EACCES: WRITING,
    errno.EPERM: WRITING,
    errno.EIO: "check the disk; what was saved before is intact",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "remove the loop of symbolic links",
    errno.ENOTDIR: "a file is in the way of a folder",
    errno.EISDIR: "a folder is in the way of a file",
}
MEMORY = "give the job more memory, or lower the batch size or the number of workers"
EXTRAS = {
    "weightwatcher": "alpha",
    "pandas": "report",
    "matplotlib": "report",
    "jinja2": "report",
    "ptflops": "report",
    "nltk": "grounding",
}
LOST_PEER = ("Connection closed by peer", "Connection reset by peer", "remote process exited")  # gloo, gloo, NCCL


def shorten(error: BaseException) -> str:
    """The first line of another library's message, which may have many or none: then the kind of error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class UserError(Exception):
    """Bad input: printed as one line without a traceback, exit status 2.

    Args:
        where: the file (and field) at fault, for example ``config/mini.yaml: teacher.lr``.
        problem: what is wrong with it.
        remedy: what the user can do.
    """

    def __init__(self, where: object, problem: str, remedy: str) -> None:
        self.where, self.problem, self.remedy = str(where), problem, remedy
        super().__init__(" ".join(f"{where}: {problem}; {remedy}".split()))

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        """Survive the way back from a worker process."""
        return type(self), (self.where, self.problem, self.remedy)


def refuse_reading(path: object) -> UserError:
    """The `UserError` for a file or folder that this user may not read."""
    return UserError(path, "cannot be read (permission denied)", READING)


def _may_read(name: object) -> bool:
    """False if `name` is there and unreadable or lies in a folder that may not be entered; then it was to be read."""
    try:
        Path(str(name)).stat()
    except PermissionError:
        return False
    except OSError:
        return True
    return os.access(str(name), os.R_OK)


def explain(error: Exception) -> UserError | None:
    """The `UserError` for a failure of the machine; None if `error` is something else (a defect of ours)."""
    kind, text = type(error).__name__, str(error)
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        return UserError(error.name, "not installed", f"pip install 'opentrans[{EXTRAS[error.name]}]'")
    if isinstance(error, OSError) and error.errno in REMEDIES:
        if isinstance(error, PermissionError) and error.filename and not _may_read(error.filename):
            return refuse_reading(error.filename)
        return UserError(error.filename or "output", str(error.strerror), REMEDIES[error.errno])

    # By name and text: torch and process pools are not imported just to recognise their errors.
    if isinstance(error, MemoryError) or kind == "OutOfMemoryError" or "can't allocate memory" in text:
        return UserError("memory", f"not enough ({error})" if text else "not enough", MEMORY)
    if kind == "BrokenProcessPool" or ("DataLoader worker (pid" in text and isinstance(error, RuntimeError)):
        return UserError("worker process", f"died ({error})", MEMORY)

    if isinstance(error, RuntimeError) and any(words in text for words in LOST_PEER):
        remedy = "see its message; run the same command again to resume"
        return UserError("another process of the training", "died", remedy)
    return None
