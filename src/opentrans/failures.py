"""What the machine does to us (full disk, no memory, a killed worker), said in one line as a `UserError`."""

import errno

from opentrans.errors import UserError

REMEDIES = {
    errno.ENOSPC: "free some space; what was saved before is whole",
    errno.EDQUOT: "free some of your quota; what was saved before is whole",
    errno.EROFS: "write to another folder",
    errno.EACCES: "write to another folder, or change its permissions",
    errno.EPERM: "write to another folder, or change its permissions",
    errno.EIO: "look at the disk; what was saved before is whole",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENAMETOOLONG: "give a shorter name",
    errno.ELOOP: "remove the loop of symbolic links",
    errno.ENOTDIR: "a file is in the way of a folder",
    errno.EISDIR: "a folder is in the way of a file",
}
MEMORY = "give the job more memory, or lower the batch size or the number of workers"


def explain(error: Exception) -> UserError | None:
    """The `UserError` for a failure of the machine; None if `error` is something else (a defect of ours)."""
    name = type(error).__name__
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return UserError(error.filename or "output", str(error.strerror), REMEDIES[error.errno])
    if isinstance(error, MemoryError) or name == "OutOfMemoryError" or "can't allocate memory" in str(error):
        return UserError("memory", f"not enough ({error})" if str(error) else "not enough", MEMORY)
    if name == "BrokenProcessPool" or ("DataLoader worker" in str(error) and isinstance(error, RuntimeError)):
        return UserError("worker process", f"died ({error})", MEMORY)
    return None
